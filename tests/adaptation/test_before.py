"""What an adaptation was before it learned, beside what it is."""

from __future__ import annotations

import pytest
from learned import as_learned, stir, trainable

import lightadapt as la
from lightadapt.evaluation.scores import Scores

LABELS = ["refund", "delivery", "invoice"]
TEXTS = [{"text": f"{label} {number}", "label": label} for number in range(8) for label in LABELS]


def learned(adapted):
    """As if it had learned: all that is trained has moved."""
    stir(trainable(adapted.model).values())
    return as_learned(adapted)


@pytest.fixture
def sentences(tiny, tmp_path):
    """A tiny sentence encoder, which tells labels by what they mean."""
    import json
    import shutil

    folder = tmp_path / "encoder"
    shutil.copytree(tiny("bert"), folder)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("method", ["lora", "prompt", "bottleneck"])
def test_before_is_what_evaluate_gave_before_fit(sentences, task, method):
    records = (
        TEXTS if task == "classification" else [{"text": each["text"], "labels": [each["label"]]} for each in TEXTS]
    )
    adapted = la.adapt(sentences, task, method, labels=LABELS)
    before = adapted.evaluate(records)
    learned(adapted)
    found = adapted.evaluate(records, before=True)
    assert dict(found.before) == dict(before)
    assert dict(found) == dict(adapted.evaluate(records))
    assert "zero-shot" in found.before_by
    headline = adapted.task.headline
    assert found.gain.difference == pytest.approx(found[headline] - before[headline])
    assert f"before: {headline} {before[headline]:.4f}, from {found.before_by}\n{found.gain}" in str(found)


def test_what_was_calibrated_or_tuned_does_not_count_before(sentences):
    adapted = la.adapt(sentences, "multilabel", labels=LABELS)
    records = [{"text": each["text"], "labels": [each["label"]]} for each in TEXTS]
    before = adapted.evaluate(records)
    learned(adapted).calibrate(records)
    found = adapted.evaluate(records, before=True).before
    assert found.calibration_error == before.calibration_error
    assert found.uncalibrated_error is None


def test_of_a_language_model_it_is_what_the_base_writes(tiny):
    records = [{"prompt": f"my order {number}", "completion": "is late"} for number in range(3)]
    adapted = la.adapt(tiny("llama"), la.Generation(max_new_tokens=4))
    before = adapted.evaluate(records)
    learned(adapted)
    found = adapted.evaluate(records, before=True)
    assert dict(found.before) == pytest.approx(dict(before))
    assert found["loss"] != pytest.approx(before["loss"])
    assert found.before_by == "the base without the adapter"
    assert dict(adapted.evaluate(records)) == pytest.approx(dict(found))  # the adapter is on again


GUESSED = {
    "classification": ([{"text": str(n), "label": "ab"[n % 3 == 0]} for n in range(12)], {"accuracy": 2 / 3}),
    "multilabel": ([{"text": str(n), "labels": ["a"] if n % 4 else ["b"]} for n in range(12)], {"micro_f1": 3 / 4}),
    "regression": ([{"text": str(n), "label": n % 2} for n in range(12)], {"pearson": 0.0, "rmse": 0.5}),
    "ner": ([{"tokens": ["Maria", "came"], "tags": ["B-P", "O"]}] * 6, {"f1": 0.0}),
    "qa": (
        [
            {"question": "who", "context": "Maria came", "answers": [{"text": "Maria", "answer_start": 0}][: n % 2]}
            for n in range(8)
        ],
        {"f1": 0.5, "no_answer_accuracy": 1.0},
    ),
    "multiple-choice": (
        [{"question": "what", "choices": ["a", "b"], "answer": int(n > 2)} for n in range(8)],
        {"accuracy": 5 / 8},
    ),
}


@pytest.mark.parametrize("task", GUESSED)
def test_where_the_base_has_no_way_it_is_the_best_answer_that_needs_no_text(tiny, task):
    records, expected = GUESSED[task]
    adapted = la.adapt(tiny("bert"), task)
    adapted.runner.settle(adapted.runner.prepare(records).task)
    found = learned(adapted).evaluate(records, before=True)
    assert {name: found.before[name] for name in expected} == pytest.approx(expected)
    assert "needs no text" in found.before_by
    assert isinstance(found.before, Scores)


def test_what_nobody_knows_any_more_is_refused_before_anything_is_computed(tiny, messages, monkeypatch):
    adapted = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    monkeypatch.setattr(type(adapted.runner), "predict", lambda *_, **__: pytest.fail("computed before the refusal"))
    with pytest.raises(la.LightAdaptError, match="method 'full' has changed the base itself"):
        adapted.evaluate(messages, before=True)
    trained = la.adapt(as_learned(adapted).merge(), "classification", tokenizer=adapted.tokenizer)
    with pytest.raises(la.LightAdaptError, match="the head came trained with"):
        trained.evaluate(messages, before=True)
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    with adapted.disable(), pytest.raises(la.LightAdaptError, match="Leave the block that did so"):
        adapted.evaluate(messages, before=True)
    for wrong, reason in (
        (95, r"95 % is 0\.95"),
        (1.0, "endless"),
        (0, "between 0 and 1"),
        ("high", "between 0 and 1"),
    ):
        with pytest.raises(la.LightAdaptError, match=reason):
            adapted.evaluate(messages, confidence=wrong)
    with pytest.raises(la.LightAdaptError, match="the data holds 1 record"):
        adapted.evaluate(messages[:1], confidence=0.9)
