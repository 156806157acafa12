"""What a provider does for clusters that several people or machines use; none has to."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from cloudmesh.sparknomad.bundles import Bundle, IssuedToken, TokenInfo
from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.model import Plan

__all__ = ["Shareable"]


class Shareable:
    """Tokens, bundles and rotation; a provider that has none of them says so."""

    name: ClassVar[str]

    def check_allowed(self, name: str, what: str) -> None:
        """Refuse what the token that is here may not do.

        Args:
            name: of the cluster; nothing is refused where there is none.
            what: such as ``deploy it``.

        Raises:
            ForbiddenError: with the role of the token.
        """

    def token_create(
        self, name: str, role: str, *, namespace: str, label: str, ttl: float | None
    ) -> IssuedToken:
        """Make a token with the rights of a role."""
        self._alone(name)

    def token_list(self, name: str) -> list[TokenInfo]:
        """All tokens of a cluster."""
        self._alone(name)

    def token_revoke(self, name: str, accessor: str) -> None:
        """End a token."""
        self._alone(name)

    def role(self, name: str) -> str:
        """The role of the token that is here; empty for everything."""
        del name
        return ""

    def export_files(self, name: str) -> dict[str, str]:
        """The files that another machine needs to take over, by name."""
        self._alone(name)

    def token_files(
        self, name: str, token: IssuedToken, ttl: float | None, *, inside: bool = False
    ) -> dict[str, str]:
        """The files that a token's user needs, by name.

        Args:
            name: of the cluster.
            token: that was made.
            ttl: seconds for which they are good; ``None`` for as long as can be.
            inside: whether they are used on a host of the cluster.
        """
        self._alone(name)

    def adopt(self, name: str, bundle: Bundle) -> None:
        """Take over a cluster; one that is known here is brought up to date."""
        self._alone(name)

    def forget(self, name: str) -> None:
        """Remove what is here of a cluster, which goes on."""
        self._alone(name)

    def rotation(self, name: str, *, certificates: bool, gossip: bool) -> Plan:
        """What `rotate` would do."""
        self._alone(name)

    def rotate(
        self, name: str, *, certificates: bool, gossip: bool, timeout: float
    ) -> list[TokenInfo]:
        """Replace certificates and the key of gossip, while everything goes on.

        Returns:
            The tokens whose bundles are of no use any more.
        """
        self._alone(name)

    def _alone(self, name: str) -> NoReturn:
        raise ConflictError(
            f"Cluster {name!r} runs on provider {self.name!r}, which has neither tokens nor "
            "certificates: its processes are yours.",
            hint="Deploy a cluster on provider 'nomad' to share it.",
        )
