"""OpenVINO: the graphs of ONNX in its own form, which give the same there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from task_records import RECORDS

import lightadapt as la
from lightadapt.export import Openvino
from lightadapt.export.proof import without_scores

TASKS = [("bert", "ner", "bottleneck"), ("llama", "generation", "lora"), ("bart", "summarization", "lora")]


def test_it_says_what_it_needs(moved, tmp_path, monkeypatch):
    monkeypatch.setattr(Openvino, "packages", ("no_such_package",))
    with pytest.raises(la.LightAdaptError, match=r"'openvino' needs no_such_package.*lightadapt\[openvino\]"):
        moved("bert", "ner").export(tmp_path / "out", "openvino")
    with pytest.raises(la.LightAdaptError, match=r"Format 'openvino' knows 'int8'"):
        Openvino(quantize="f16")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "method"), TASKS)
def test_openvino_gives_the_same(moved, tmp_path, name, task, method):
    for package in ("onnxscript", "openvino"):
        pytest.importorskip(package)
    adapted = moved(name, task, method)
    exported = adapted.export(tmp_path / "out", "openvino", check=RECORDS[task])
    assert exported.difference < 1e-5
    assert exported.equal == 1.0
    assert not list((tmp_path / "out").glob("*.onnx"))
    script = (
        "import json, sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'onnxruntime']))\n"
        "import lightadapt as la\n"
        f"print(json.dumps(la.load_onnx({str(tmp_path / 'out')!r}).predict(['hello there'])))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert without_scores(json.loads(done.stdout)) == without_scores(adapted.predict(["hello there"]))


@pytest.mark.slow
def test_openvino_takes_eight_bits(moved, tmp_path):
    for package in ("onnxscript", "openvino"):
        pytest.importorskip(package)
    exported = moved("bert", "classification").export(tmp_path / "out", "openvino", quantize="int8")
    assert 1e-4 < exported.difference < 1
