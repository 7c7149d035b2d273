"""benchmarks/gpu.py, tiny and on a CPU: both sides run, on the same texts, and the table counts what it says."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPT = [sys.executable, str(FOLDER / "gpu.py")]
TINY = ["--models", "tiny", "--quantize", "none", "--steps", "2", "--warm-up", "1", "--tokens", "128"]


@pytest.fixture(scope="module")
def gpu():
    """The script as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("gpu")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def folders(gpu, tmp_path_factory):
    """The folder of a tiny model as the script makes it."""
    root = tmp_path_factory.mktemp("gpu")

    def make(name):
        if not (root / name).exists():
            gpu.make_model(name, root / name, "cpu")
        return str(root / name)

    return make


@pytest.fixture
def work(gpu, folders):
    def make(name, side="lightadapt", quantize=None, **options):
        size = {"steps": 2, "warm_up": 1, "tokens": 128, "checkpointing": False, "processes": 1, "device": "cpu"}
        return gpu.Work(side=side, model=name, folder=folders(name), quantize=quantize, **{**size, **options})

    return make


def rows(output):
    """The lines of the table, cell by cell."""
    lines = [line for line in output.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_has_both_sides(tmp_path):
    command = [*SCRIPT, *TINY, "--device", "cpu", "--json", str(tmp_path / "facts.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "TFLOP/s in products of matrices" in done.stdout.splitlines()[0]
    (_, _, first, speed, ratio, *_), (_, _, second, other_speed, other_ratio, *_) = rows(done.stdout)
    assert (first, second, ratio) == ("peft", "lightadapt", "1.00")
    speeds = [float(each.replace(",", "")) for each in (speed, other_speed)]
    assert speeds[1] / speeds[0] == pytest.approx(float(other_ratio), abs=0.02)
    for entry in json.loads((tmp_path / "facts.json").read_text()):
        (found,) = entry["rounds"]
        assert found["tokens_per_second"] > 0
        assert found["peak"] > 0
        assert found["loss"] == pytest.approx(math.log(300), abs=0.5)  # of random weights


@pytest.mark.parametrize("side", ["peft", "lightadapt"])
@pytest.mark.parametrize(
    ("name", "quantize", "checkpointing"), [("tiny-bert", None, False), ("tiny", "4bit", False), ("tiny", None, True)]
)
def test_every_kind_of_run(gpu, work, side, name, quantize, checkpointing):
    if quantize:
        pytest.importorskip("bitsandbytes")
    found = gpu.run(work(name, side, quantize, checkpointing=checkpointing))
    assert found["tokens_per_second"] > 0
    assert found["loss"] == pytest.approx(math.log(4 if name == "tiny-bert" else 300), abs=0.5)


@pytest.mark.parametrize("name", ["tiny", "tiny-bert"])
def test_both_sides_see_the_same_tokens(gpu, work, name, monkeypatch):
    import lightadapt as la

    task = work(name)
    texts = gpu.make_texts(task)
    assert len(texts) == 3 * task.rows == 12
    theirs = [row["input_ids"] for row in gpu.encode(task, texts)]
    options = {"labels": list(gpu.LABELS)} if name == "tiny-bert" else {}
    adapted = la.adapt(task.folder, "classification" if options else "generation", **options)
    examples = adapted.task.parse(adapted.task.read(texts))
    ours = [feature.inputs["input_ids"] for feature in adapted.runner.encode(examples, targets=True)]
    assert ours == theirs
    assert {len(ids) for ids in ours} == {32}


@pytest.mark.parametrize(
    ("name", "all_parameters", "in_blocks"),
    [
        ("bert-base", 109_485_316, 85_054_464),
        ("llama-1b", 1_235_814_400, 973_144_064),
        ("llama-8b", 8_030_261_248, 6_979_584_000),
    ],
)
def test_the_shapes_are_those_of_the_real_models(gpu, name, all_parameters, in_blocks):
    shape = gpu.SHAPES[name]
    with torch.device("meta"):
        model = shape.auto.from_config(shape.config)
    assert sum(parameter.numel() for parameter in model.parameters()) == all_parameters
    assert gpu.block_parameters(shape) == in_blocks


def test_the_share_of_the_peak_rate(gpu, work):
    speed, rate = 1000.0, 1e9
    row = gpu.as_row(work("tiny"), [{"tokens_per_second": speed, "peak": 2**30, "loss": 5.0}], speed / 2, rate)
    share = 4 * gpu.block_parameters(gpu.SHAPES["tiny"]) * speed / rate
    assert row == f"| tiny | none | lightadapt | 1,000 | 2.00 | 1.00 | {share:.1%} | 5.000 |"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "tiny,huge"], "huge is unknown; known: bert-base"),
        (["--quantize", "8bit"], "8bit is unknown; known: none, 4bit"),
        (["--fsdp", "2"], "--fsdp is for plain weights"),
        (["--steps", "0"], "whole numbers above 0"),
    ],
)
def test_bad_options_are_refused(gpu, monkeypatch, capsys, options, message):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    with pytest.raises(SystemExit):
        gpu.parse()
    assert message in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_runs_on_a_gpu():
    done = subprocess.run([*SCRIPT, *TINY, "--device", "cuda"], capture_output=True, text=True, check=True)
    assert [row[2] for row in rows(done.stdout)] == ["peft", "lightadapt"]
