"""Run Spark pipelines on a Nomad cluster that is deployed anywhere.

``Sparknomad`` is the Python API: one method for each verb of the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudmesh.sparknomad.manager import Sparknomad

__all__ = ["Sparknomad", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Late, because `cms help` imports every plugin and need not load all of this one.
    if name == "Sparknomad":
        from cloudmesh.sparknomad.manager import Sparknomad

        return Sparknomad
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
