"""Files of odd texts are read back as they were written; spoilt ones are read, or refused by name."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fuzzing

sys.path.pop(0)


@pytest.mark.parametrize("seed", range(4))
def test_no_file_of_any_kind_is_a_fault(tmp_path, seed):
    chance, kinds = random.Random(seed), set()
    for _ in range(60):
        for kind, fault in fuzzing.faults(chance, tmp_path):
            assert not fault, f"{kind}: {fault}"
            kinds.add(kind)
    assert len(kinds) == 12


def test_faults_are_seen(tmp_path, monkeypatch):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a"}')
    assert not fuzzing.fault_of(path, [{"text": "a"}])
    assert "read otherwise" in fuzzing.fault_of(path, [{"text": "b"}])
    path.write_text("{")
    assert not fuzzing.fault_of(path)
    assert "though it is whole" in fuzzing.fault_of(path, [{"text": "a"}])
    monkeypatch.setattr(fuzzing, "read", lambda path: 1 / 0)
    assert "ZeroDivisionError" in fuzzing.fault_of(path)
