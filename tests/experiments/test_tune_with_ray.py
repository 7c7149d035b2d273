"""The example for Ray Tune: two workers try settings, and the best adaptation is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "tune_with_ray.py"


@pytest.mark.slow
def test_two_workers_search_and_the_best_is_loaded(tiny, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray, which is not installed in CI")
    words = [sys.executable, str(EXAMPLE), "--model", tiny("bert"), "--trials", "3", "--epochs", "2"]
    place = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*words, "--storage", str(tmp_path)], env=place, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "settings: {'rank':" in done.stdout
    assert "on the test records: accuracy" in done.stdout
