"""Large files, compressed once and kept, to be sent to hosts."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cloudmesh.sparknomad.processes import published

__all__ = ["Packed", "pack"]

_BLOCK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Packed:
    """A compressed file.

    Attributes:
        name: what it is, for a person.
        path: the compressed file.
        digest: its SHA-256.
        content: the SHA-256 of what it was made from.
        size: of the compressed file, in bytes.
        unpacked: the size of what it was made from, in bytes.
    """

    name: str
    path: Path
    digest: str
    content: str
    size: int
    unpacked: int


def pack(name: str, source: Path, key: str, directory: Path) -> Packed:
    """Compress a file, unless that was done before.

    Args:
        name: what it is.
        source: the file.
        key: tells its content from any other; of letters, digits, ``-`` and ``.``.
        directory: that keeps what is compressed.
    """
    target = directory / key
    with published(target) as partial:
        if partial is not None:
            with (
                source.open("rb") as stream,
                (partial / "packed.gz").open("wb") as raw,
                gzip.GzipFile("", "wb", 1, raw, mtime=0) as sink,
            ):
                shutil.copyfileobj(stream, sink, _BLOCK)
            told = {
                "digest": _sha256(partial / "packed.gz"),
                "content": _sha256(source),
                "unpacked": source.stat().st_size,
            }
            (partial / "packed.json").write_text(json.dumps(told), "utf-8")
    path = target / "packed.gz"
    told = json.loads((target / "packed.json").read_text("utf-8"))
    return Packed(name, path, size=path.stat().st_size, **told)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
