"""When a run evaluates and saves: what is given alone works, what does not go together is said with what would."""

from __future__ import annotations

import pytest
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy

import lightadapt as la
from lightadapt.training.moments import moments_of

QUIET = {"disable_tqdm": True}


@pytest.mark.parametrize(
    ("args", "evaluated"),
    [
        ({"eval_strategy": "steps", "eval_steps": 1}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"eval_strategy": IntervalStrategy.STEPS, "eval_steps": 3}, [3, 6, 8]),
        ({"eval_steps": 4}, [4, 8]),
        ({"eval_strategy": "steps", "save_strategy": "steps", "save_steps": 4}, [4, 8]),
        ({"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps"}, [2, 4, 6, 8]),
        ({"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best"}, [2, 4, 6, 8]),
        ({"eval_strategy": "steps", "eval_steps": 4, "load_best_model_at_end": False}, [4, 8]),
        ({"eval_strategy": "no"}, []),
        ({"save_strategy": "steps", "save_steps": 3, "load_best_model_at_end": False}, [4, 8]),
    ],
)
@pytest.mark.parametrize("keeps", [False, True])
def test_evaluations_come_when_they_are_asked_for(classifier, messages, tmp_path, args, evaluated, keeps):
    folder = {"output_dir": tmp_path} if keeps else {}
    history = classifier().fit(messages, messages[:5], epochs=2, args={**QUIET, **args}, **folder)
    assert [entry["step"] for entry in history.epochs] == evaluated
    assert (history.best is None) == (not evaluated or args.get("load_best_model_at_end") is False)


def test_the_strategy_of_an_object_is_followed(classifier, messages, tmp_path):
    args = TrainingArguments(str(tmp_path), eval_strategy="steps", eval_steps=2, disable_tqdm=True, report_to="none")
    assert len(classifier().fit(messages, messages[:5], epochs=1, args=args).epochs) == 2


@pytest.mark.parametrize(
    ("args", "validates", "said", "mends"),
    [
        (
            {"save_strategy": "steps", "save_steps": 2},
            True,
            "the best weights are kept at evaluations",
            [{}, {"save_strategy": "steps", "eval_strategy": "steps"}, {"load_best_model_at_end": False}],
        ),
        ({"save_strategy": "no"}, True, "Leave it out, or give", [{}, {"load_best_model_at_end": False}]),
        ({"eval_strategy": "no", "load_best_model_at_end": True}, True, "Leave one of them out", [{}]),
        ({"eval_strategy": "epoch"}, False, "needs validation data", []),
        ({"eval_steps": 5}, False, "eval_steps=5, which needs validation data", []),
        ({"metric_for_best_model": "accuracy"}, False, "needs validation data", []),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_would(no_steps, messages, args, validates, said, mends):
    with pytest.raises(la.LightAdaptError, match=said):
        no_steps().fit(messages, messages[:5] if validates else None, args=args)
    for mend in mends:  # what the error advises is taken
        moments_of({**args, **mend} if mend else {}, headline="accuracy", greater_is_better=True, keeps=False, every=5)


def test_early_stopping_without_evaluations_is_refused(no_steps, messages):
    with pytest.raises(la.LightAdaptError, match="early_stopping needs evaluations"):
        no_steps().fit(messages, messages[:5], early_stopping=1, args={"eval_strategy": "no"})


@pytest.mark.parametrize(
    ("metric", "greater"), [("accuracy", True), ("eval_macro_f1", True), ("eval_loss", False), ("perplexity", False)]
)
def test_of_a_loss_the_least_is_the_best(metric, greater):
    found = moments_of(
        {"metric_for_best_model": metric}, headline="accuracy", greater_is_better=True, keeps=False, every=5
    )
    assert found["greater_is_better"] is greater


# ---- names


@pytest.fixture
def no_steps(classifier, monkeypatch):
    """A classifier that fails the test if it takes a step."""
    from lightadapt.training.trainer import AdaptTrainer

    monkeypatch.setattr(AdaptTrainer, "training_step", lambda *_, **__: pytest.fail("a step was taken"))
    return classifier


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"metric_for_best_model": "eval_loss"}, r"'eval_loss' is not among .* Known: accuracy, macro_f1"),
        ({"metric_for_best_model": "acuracy"}, "Did you mean 'accuracy'"),
        ({"optim": "adamx"}, "adamx"),
        ({"optim": "galore_adamw"}, "The optimizer galore_adamw cannot be used here"),
        ({"lr_scheduler_type": "cosin"}, "cosin"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type='cosine_with_min_lr' .* lr_scheduler_kwargs"),
        ({"lr_scheduler_kwargs": {"nothing": 1}}, "nothing"),
        ({"report_to": "wandbe"}, "wandbe is not supported.* report_to='wandbe'"),
        ({"report_to": ["comet_ml"]}, "report_to='comet_ml'"),
    ],
)
def test_names_are_checked_before_the_first_step(no_steps, messages, args, said):
    with pytest.raises(la.LightAdaptError, match=said):
        no_steps().fit(messages, messages[:5], epochs=1, args={**QUIET, **args})


@pytest.mark.parametrize("metric", ["macro_f1", "eval_macro_f1"])
def test_another_metric_of_the_task_chooses_the_best_weights(classifier, messages, metric):
    history = classifier().fit(messages, messages[:9], epochs=3, args={**QUIET, "metric_for_best_model": metric})
    assert history.best["macro_f1"] == max(entry["macro_f1"] for entry in history.epochs)
