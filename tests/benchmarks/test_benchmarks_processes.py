"""benchmarks/processes.py, tiny: both forms learn the same, and the table says how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "processes.py"


@pytest.mark.slow
def test_threads_and_processes_take_the_same_steps(tiny, tmp_path):
    file = tmp_path / "facts.json"
    options = ["--cores", "2", "--batch-tokens", "400", "--steps", "2", "--rounds", "1", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--model", str(tiny("bert")), *options], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert [[int(cell) for cell in row[:2]] for row in rows] == [[1, 2], [2, 1]]
    facts = json.loads(file.read_text())
    assert [(run["processes"], run["threads"]) for run in facts["runs"]] == [(1, 2), (2, 1)]
    for run in facts["runs"]:
        (found,) = run["rounds"]
        assert found["tokens_per_second"] > 0
        assert found["peak"] > 0
