"""One class, one method for each verb: what every face of sparknomad calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudmesh.sparknomad.verbs.checking import CheckingVerbs
from cloudmesh.sparknomad.verbs.clusters import DEPLOY_SECONDS, DESTROY_SECONDS
from cloudmesh.sparknomad.verbs.core import LOCAL
from cloudmesh.sparknomad.verbs.images import ImageVerbs
from cloudmesh.sparknomad.verbs.operating import DRAIN_SECONDS, OperatingVerbs
from cloudmesh.sparknomad.verbs.scheduling import ScheduleVerbs
from cloudmesh.sparknomad.verbs.serving import SERVICE_PORT, SERVICE_SECONDS, ServingVerbs
from cloudmesh.sparknomad.verbs.sharing import NAMESPACE, ROTATE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from cloudmesh.sparknomad.client import Remote
    from cloudmesh.sparknomad.machine import Check, SetupStep

__all__ = [
    "DEPLOY_SECONDS",
    "DESTROY_SECONDS",
    "DRAIN_SECONDS",
    "LOCAL",
    "NAMESPACE",
    "ROTATE_SECONDS",
    "SERVICE_PORT",
    "SERVICE_SECONDS",
    "Sparknomad",
]


class Sparknomad(CheckingVerbs, ScheduleVerbs, ImageVerbs, OperatingVerbs, ServingVerbs):
    """Everything that sparknomad can do.

    Args:
        paths: where files are kept; found in the environment if not given.
        say: shows one line of progress to the user.
        accept_host_key: asked about a host's unknown key, with its name and fingerprint; without
            it, only known ones are trusted.
        show: shows what a host is doing now, where somebody watches.
        access: what the callers may use of this machine; all of it if not given.
    """

    @staticmethod
    def connect(url: str, token: str, *, ca: Path | None = None) -> Remote:
        """The same verbs by a service that runs elsewhere, as far as it carries them.

        Args:
            url: of the service, such as ``https://host:8450/v1``.
            token: of `service token create`.
            ca: a file with certificates that the service's is checked against.
        """
        from cloudmesh.sparknomad.client import Remote

        return Remote(url, token, ca=ca)

    def setup(self, *, dry_run: bool = False) -> list[SetupStep]:
        """Find or install Nomad, Java and Spark; with `dry_run`, only tell what would be done."""
        from cloudmesh.sparknomad import machine

        return machine.setup(self.paths, self.configuration, self.say, dry_run=dry_run)

    def doctor(self) -> list[Check]:
        """What is here, what is missing, what to do about it."""
        from cloudmesh.sparknomad import machine

        return machine.doctor(self.paths, self.configuration)
