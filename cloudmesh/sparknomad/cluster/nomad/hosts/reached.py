"""The hosts of one cluster while we are logged in to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from cloudmesh.sparknomad.cluster.nomad.record import HostRecord
from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.compute.ssh import HostKeys, Shell, each_host, open_shell
from cloudmesh.sparknomad.errors import SparknomadError

__all__ = ["Reached", "enter", "host_of", "host_records"]

_SSH_FIELDS = ("name", "address", "user", "port", "key", "jump", "host_key")

Answer = TypeVar("Answer")


def host_records(hosts: Sequence[Host]) -> tuple[HostRecord, ...]:
    """What is remembered of hosts that were not asked yet."""
    return tuple(
        HostRecord(
            **{field: getattr(host, field) for field in _SSH_FIELDS},
            server=host.server,
            worker=host.worker,
            labels=dict(host.labels),
            site=host.site,
        )
        for host in hosts
    )


def host_of(record: HostRecord) -> Host:
    """The host that is logged in to."""
    fields = {field: getattr(record, field) for field in _SSH_FIELDS}
    return Host(**fields, server=record.server, worker=record.worker, labels=record.labels)


class Reached:
    """A cluster's hosts; what goes wrong on one is noted there, and it is left out from then.

    Attributes:
        records: all hosts, also those that failed.
        shells: those that let us in, by name.
        spared: how many may be given up when they keep the others waiting; ``None`` for none.
        show: shows what a host is doing now.
    """

    def __init__(
        self,
        records: Iterable[HostRecord],
        shells: Mapping[str, Shell],
        spared: int | None = None,
        show: Callable[[str, str], None] = lambda subject, state: None,
    ) -> None:
        self.show = show
        self.records = tuple(records)
        self.shells = shells
        self.spared = spared

    @property
    def good(self) -> list[HostRecord]:
        """The hosts on which nothing went wrong so far."""
        return [record for record in self.records if not record.problem]

    def change(self, name: str, **changes: object) -> None:
        """Note something of one host."""
        self.records = tuple(
            replace(record, **changes) if record.name == name else record  # type: ignore[arg-type]
            for record in self.records
        )

    def fail(self, name: str, error: Exception) -> None:
        """Note what went wrong on one host."""
        told = error.message if isinstance(error, SparknomadError) else str(error)
        told = told.removeprefix(f"{name}: ")
        self.change(name, problem=told or type(error).__name__)
        self.show(name, f"FAILED: {told or type(error).__name__}")

    async def each(
        self,
        do: Callable[[Shell], Awaitable[Answer]],
        only: Iterable[str] | None = None,
        what: str = "",
    ) -> dict[str, Answer]:
        """Do something on all good hosts at a time.

        Args:
            do: gets the host's shell.
            only: the names of some of them.
            what: is done, for who watches.

        Returns:
            The answers of those where it went well, by name; the others are failed now.
        """
        names = set(self.shells if only is None else only)
        hosts = [host_of(record) for record in self.good if record.name in names]
        for host in hosts if what else ():
            self.show(host.name, what)
        answers = await each_host(
            hosts, lambda host: do(self.shells[host.name]), self._enough(len(hosts))
        )
        good: dict[str, Answer] = {}
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                self.fail(name, answer)
            else:
                good[name] = answer
        return good

    def _enough(self, count: int) -> int | None:
        """After how many of so many hosts the others are held to their pace; ``None``: never."""
        if self.spared is None:
            return None
        # Those that have failed already are some of the spared ones.
        failed = len(self.records) - len(self.good)
        enough = count - max(0, self.spared - failed)
        return enough if enough > 0 else None

    async def run(
        self,
        words: str,
        name: str,
        only: Iterable[str] | None = None,
        timeout: float = 120,
    ) -> dict[str, str]:
        """Run the same script on all good hosts at a time; `each` tells the rest."""
        return await self.each(
            lambda shell: shell.run(words, timeout=timeout, name=name), only, name
        )


@asynccontextmanager
async def enter(
    records: Sequence[HostRecord],
    keys: HostKeys,
    spared: int | None = None,
    show: Callable[[str, str], None] = lambda subject, state: None,
) -> AsyncIterator[Reached]:
    """Log in to all hosts at a time; `spared` of them may be given up for being slow."""
    async with AsyncExitStack() as stack:

        async def log_in(host: Host) -> Shell:
            return await stack.enter_async_context(open_shell(host, keys))

        enough = None if spared is None else len(records) - spared
        for record in records:
            show(record.name, "logging in")
        answers = await each_host([host_of(record) for record in records], log_in, enough)
        shells = {name: shell for name, shell in answers.items() if isinstance(shell, Shell)}
        reached = Reached((replace(record, problem="") for record in records), shells, spared, show)
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                reached.fail(name, answer)
        yield reached
