"""What packages may add by an entry point: found by name, imported when it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from cloudmesh.sparknomad.errors import DependencyError, SpecError

__all__ = ["Plugins"]

Base = TypeVar("Base")


@dataclass(frozen=True)
class Plugins(Generic[Base]):
    """The classes that stand behind the names of one sort of thing.

    Attributes:
        noun: what they are, for messages.
        group: the entry-point group by which a package adds some.
        base: the class that each must derive from.
        built_in: ``module:class`` by name; a package can't replace one of these.
    """

    noun: str
    group: str
    base: type[Base]
    built_in: Mapping[str, str]

    def _targets(self) -> dict[str, str]:
        added = {entry.name: entry.value for entry in entry_points(group=self.group)}
        return {**added, **self.built_in}

    def names(self) -> list[str]:
        """All names that are known, sorted."""
        return sorted(self._targets())

    def load(self, name: str) -> type[Base]:
        """Import the class of a name.

        Raises:
            SpecError: if nothing has this name.
            DependencyError: if its package can't be imported, or is not what it should be.
        """
        targets = self._targets()
        if name not in targets:
            near = difflib.get_close_matches(name, targets, n=1)
            known = f"known: {', '.join(sorted(targets))}"
            remedy = f"did you mean {near[0]!r}?" if near else known
            raise SpecError(
                f"{self.noun}: {name!r}: unknown {self.noun}; {remedy}",
                hint=f"A package adds one by the entry-point group {self.group!r}.",
            )
        return self._checked(name, targets[name], self._import(name, targets[name]))

    def _import(self, name: str, target: str) -> object:
        noun = self.noun.capitalize()
        try:
            return EntryPoint(name, target, self.group).load()
        except ImportError as error:
            raise DependencyError(
                f"{noun} {name!r} ({target}) can't be imported: {error}.",
                hint=f"Install the missing package: pip install {error.name or target}",
            ) from error
        except Exception as error:
            # Whatever a package of somebody else raises while it is imported.
            raise DependencyError(
                f"{noun} {name!r} ({target}) can't be loaded: {type(error).__name__}: {error}.",
                hint=f"Update or remove the package that adds {name!r}.",
            ) from error

    def _checked(self, name: str, target: str, made: object) -> type[Base]:
        noun = self.noun.capitalize()
        if not (isinstance(made, type) and issubclass(made, self.base)):
            raise DependencyError(f"{noun} {name!r}: {target} is no {self.base.__name__}.")
        missing = sorted(getattr(made, "__abstractmethods__", ()))
        if missing:
            raise DependencyError(f"{noun} {name!r}: {target} lacks {', '.join(missing)}.")
        return made
