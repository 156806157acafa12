"""Removes what pipelines have left in the cluster's HDFS when its time is over, as a Nomad task."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import pipeline_end, webhdfs
else:
    import pipeline_end
    import webhdfs

__all__ = ["main"]

_PATIENCE_SECONDS = 30.0


def main() -> int:
    """Sweep once; a launch that finds no HDFS leaves it to the next."""
    services = json.loads((Path(os.environ["NOMAD_TASK_DIR"]) / "services.json").read_text("utf-8"))
    if not services["hdfs_http"]:
        print("the cluster's HDFS is not there now", flush=True)
        return 0
    hdfs = webhdfs.WebHdfs(services["hdfs_http"], patience=_PATIENCE_SECONDS)
    for path in pipeline_end.sweep(hdfs, time.time()):
        print(f"removed {path}: it has outlived its time", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
