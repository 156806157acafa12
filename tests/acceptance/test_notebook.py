"""The notebook on the Python API, run from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended

pytestmark = pytest.mark.spark

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/python-api.ipynb"


def test_the_notebook(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    with ended(Command(tmp_path, cache)) as command:
        for name, value in command.environment.items():
            monkeypatch.setenv(name, value)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        place = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=400, resources=place).execute()
    told = {
        number: output
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if output["output_type"] == "execute_result"
    }
    shown = [output["data"].get("text/plain", "") for output in told.values()]
    assert "'succeeded'" in shown and "'500'" in shown
    assert "{'few': 'succeeded', 'many': 'succeeded'}" in shown
    printed = "".join(
        output["text"] for cell in notebook.cells for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
    )  # fmt: skip
    assert "must be at least 0" in printed
    assert os.environ["HOME"] == str(tmp_path)
