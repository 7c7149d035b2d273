"""Several processes learn what one would, score every record once, write once and go on from where they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import distributed_script as script
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

import lightadapt as la
from lightadapt.machine.hardware import choose_device
from lightadapt.training.batching import TokenBudgetBatches, batches_a_step

MOST_SECONDS = 480
"""A run that takes longer hangs."""


def launch(which: str, models: Path, folder: Path) -> subprocess.Popen[str]:
    """Start two processes that write what they find into the folder."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script.__file__]
    return subprocess.Popen(
        [*map(str, [*command, which, folder, models])],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(la.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(child: subprocess.Popen[str], which: str) -> str:
    """What the processes print until they end."""
    try:
        return child.communicate(timeout=MOST_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        pytest.fail(f"{which} took longer than {MOST_SECONDS} s:\n{child.communicate()[0][-4000:]}")


def start(which: str, models: Path, folder: Path) -> None:
    """Write what two processes find into the folder."""
    child = launch(which, models, folder)
    said = finish(child, which)
    assert child.returncode == 0, said[-8000:]


def found_by_two(which: str, models: Path, once) -> list[dict]:
    """What two processes found, in one run for all tests."""
    folder = once(which, partial(start, which, models))
    return [json.loads((folder / f"{which}-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory) -> Path:
    """Tiny models without dropout, which would be drawn differently in one process and in two."""
    root = tmp_path_factory.mktemp("plain")
    for name in ("bert", "llama"):
        (root / name).mkdir()
        for file in tiny(name).iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
        settings = json.loads((root / name / "config.json").read_text())
        settings |= {key: 0.0 for key in settings if "dropout" in key}
        (root / name / "config.json").write_text(json.dumps(settings))
    return root


@pytest.fixture(scope="module")
def two(models, once) -> list[dict]:
    return found_by_two("data_parallel", models, once)


@pytest.fixture(scope="module")
def parts(models, once) -> list[dict]:
    return found_by_two("sharded", models, once)


@pytest.fixture(scope="module")
def one(models) -> dict[str, dict]:
    """What one process finds with as many tokens a step."""
    found = {}
    for name, (_, _, records) in script.TASKS.items():
        adapted = script.make(models, name)
        found[name] = script.learn(adapted, records) | {"digest": script.digest(adapted)}
    return found


# ---- batches


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("records", [3, 4, 7, 50, 211])
@pytest.mark.parametrize("batch_tokens", [1, 40, 10**6])
def test_every_process_gets_as_many_batches_and_every_record_goes_to_one(processes, accumulated, records, batch_tokens):
    lengths = [1 + number * 7 % 23 for number in range(records)]
    batches = TokenBudgetBatches(
        lengths,
        batch_tokens=batch_tokens,
        seed=1,
        multiple_of=batches_a_step(records, processes, accumulated),
    )
    shards = [
        list(BatchSamplerShard(batches, num_processes=processes, process_index=rank, even_batches=False))
        for rank in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    assert all(batch for shard in shards for batch in shard)
    dealt = Counter(index for shard in shards for batch in shard for index in batch)
    assert dealt == Counter(range(records))


def test_fewer_records_than_processes_are_refused():
    with pytest.raises(la.LightAdaptError, match="2 training sequences for 3 processes"):
        TokenBudgetBatches([4, 4], batch_tokens=4, seed=0, multiple_of=3)


@pytest.mark.usefixtures("plain_processor")
def test_a_step_of_several_batches_is_that_of_one(models):
    found = []
    for batches in (1, 4):
        adapted = script.make(models, "ner")
        adapted.fit(
            script.RECORDS[:12],
            epochs=1,
            batch_tokens=10**6,
            learning_rate=0.05,  # of plain steps: the first of Adam makes as much of a gradient of nearly 0 as of any
            args={"gradient_accumulation_steps": batches, "optim": "sgd", "disable_tqdm": True},
        )
        assert adapted.history.steps == 1
        found.append({name: each.detach() for name, each in adapted.model.named_parameters() if each.requires_grad})
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-4, atol=1e-6)


# ---- two processes with the same model


@pytest.mark.slow
@pytest.mark.parametrize("name", script.TASKS)
def test_two_processes_learn_what_one_learns(one, two, name):
    for found in two:
        assert found[name]["steps"] == one[name]["steps"]
        assert found[name]["losses"] == [pytest.approx(entry, rel=1e-4) for entry in one[name]["losses"]]
        for mine, expected in zip(found[name]["epochs"], one[name]["epochs"], strict=True):
            assert mine == pytest.approx(expected, rel=1e-4)
        assert found[name]["digest"] == pytest.approx(one[name]["digest"], rel=1e-3)
    assert two[0][name] == two[1][name]


@pytest.mark.slow
def test_validation_is_shared_out_and_every_record_counts_once(two):
    each = [found["shared"] for found in two]
    assert all(each)
    assert Counter(each[0] + each[1]) == Counter(dict.fromkeys(range(9), 2))  # in two epochs
    for found in two:
        best = max(found["balanced"]["epochs"], key=lambda entry: entry["accuracy"])
        assert found["scores"] == {name: best[name] for name in found["scores"]}


@pytest.mark.slow
def test_outside_of_fit_each_process_works_for_itself(two):
    for found in two:
        assert Counter(found["alone"]) == Counter(range(9))
    assert len(two[0]["said"]) == len(script.RECORDS)


@pytest.mark.slow
def test_the_main_process_writes_and_the_others_wait_for_it(two):
    assert [found["written"] for found in two] == [["by-all"], []]
    assert [len(found["checkpoints"]) for found in two] == [3, 0]
    assert all(found["loaded"] == found["balanced"]["digest"] for found in two)
    assert "holds other files" in two[0]["not written"]
    assert "failed in the main process" in two[1]["not written"]
    assert "holds other files" in two[1]["not written"]
    assert "the main process does this for all" in two[1]["without main"]


@pytest.mark.slow
def test_a_run_goes_on_in_the_middle_of_an_epoch(two):
    assert all(found["resumed"] == found["balanced"]["digest"] for found in two)


@pytest.mark.slow
def test_all_stop_early_together(two):
    assert two[0]["early"] == two[1]["early"]
    steps, epochs, _ = two[0]["early"]
    assert steps < epochs


@pytest.mark.slow
def test_what_cannot_work_is_refused_by_all(two):
    for found in two:
        assert "Process 1 on" in found["elsewhere"]
        assert "output_dir" in found["elsewhere"]
        assert "1 training sequences for 2 processes" in found["too few"]


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert choose_device("auto") == torch.device("cuda")


# ---- signals


@pytest.fixture(scope="module")
def interrupted(models, once) -> list[dict]:
    return found_by_two("interrupted", models, once)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "error"), [("other", "SystemExit 143"), ("main", "KeyboardInterrupt"), ("evaluation", "SystemExit 143")]
)
def test_a_signal_to_one_process_ends_all_at_the_same_step(interrupted, which, error):
    for found in interrupted:
        assert found[which]["ended"] == error
        assert found[which]["kept"] == f"checkpoint-{found[which]['steps']}"
        assert found[which]["resumed"] == found["whole"]["digest"]
    assert interrupted[0][which] == interrupted[1][which]
    assert (interrupted[0][which]["steps"] == 2) == (which != "evaluation")
    assert interrupted[0][which]["steps"] < interrupted[0]["whole"]["steps"]


@pytest.mark.slow
def test_a_signal_to_torchrun_ends_all_with_a_checkpoint(models, tmp_path):
    child = launch("ended", models, tmp_path)
    end = time.monotonic() + MOST_SECONDS
    while not all((tmp_path / f"reached-{rank}").exists() for rank in range(2)):
        assert child.poll() is None, child.communicate()[0][-4000:]
        assert time.monotonic() < end
        time.sleep(0.1)
    child.terminate()
    said = finish(child, "ended")
    found = [json.loads((tmp_path / f"ended-{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    assert found[0]["ended"] == "SystemExit 143"
    assert found[0]["kept"] == f"checkpoint-{found[0]['steps']}"
    assert said.count("fit was ended by SIGTERM") == 1


# ---- two processes with a part of the model each


@pytest.mark.slow
@pytest.mark.parametrize("name", ["balanced", "texts"])
def test_a_model_in_parts_learns_what_a_whole_one_learns(one, parts, name):
    for found in parts:
        assert found[name]["in parts"]
        assert found[name]["losses"] == [pytest.approx(entry, rel=1e-4) for entry in one[name]["losses"]]
        assert found[name]["digest"] == pytest.approx(one[name]["digest"], rel=1e-3)


@pytest.mark.slow
def test_a_model_in_parts_predicts_and_is_saved_whole(parts):
    for found in parts:
        for name in ("balanced", "texts"):
            assert found[name]["same"]
            assert "Save it, and merge" in found[name]["merge"]
    assert "not all of them have come to predict" in parts[0]["alone"]


@pytest.mark.slow
def test_a_run_of_a_model_in_parts_goes_on(parts):
    for found in parts:
        assert found["resumed"] == found["balanced"]["digest"]
