"""Ending machines until the cloud lists none of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudmesh.sparknomad.compute.atonce import at_once
from cloudmesh.sparknomad.compute.machines import Machine
from cloudmesh.sparknomad.compute.planning import told
from cloudmesh.sparknomad.errors import LeftoverError
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["Ending"]

_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Ending:
    """How some machines are ended.

    Attributes:
        title: whose they are, for messages.
        compute: where they are, for messages.
        list: asks the cloud for all machines.
        destroy: asks the cloud that one ends.
        say: shows one line of progress.
        deadline: when to give up.
        poll_seconds: between two questions.
    """

    title: str
    compute: str
    list: Callable[[], Sequence[Machine]]
    destroy: Callable[[Machine], None]
    say: Callable[[str], None]
    deadline: Deadline
    poll_seconds: float

    def run(
        self, wanted: Callable[[Machine], bool], *, settled: float = 0.0, expected: int = 0
    ) -> Sequence[str]:
        """Ask that machines end until none is listed.

        Args:
            wanted: tells them from others.
            settled: seconds since the epoch: one that was asked for a moment ago may not be
                listed yet, so that an empty list is believed from then on only.
            expected: how many there are at most; when so many were seen, it is believed at once.

        Returns:
            The cloud's ids of those that were ended.

        Raises:
            LeftoverError: if one is listed in the end.
        """
        asked: dict[str, float] = {}
        failed: list[Exception] = []
        while True:
            left = [machine for machine in self.list() if wanted(machine)]
            if not left and (time.time() >= settled or len(asked) >= expected):
                return sorted(asked)
            if left and not self.deadline.left:
                raise self._left(left, failed)
            now = time.monotonic()
            due = [each for each in left if now - asked.get(each.id, -1e9) > _AGAIN_SECONDS]
            if due:
                self.say(f"ending {len(due)} machines in {self.compute}")
                failed = []
                for machine, error in at_once(due, self.destroy):
                    # One that was refused is asked again at once, the others after a while.
                    asked[machine.id] = now - _AGAIN_SECONDS if error else now
                    failed += [error] if error else []
            time.sleep(self.poll_seconds)

    def _left(self, left: Sequence[Machine], failed: Sequence[Exception]) -> LeftoverError:
        listed = ", ".join(f"{each.name} ({each.id}, {each.state.value})" for each in left[:20])
        return LeftoverError(
            f"{self.title}: {self.compute} still lists {len(left)} machines: {listed}."
            + (f" {told(failed)}" if failed else ""),
            hint="Give the command again, with more time by --timeout.",
        )
