"""Ctrl-C and SIGTERM end a run at a step's end, with a checkpoint and a line; and checkpoints by the clock."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from learned import StopAt, assert_equal, state_of
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.training import interrupts
from lightadapt.training.checkpoints import find_last


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C as in a terminal; a process that a shell started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


OPTIONS = {"epochs": 3, "args": {"disable_tqdm": True}}


class SendAt(TrainerCallback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, step, number, times=1):
        self.step, self.number, self.times = step, number, times

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("step", [6, 8], ids=["in an epoch", "at its end"])
@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_a_run_that_goes_on_bit_for_bit(
    classifier, messages, tmp_path, capfd, number, error, validates, step
):
    validation = messages[:20] if validates else None
    whole, resumed, stopped = classifier(), classifier(), classifier()
    history = whole.fit(messages, validation, **OPTIONS)
    with pytest.raises(error):
        stopped.fit(messages, validation, output_dir=tmp_path, callbacks=[SendAt(step, number)], **OPTIONS)
    said = capfd.readouterr().err
    assert f"at step {step} of 12: {tmp_path / f'checkpoint-{step}'} is kept" in said
    assert "resume=True goes on from there" in said
    assert find_last(tmp_path).name == f"checkpoint-{step}"
    again = resumed.fit(messages, validation, output_dir=tmp_path, resume=True, **OPTIONS)
    assert_equal(state_of(resumed), state_of(whole))
    assert again.epochs == history.epochs


def test_evaluations_by_steps_are_not_left_out_where_a_run_was_ended(classifier, messages, tmp_path):
    args = {**OPTIONS["args"], "eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 3}
    options = {"validation": messages[:20], "epochs": 3, "args": args}
    history = classifier().fit(messages, **options)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, output_dir=tmp_path, callbacks=[SendAt(6, signal.SIGINT)], **options)
    assert classifier().fit(messages, output_dir=tmp_path, resume=True, **options).epochs == history.epochs


@pytest.mark.parametrize("directly", [False, True], ids=["by a signal", "by an exception"])
def test_an_interrupted_run_leaves_the_best_weights_with_their_scores(classifier, messages, tmp_path, capfd, directly):
    adapted = classifier()
    callback = StopAt(11) if directly else SendAt(11, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        adapted.fit(messages, messages[:20], callbacks=[callback], **OPTIONS)
    if not directly:
        said = capfd.readouterr().err
        assert "nothing is kept to go on from, since there is no output_dir" in said
        assert f"the weights of the best evaluation so far, at step {adapted.history.best['step']}" in said
    assert adapted.history.best_scores == adapted.evaluate(messages[:20])
    adapted.save(tmp_path / "saved")
    loaded = la.load(tmp_path / "saved")
    assert loaded.runner.last_run.metrics == loaded.evaluate(messages[:20])


def test_before_the_first_evaluation_there_are_no_scores(classifier, messages, capfd):
    adapted = classifier()
    adapted.fit(messages, messages[:20], epochs=1, args=OPTIONS["args"])
    assert adapted.runner.last_run.metrics
    with pytest.raises(KeyboardInterrupt):
        adapted.fit(messages, messages[:20], callbacks=[SendAt(2, signal.SIGINT)], **OPTIONS)
    assert adapted.runner.last_run.metrics == {}
    assert "The model has the weights of step 2." in capfd.readouterr().err


def test_a_second_signal_ends_a_run_at_once(classifier, messages, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, output_dir=tmp_path, callbacks=[SendAt(6, signal.SIGINT, times=2)], **OPTIONS)
    assert find_last(tmp_path).name == "checkpoint-4"


def test_handlers_are_put_back_and_those_of_others_stay(classifier, messages):
    own = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: own.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        classifier().fit(messages, callbacks=[SendAt(2, signal.SIGTERM)], **OPTIONS)
        assert own == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, callbacks=[SendAt(2, signal.SIGINT)], **OPTIONS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_in_another_thread_has_no_handlers(classifier, messages):
    found = []

    class Look(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            found.append(signal.getsignal(signal.SIGTERM))

    adapted = classifier()
    thread = threading.Thread(target=lambda: adapted.fit(messages, callbacks=[Look()], **OPTIONS))
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL] * 12


def test_a_signal_reaches_no_process_that_loads_data(classifier, messages, tmp_path):
    args = {**OPTIONS["args"], "dataloader_num_workers": 1, "dataloader_prefetch_factor": 1}
    with pytest.raises(SystemExit):
        classifier().fit(
            messages, epochs=3, output_dir=tmp_path, callbacks=[SendAt(6, signal.SIGTERM)], args=args, cache=False
        )
    assert find_last(tmp_path).name == "checkpoint-6"


def test_checkpoints_by_the_clock(classifier, messages, tmp_path, monkeypatch):
    """Each step takes a minute of this clock."""
    minutes = iter(range(0, 6_000, 60))
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: next(minutes))
    seen = []

    class Look(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            seen.append(state.global_step)

    args = {**OPTIONS["args"], "save_strategy": "no"}
    classifier().fit(messages, epochs=3, output_dir=tmp_path, save_minutes=3, callbacks=[Look()], args=args)
    assert seen == [3, 6, 9, 12]
    seen.clear()
    classifier().fit(messages, epochs=3, output_dir=tmp_path / "b", save_minutes=None, callbacks=[Look()], args=args)
    classifier().fit(messages, epochs=3, save_minutes=1, callbacks=[Look()], args=args)
    assert seen == []


@pytest.mark.parametrize("minutes", [0, -1, float("inf"), "ten"])
def test_minutes_that_are_none_are_refused(classifier, messages, minutes):
    with pytest.raises(la.LightAdaptError, match="save_minutes"):
        classifier().fit(messages, save_minutes=minutes)
