import nbformat
import pytest
from nbclient import NotebookClient
from pages import ROOT

TIMEOUT = 1800  # seconds; only a hang is that slow


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    notebook = nbformat.read(ROOT / "docs/python.ipynb", as_version=4)
    nbformat.validate(notebook)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=TIMEOUT, startup_timeout=TIMEOUT, resources=place).execute()
    assert (tmp_path / "ada/avatar.glb").stat().st_size > 0
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
