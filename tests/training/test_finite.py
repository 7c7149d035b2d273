"""What is infinite or no number ends a run, with the records named and the last good weights kept."""

from __future__ import annotations

import pytest
import torch
from learned import assert_equal, state_of
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.training import finite

QUIET = {"disable_tqdm": True}


class Spoil(TrainerCallback):
    """Puts a value into a trained weight after some step."""

    def __init__(self, step, value=float("nan")):
        self.step, self.value = step, value
        self.before = {}

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            parameter = next(parameter for parameter in model.parameters() if parameter.requires_grad)
            parameter.data.view(-1)[0] = self.value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("args", [{}, {"logging_strategy": "no"}, {"logging_steps": 1000}])
@pytest.mark.parametrize("step", [5, 8], ids=["in the middle", "at the end"])
def test_spoilt_weights_end_a_run_which_keeps_good_ones(classifier, messages, args, step, value):
    adapted = classifier()
    with pytest.raises(
        la.LightAdaptError, match=r"(loss is nan|weights are not finite) at step \d.* has the weights of"
    ):
        adapted.fit(messages, epochs=2, callbacks=[Spoil(step, value)], args={**QUIET, **args})
    assert all(value.isfinite().all() for value in state_of(adapted).values())
    adapted.fit(messages, epochs=1, args=QUIET)


def test_a_loss_that_is_no_number_names_its_records_before_the_step_is_taken(classifier, messages):
    adapted = classifier()
    adapted.model.classifier.register_forward_hook(lambda module, args, output: output * float("nan"))
    before = state_of(adapted)
    said = r"loss is nan at step 1 \(learning rate 0\.001\)\..* The batch was Record \d+, Record \d+.* of step 0\."
    with pytest.raises(la.LightAdaptError, match=said):
        adapted.fit(messages, epochs=2, args={**QUIET, "logging_strategy": "no"})
    assert_equal(state_of(adapted), before)


def test_the_record_is_named_by_its_file_and_line(classifier, tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nfine,refund\nspoilt,refund\n")
    adapted = classifier()
    word = adapted.tokenizer("spoilt")["input_ids"][1]
    adapted.model.get_input_embeddings().weight.data[word] = float("inf")
    with pytest.raises(la.LightAdaptError, match=r"Record 1 \(.*train\.csv, line 3\)"):
        adapted.fit(tmp_path / "train.csv", epochs=1, batch_tokens=1, cache=False, args=QUIET)


def test_an_infinite_gradient_ends_the_run_before_the_step(classifier, messages):
    adapted = classifier()
    weight = adapted.model.classifier.weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = state_of(adapted)
    with pytest.raises(la.LightAdaptError, match=r"The gradient is (inf|nan) at step 1 .*Record"):
        adapted.fit(messages, epochs=1, args=QUIET)
    assert_equal(state_of(adapted), before)


def test_no_checkpoint_of_spoilt_weights_is_written(classifier, messages, tmp_path):
    """Where losses are looked at late, as on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        look = finite.FiniteWatch.note

        def note_alone(self, *noted):
            self.at_once = False
            look(self, *noted)

        patch.setattr(finite.FiniteWatch, "note", note_alone)
        adapted = classifier()
        with pytest.raises(la.LightAdaptError, match=r"loss is nan at step 7 .*Record"):
            adapted.fit(
                messages,
                epochs=3,
                callbacks=[Spoil(6)],
                output_dir=tmp_path,
                args={**QUIET, "logging_strategy": "no"},
            )
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
    assert_equal(state_of(adapted), state_of(la.load(tmp_path / "checkpoint-4")))
    resumed, whole = classifier(), classifier()
    resumed.fit(messages, epochs=3, output_dir=tmp_path, resume=True, args=QUIET)
    whole.fit(messages, epochs=3, args=QUIET)
    assert_equal(state_of(resumed), state_of(whole))


def test_a_run_that_diverges_keeps_the_weights_of_its_best_evaluation(classifier, messages, tmp_path):
    adapted = classifier()
    with pytest.raises(la.LightAdaptError, match="weights of the best evaluation so far, at step 4"):
        adapted.fit(messages, messages[:20], epochs=3, callbacks=[Spoil(6)], args=QUIET)
    scores = adapted.evaluate(messages[:20])
    assert adapted.history.best_scores == scores
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").evaluate(messages[:20]) == scores
    assert adapted.runner.last_run.metrics == scores


def test_large_finite_weights_are_finite():
    large = torch.full((10,), 3e38)
    assert finite.are_finite([large, large])
    assert not finite.are_finite([large, torch.tensor([float("-inf"), 1.0])])
    assert finite.are_finite([])
