"""Python requirements of an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cloudmesh.sparknomad.errors import NotFoundError, SpecError

__all__ = ["read_requirements"]

_COMMENT = re.compile(r"(^|\s+)#.*$")


def read_requirements(path: Path) -> list[str]:
    """The requirements in a file, as pip reads it: one a line, ``#`` begins a comment.

    A line that ends with a backslash goes on in the next.

    Raises:
        NotFoundError: if there is no such file.
        SpecError: if it has an option, such as a hash, or includes another file: these can't be
            pinned down.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from error
    found = []
    for number, line in _joined(lines):
        text = _COMMENT.sub("", line).strip()
        if any(word.startswith("-") for word in text.split()):
            raise SpecError(
                f"{path}:{number}: {text!r}: only requirements are read here, no options; "
                "configure indexes in pip's own configuration"
            )
        if text:
            found.append(text)
    return found


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines with the numbers they begin at; a backslash at the end continues a line."""
    begun, first = "", 0
    for number, line in enumerate(lines, start=1):
        first = first or number
        comment = _COMMENT.match(line)
        if line.endswith("\\") and not comment:
            begun += line.strip("\\")
            continue
        yield first, begun + (f" {line}" if comment else line)
        begun, first = "", 0
    if begun:
        yield first, begun
