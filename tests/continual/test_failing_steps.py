"""A step that fails or is interrupted leaves the adaptation, and what is on the disk, as it was."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from learned import StopAt, assert_equal
from task_records import RECORDS
from transformers import TrainerCallback
from typer.testing import CliRunner

import lightadapt as la
from lightadapt.cli import app
from lightadapt.continual import extending

QUIET = {"disable_tqdm": True, "max_steps": 3}
TEXTS = ["Money back, please.", "Where is my parcel?", "Thank you so much!", "So long."]
ONE = [{"text": text, "label": label} for text, label in zip(TEXTS[:2] * 3, ["refund", "delivery"] * 3, strict=True)]
TWO = [{"text": text, "label": label} for text, label in zip(TEXTS[2:] * 3, ["thanks", "bye"] * 3, strict=True)]


class Fail(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise RuntimeError("out of memory")


class Spoil(TrainerCallback):
    def on_step_begin(self, args, state, control, model=None, **kwargs):
        with torch.no_grad():
            next(each for each in model.parameters() if each.requires_grad).fill_(torch.nan)


class Signal(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)


def look(adapted: la.Adapted) -> dict:
    """All that can be seen of an adaptation but its tensors."""
    head = adapted.runner.adaptation.head
    return {
        "labels": adapted.labels,
        "outputs": adapted.model.config.id2label,
        "count": adapted.model.num_labels,
        "state": head.state,
        "prototypes": None if head.prototypes is None else head.prototypes.linear,
        "trained": sorted(adapted.runner.adaptation.all_trained),
        "learns": sorted(name for name, each in adapted.model.named_parameters() if each.requires_grad),
        "last": adapted.runner.last_run,
        "past": adapted.runner.past,
        "predictions": adapted.predict(TEXTS, scores=adapted.task.name == "classification"),
    }


@pytest.fixture
def learned(request, tiny, comparable_encoder):
    """What has learned two classes: by a head of either form, or by a step before."""
    linear = request.param == "linear"
    adapted = la.adapt(tiny("bert") if linear else comparable_encoder({"pooling_mode": "mean"}), "classification")
    adapted.fit(ONE, args=QUIET)
    if request.param == "discriminants":
        adapted.extend([{"text": "Hm.", "label": "other"}] * 3, args=QUIET)
    return adapted


def during_the_run(monkeypatch, callback):
    return {"callbacks": [callback]}


def in_what_comes_behind_it(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(extending, "remember", fail)
    return {}


FAULTS = {
    "crash": (during_the_run, Fail(), RuntimeError),
    "Ctrl-C at once": (during_the_run, StopAt(1), KeyboardInterrupt),
    "Ctrl-C": (during_the_run, Signal(), KeyboardInterrupt),
    "no number": (during_the_run, Spoil(), la.LightAdaptError),
    "crash behind it": (in_what_comes_behind_it, RuntimeError("full"), RuntimeError),
    "Ctrl-C behind it": (in_what_comes_behind_it, KeyboardInterrupt(), KeyboardInterrupt),
}


CELLS = [
    (head, fault)
    for head in ("linear", "prototypes", "discriminants")
    for fault, (place, _, _) in FAULTS.items()
    if head == "linear" or place is in_what_comes_behind_it  # a step by the vectors has no run
]


@pytest.mark.parametrize(("learned", "fault"), CELLS, indirect=["learned"])
def test_a_step_that_fails_leaves_what_was_there(learned, monkeypatch, fault):
    place, what, error = FAULTS[fault]
    before, tensors = look(learned), {name: each.clone() for name, each in learned.runner.adaptation.tensors().items()}
    with monkeypatch.context() as patch, pytest.raises(error) as raised:
        learned.extend(TWO, args=QUIET, **place(patch, what))
    assert_equal(learned.runner.adaptation.tensors(), tensors)
    assert look(learned) == before
    if fault == "no number":
        assert str(raised.value).endswith("The model is as it was before.")
    learned.extend(TWO, args=QUIET)  # as if nothing had been
    assert {"thanks", "bye"} <= set(learned.labels)


@pytest.mark.parametrize("kind", ["linear", "prototypes"])
def test_the_first_step_leaves_a_model_that_has_learned_nothing(tiny, comparable_encoder, kind):
    base = tiny("bert") if kind == "linear" else comparable_encoder({"pooling_mode": "mean"})
    adapted, other = (la.adapt(base, "classification") for _ in range(2))
    tensors = {name: each.clone() for name, each in adapted.runner.adaptation.tensors().items()}
    with pytest.raises(KeyboardInterrupt):
        adapted.extend(ONE, args=QUIET, callbacks=[StopAt(2)])
    assert_equal(adapted.runner.adaptation.tensors(), tensors)
    assert adapted.labels is None
    assert adapted.runner.adaptation.head.is_untouched
    for each in (adapted, other):
        each.extend(ONE, args=QUIET)
    assert_equal(adapted.runner.adaptation.tensors(), other.runner.adaptation.tensors())


@pytest.mark.parametrize("task", ["ner", "multilabel", "regression", "qa"])
def test_a_step_of_another_task_does_so_too(tiny, task):
    adapted, other = (la.adapt(tiny("bert"), task) for _ in range(2))
    for _ in range(2):  # the first step, and a later one
        texts = RECORDS[task][:1]
        before = adapted.predict(texts) if adapted.task.ready else None
        with pytest.raises(RuntimeError, match="out of memory"):
            adapted.extend(RECORDS[task], args=QUIET, callbacks=[Fail()])
        assert before is None or adapted.predict(texts) == before
        for each in (adapted, other):
            each.extend(RECORDS[task], args=QUIET)
        assert_equal(adapted.runner.adaptation.tensors(), other.runner.adaptation.tensors())
        assert adapted.predict(texts) == other.predict(texts)


def test_ctrl_c_says_what_the_model_is(tiny, capfd):
    adapted = la.adapt(tiny("bert"), "classification")
    with pytest.raises(KeyboardInterrupt):
        adapted.extend(ONE, args=QUIET, callbacks=[Signal()])
    said = capfd.readouterr().err
    assert "extend was ended by SIGINT at step 2 of 3" in said
    assert "The model is as it was before." in said


def test_a_step_goes_on_from_its_checkpoint(tiny, tmp_path):
    adapted, whole = (la.adapt(tiny("bert"), "classification") for _ in range(2))
    for each in (adapted, whole):
        each.fit(ONE, args=QUIET)
    args = {**QUIET, "max_steps": 6}
    whole.extend(TWO, args=args)
    with pytest.raises(KeyboardInterrupt):
        adapted.extend(TWO, args=args, output_dir=tmp_path / "run", callbacks=[StopAt(4)])
    with pytest.raises(la.LightAdaptError, match="Pass resume=True"):
        adapted.extend(TWO, args=args, output_dir=tmp_path / "run")
    adapted.extend(TWO, args=args, output_dir=tmp_path / "run", resume=True)
    assert_equal(adapted.runner.adaptation.tensors(), whole.runner.adaptation.tensors())
    assert adapted.labels == whole.labels


def test_the_artifact_of_a_command_that_is_interrupted_stays(tiny, tmp_path, monkeypatch):
    adapted = la.adapt(tiny("bert"), "classification")
    adapted.fit(ONE, args=QUIET)
    adapted.save(tmp_path / "saved")
    before = {file: file.read_bytes() for file in sorted((tmp_path / "saved").rglob("*")) if file.is_file()}
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(record) + "\n" for record in TWO))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(extending, "remember", interrupted)
    command = ["extend", str(tmp_path / "saved"), "--data", str(tmp_path / "more.jsonl"), "--epochs", "1"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 130
    assert {file: file.read_bytes() for file in sorted((tmp_path / "saved").rglob("*")) if file.is_file()} == before
    assert la.load(tmp_path / "saved").labels == ["delivery", "refund"]
