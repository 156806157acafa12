"""The verbs about a cluster's own REST service."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.access_tokens import FIRST, AccessToken, make_token
from cloudmesh.sparknomad.cluster.serving import ClusterService, ServiceHost, ServiceStatus
from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError
from cloudmesh.sparknomad.specfile import spec_to_dict
from cloudmesh.sparknomad.verbs.sharing import SharingVerbs
from cloudmesh.sparknomad.verbs.storage import StorageVerbs
from cloudmesh.sparknomad.waiting import Deadline

if TYPE_CHECKING:
    from cloudmesh.sparknomad.image.service_packages import ServicePackages

__all__ = ["SERVICE_PORT", "SERVICE_SECONDS", "ServingVerbs"]

SERVICE_PORT = 8450
SERVICE_SECONDS = 300.0

_LABEL = "the service in the cluster"
_NAMESPACE = "service"
_TOKENS_SECONDS = 60.0
_OF_THIS_MACHINE = ("file",)


class ServingVerbs(SharingVerbs, StorageVerbs):
    """Running the REST service as a part of the cluster that it serves."""

    def _service(self, name: str) -> ServiceHost:
        record = self._cluster(name)
        found = self._provider(record.provider).service(name)
        if found is None:
            raise InputError(
                f"Provider {record.provider!r} runs no service in its clusters.",
                hint="Without --cluster it runs on this machine.",
            )
        return found

    def service_start(
        self,
        name: str,
        *,
        port: int = SERVICE_PORT,
        storage: Sequence[str] = (),
        certificate: Path | None = None,
        key: Path | None = None,
        timeout: float = SERVICE_SECONDS,
    ) -> tuple[ServiceStatus, str]:
        """Let the REST service run in a cluster; one that runs there is replaced.

        Args:
            name: of the cluster.
            port: where it listens, on the host that runs it.
            storage: names of storage profiles that it may use, with their credentials.
            certificate: a file with its certificate; one of the cluster's authority if not given.
            key: the file with the key.
            timeout: seconds after which to give up.

        Returns:
            Where it answers, and the secret of the first token if there was none before.
        """
        deadline = Deadline(timeout)
        host = self._service(name)
        pair = _pair(certificate, key)
        places = {each: self._profile_for_service(each) for each in dict.fromkeys(storage)}
        packages = self._service_packages(name, [place["kind"] for place in places.values()])
        known, before = host.tokens(), host.accessor()
        secret = ""
        if not known:
            first, secret = make_token(FIRST, "operator")
            known = [first]
        record = self._cluster(name)
        provider = self._provider(record.provider)
        issued = provider.token_create(
            name, "operator", namespace=_NAMESPACE, label=_LABEL, ttl=None
        )
        try:
            files = provider.token_files(name, issued, None, inside=True)
            spec = {**spec_to_dict(record.spec), "hosts": [], "conf": {}}
            bundle = {"name": name, "provider": record.provider, "role": "operator", "spec": spec}
            service = ClusterService(
                packages=packages.path,
                sha256=packages.sha256,
                port=port,
                setup={"bundle": {**bundle, "files": files}, "storage": places},
                accessor=issued.token.accessor,
                tokens=tuple(known),
                certificate=pair[0],
                key=pair[1],
            )
            self.say(f"starting the service in cluster {name!r}")
            status = host.start(service, deadline)
        except BaseException:
            with contextlib.suppress(Exception):
                unused = {before, issued.token.accessor} - {host.accessor(), ""}
                for accessor in unused:
                    provider.token_revoke(name, accessor)
            raise
        self._revoke(name, before)
        return status, secret

    def _revoke(self, name: str, accessor: str) -> None:
        """End a token of the cluster, if there is one and it is still there."""
        if accessor:
            with contextlib.suppress(NotFoundError):
                self._provider(self._cluster(name).provider).token_revoke(name, accessor)

    def _service_packages(self, name: str, kinds: Iterable[str]) -> ServicePackages:
        from cloudmesh.sparknomad.image.service_packages import python_of, service_packages

        image, record = self._cluster(name).spec.image, None
        with contextlib.suppress(NotFoundError):  # it may have been built on another machine
            record = self._images().inspect(image)
        extras = {"service", "ssh", *kinds}
        return service_packages(self.paths.cache, python_of(record), extras, self.say)

    def _profile_for_service(self, name: str) -> dict[str, Any]:
        """A storage profile as the service has it, with what it needs of this machine."""
        from cloudmesh.sparknomad.storage.credentials import find_credentials
        from cloudmesh.sparknomad.storage.profile import CredentialSource
        from cloudmesh.sparknomad.storage.registry import load_kind

        profile = self._profiles.find(name)
        if profile.kind in _OF_THIS_MACHINE:
            raise InputError(
                f"--storage={name}: is of kind {profile.kind!r}: files of this machine, which "
                "the cluster does not see.",
                hint="Copy them into a storage that it reaches.",
            )
        kind = load_kind(profile.kind)
        found = dict(find_credentials(profile, kind.fields, kind.files))
        fields = spec_to_dict(profile)
        source = profile.credentials.source
        if not found and source is not CredentialSource.INSTANCE:
            source = CredentialSource.NONE
        fields["credentials"] = {"source": source.value}
        authority = Path(profile.ca).expanduser().read_text("utf-8") if profile.ca else ""
        kept = {key: value for key, value in fields.items() if value and key not in ("name", "ca")}
        return {"kind": profile.kind, "fields": kept, "secrets": found, "ca": authority}

    def service_status(self, name: str) -> ServiceStatus:
        """Where the service of a cluster stands.

        Raises:
            NotFoundError: if there is none.
        """
        found = self._service(name).status()
        if found is None:
            raise self._no_service(name)
        return found

    @staticmethod
    def _no_service(name: str) -> NotFoundError:
        return NotFoundError(
            f"No service runs in cluster {name!r}.",
            hint=f"cms sparknomad service start --cluster={name} starts one.",
        )

    def service_stop(self, name: str, *, timeout: float = SERVICE_SECONDS) -> bool:
        """End the service of a cluster with its token and what it knew; whether there was one."""
        host = self._service(name)
        accessor = host.accessor()
        found = host.stop(Deadline(timeout))
        self._revoke(name, accessor)
        return found

    # who may call it

    def service_token_create(
        self, name: str, token: str, role: str, *, ttl: float | None = None
    ) -> str:
        """Make a token for the service of a cluster.

        Args:
            name: of the cluster.
            token: its name.
            role: what it may.
            ttl: seconds after which it ends.

        Returns:
            Its secret, which is kept nowhere.
        """
        made, secret = make_token(token, role, ttl)

        def added(known: Sequence[AccessToken]) -> Sequence[AccessToken]:
            if any(each.name == token for each in known):
                raise ConflictError(
                    f"There is a token {token!r} already.",
                    hint="Revoke it first, or take another name.",
                )
            now = time.time()
            return [*(e for e in known if e.expires is None or e.expires > now), made]

        self._service(name).change_tokens(added, Deadline(_TOKENS_SECONDS))
        return secret

    def service_token_list(self, name: str) -> list[AccessToken]:
        """The tokens of the service of a cluster, by name."""
        found = self._service(name).tokens()
        if found is None:
            raise self._no_service(name)
        return sorted(found, key=lambda each: each.name)

    def service_token_revoke(self, name: str, token: str) -> None:
        """End a token of the service of a cluster."""

        def without(known: Sequence[AccessToken]) -> Sequence[AccessToken]:
            left = [each for each in known if each.name != token]
            if len(left) == len(known):
                raise NotFoundError(f"There is no token {token!r}.")
            return left

        self._service(name).change_tokens(without, Deadline(_TOKENS_SECONDS))


def _pair(certificate: Path | None, key: Path | None) -> tuple[str, str]:
    """The content of a certificate's file and its key's; both empty if none is given."""
    if bool(certificate) != bool(key):
        raise InputError("--tls-cert and --tls-key: give both, or none.")
    read: list[str] = []
    for name, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if path is None:
            return "", ""
        try:
            read.append(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name}={path}: can't be read: {error}") from None
    return read[0], read[1]
