"""The provider of the example package: the in-memory one under another name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cloudmesh.sparknomad.cluster.memory import MemoryProvider
from cloudmesh.sparknomad.model import PlanStep, Runtime
from cloudmesh.sparknomad.specs import ClusterSpec


class ExampleProvider(MemoryProvider):
    """Shows that a package of its own can add a provider."""

    name: ClassVar[str] = "example"

    def _plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[PlanStep]:
        return [PlanStep(f"ask the example for {spec.workers} workers")]
