"""Where in a cluster a run goes: to its data, if there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloudmesh.sparknomad.errors import NotFoundError, UnreachableError
from cloudmesh.sparknomad.units import format_size

__all__ = ["Choice", "SiteStatus", "choose_site"]


@dataclass(frozen=True)
class SiteStatus:
    """One site of a cluster, as it is now.

    Attributes:
        name: of the site.
        workers: Spark workers that are there.
        workers_wanted: that should be.
        free: the cores and bytes of memory of each worker that no executor has.
        problem: why no run can go there, or empty.
    """

    name: str
    workers: int
    workers_wanted: int
    free: tuple[tuple[int, int], ...] = ()
    problem: str = ""

    def has_room(self, cores: int, memory: int) -> bool:
        """Whether an executor of so many cores and bytes finds a place now."""
        return not self.problem and any(c >= cores and m >= memory for c, m in self.free)


@dataclass(frozen=True)
class Choice:
    """The site of a run.

    Attributes:
        site: its name; empty in a cluster without sites.
        reason: why it is this one, for a person.
        moved: whether it is not the one where the run should be.
    """

    site: str
    reason: str = ""
    moved: bool = False


def choose_site(
    sites: Sequence[SiteStatus],
    near: Mapping[str, int],
    *,
    cores: int,
    memory: int,
    forced: str = "",
) -> Choice:
    """Find the site of a run.

    Args:
        sites: of the cluster, in its own order; none for a cluster without sites.
        near: bytes of the run's inputs by the site that they are near.
        cores: of one of its executors.
        memory: of one of its executors, in bytes.
        forced: the site that the user asks for; it is taken even if it is full.

    Raises:
        NotFoundError: if there is no site of that name.
        UnreachableError: if none is up, or not the one that is asked for.
    """
    if forced:
        return _forced(sites, forced)
    if not sites:
        return Choice("")
    # `sorted` keeps the cluster's own order among equals.
    ranked = sorted(sites, key=lambda site: -near.get(site.name, -1))
    first = ranked[0]
    where = "no input says where it is" if first.name not in near else "its largest input is near"
    if near.get(first.name):
        where += f" ({format_size(near[first.name])})"
    roomy = [site for site in ranked if site.has_room(cores, memory)]
    up = [site for site in ranked if not site.problem]
    if not up:
        told = "; ".join(f"{site.name}: {site.problem}" for site in sites)
        raise UnreachableError(
            f"No site of the cluster is up: {told}.",
            hint="See `cms sparknomad cluster status`; deploy the cluster again.",
        )
    chosen = (roomy or up)[0]
    if chosen is first:
        return Choice(chosen.name, where)
    why = first.problem or "it has no room now"
    return Choice(chosen.name, f"not {first.name}, where {where}: {why}", moved=True)


def _forced(sites: Sequence[SiteStatus], name: str) -> Choice:
    found = next((site for site in sites if site.name == name), None)
    if found is None:
        known = ", ".join(site.name for site in sites)
        raise NotFoundError(
            f"The cluster has no site {name!r}; "
            + (f"it has: {known}." if known else "it has no sites."),
        )
    if found.problem:
        raise UnreachableError(
            f"Site {name!r} is not up: {found.problem}.",
            hint="Without --site the run goes to the next best site.",
        )
    return Choice(name, "it was asked for")
