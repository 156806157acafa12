"""Runs a Python program in this process, connected to a Java machine that was started already.

Called as ``launcher.py PROGRAM ARGUMENTS_FILE GATEWAY_FILE``. The arguments come from a file
because Linux allows 128 KiB for one argument of a process, and because everybody on the host
may read those. The gateway file is what PySpark's own launcher uses: the port as a 4-byte
big-endian integer, then a length-prefixed secret.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import struct
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

_GATEWAY_SECONDS = 120


def _read_arguments(path: Path) -> list[str]:
    """Wait for them: inputs are brought first; who does that ends us if they can't be."""
    while not path.exists():
        time.sleep(0.01)
    arguments: list[str] = json.loads(path.read_text("utf-8", "surrogatepass"))
    return arguments


def _read_gateway(path: Path) -> tuple[int, str]:
    give_up = time.monotonic() + _GATEWAY_SECONDS
    while not path.exists():
        if time.monotonic() > give_up:
            raise SystemExit(f"sparknomad: the driver's Java machine did not start: {path}")
        time.sleep(0.01)
    content = path.read_bytes()
    port, length = struct.unpack(">ii", content[:8])
    return port, content[8 : 8 + length].decode("utf-8")


def _hasten_accumulators() -> None:
    """Let ``SparkContext.stop`` return at once.

    PySpark's server of accumulators looks only once a second whether it shall end
    (``select.select`` with a timeout of 1 in ``pyspark/accumulators.py``).
    """
    import pyspark.accumulators

    class Select:
        @staticmethod
        def select(read: Any, write: Any, error: Any, timeout: float) -> Any:
            return select.select(read, write, error, min(timeout, 0.02))

    pyspark.accumulators.select = Select


def main(argv: list[str]) -> None:
    """Connect, then run the program as ``__main__``."""
    program, arguments_file, gateway_file = argv
    _hasten_accumulators()
    # Imported while the Java machine starts: both take about a second.
    import pyspark.sql  # noqa: F401

    arguments = _read_arguments(Path(arguments_file))
    port, secret = _read_gateway(Path(gateway_file))
    os.environ["PYSPARK_GATEWAY_PORT"] = str(port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = secret
    sys.argv = [program, *arguments]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
