"""Runs: rates, best weights, early stopping, labels that are learned, and the model in others' hands."""

from __future__ import annotations

import math

import pytest
import torch
from learned import assert_equal, state_of, without_dropout
from transformers import Trainer, TrainerCallback, TrainingArguments

import lightadapt as la
from lightadapt.adaptation.manifest import manifest_of


class Watch(TrainerCallback):
    """Keeps what a run shows to its callbacks."""

    def __init__(self):
        self.rates, self.steps, self.optimizer = [], 0, None

    def on_train_begin(self, args, state, control, optimizer=None, **kwargs):
        self.optimizer = optimizer

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1


# ---- runs


def test_a_run_is_the_same_again_with_the_same_seed(classifier, messages):
    runs = []
    for _ in range(2):
        adapted = classifier(seed=5)
        torch.manual_seed(torch.randint(0, 1000, ()).item())  # what happened before must not matter
        history = adapted.fit(messages, epochs=2)
        runs.append((state_of(adapted), history.losses))
    assert runs[0][1] == runs[1][1]
    assert_equal(runs[0][0], runs[1][0])


def test_history_tells_the_run(classifier, messages):
    adapted = classifier()
    history = adapted.fit(messages, validation=messages[:20], epochs=2)
    assert adapted.history is history
    assert [entry["epoch"] for entry in history.epochs] == [1, 2]
    assert history.best in history.epochs
    assert history.steps == history.losses[-1][0]
    assert history.seconds > 0
    assert history.tokens_per_second > 0
    assert 0 <= history.padding < 1
    assert history.peak_memory > 10_000_000
    assert "best accuracy" in str(history)


def test_the_weights_of_the_best_evaluation_are_kept(classifier, messages, monkeypatch):
    adapted = classifier()
    scores, states = iter([0.2, 0.9, 0.1]), []

    def score(*_):
        states.append(state_of(adapted))
        return {"accuracy": next(scores), "macro_f1": 0.0}, {}

    monkeypatch.setattr(type(adapted.task), "score", score)
    history = adapted.fit(messages, validation=messages[:5], epochs=3)
    assert history.best["accuracy"] == 0.9
    assert_equal(state_of(adapted), states[1])
    assert not torch.equal(states[2]["classifier.weight"], states[1]["classifier.weight"])


def test_early_stopping_counts_evaluations_without_gain(classifier, messages, monkeypatch):
    adapted = classifier()
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    monkeypatch.setattr(type(adapted.task), "score", lambda *_: ({"accuracy": next(scores)}, {}))
    history = adapted.fit(messages, validation=messages[:5], epochs=6, early_stopping=2)
    assert [entry["accuracy"] for entry in history.epochs] == [0.5, 0.4, 0.3]


def test_the_head_has_a_rate_of_its_own(classifier, messages):
    watch = Watch()
    classifier(method="full").fit(messages, epochs=1, callbacks=[watch], args={"lr_scheduler_type": "constant"})
    groups = watch.optimizer.param_groups
    own = la.Full.head_learning_rate * math.sqrt(10 / 64)  # of ten classes
    assert {group["lr"] for group in groups} == {la.Full.learning_rate, own}
    in_head = [p.numel() for group in groups if group["lr"] == own for p in group["params"]]
    assert sum(in_head) == 32 * 10 + 10
    watch = Watch()
    classifier(method="full").fit(messages, epochs=1, learning_rate=1e-5, callbacks=[watch])
    assert sorted({group["initial_lr"] for group in watch.optimizer.param_groups}) == pytest.approx([1e-5, own / 10])
    watch, rates = Watch(), {"learning_rate": 1e-5, "head_learning_rate": 3e-3}
    history = classifier(method="full").fit(messages, epochs=1, **rates, callbacks=[watch])
    assert sorted({group["initial_lr"] for group in watch.optimizer.param_groups}) == pytest.approx([1e-5, 3e-3])
    assert {name: history.settings[name] for name in rates} == rates


def test_records_per_step_and_token_budgets(classifier, messages):
    steps = [
        classifier().fit(messages, epochs=1, **o).steps for o in ({}, {"batch_tokens": 10**6}, {"batch_tokens": 1})
    ]
    assert steps == [4, 1, 60]
    assert classifier().fit(messages, epochs=1, args={"per_device_train_batch_size": 30}).steps == 2
    assert classifier().fit(messages, epochs=1, args={"gradient_accumulation_steps": 4}).steps == 1


def test_a_limit_of_steps_is_what_the_history_tells(classifier, messages):
    adapted = classifier()
    history = adapted.fit(messages, args={"max_steps": 2})
    assert history.settings["epochs"] == 0.5
    assert len(history.losses) == 2


def test_mixed_precision_leaves_nothing_behind(classifier, messages, tmp_path):
    adapted = classifier()
    adapted.fit(messages, epochs=1, args={"bf16": True})
    adapted.save(tmp_path / "saved")
    texts = [record["text"] for record in messages[:5]]
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == adapted.predict(texts, scores=True)


def test_weights_of_an_evaluation_that_was_not_kept_have_no_scores(classifier, messages):
    adapted = classifier()
    history = adapted.fit(messages, messages, epochs=1, args={"load_best_model_at_end": False})
    assert history.best is None
    assert manifest_of(adapted.runner)["metrics"] == {}


# ---- labels


def test_labels_are_read_from_the_first_data_and_the_head_follows(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification")
    assert adapted.labels is None
    for use in (lambda: adapted.predict(["a"]), lambda: adapted.evaluate(messages), lambda: adapted.save("x")):
        with pytest.raises(la.LightAdaptError, match="The labels are not known yet"):
            use()
    model = adapted.model
    adapted.fit(messages, epochs=1)
    assert adapted.model is model
    assert adapted.labels == sorted({record["label"] for record in messages})
    assert model.classifier.out_features == model.num_labels == model.config.num_labels == 10
    with pytest.raises(la.DataError, match=r"Record 0: label 'new' is not among the labels"):
        adapted.fit([{"text": "a", "label": "new"}])
    given = la.adapt(tiny("bert"), "classification", labels=adapted.labels)
    given.fit(messages, epochs=1)
    assert given.evaluate(messages) == adapted.evaluate(messages)  # inferred or given makes no difference


def test_labels_inferred_in_half_precision_keep_the_head_in_float32(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification", dtype="bfloat16")
    adapted.fit(messages, epochs=1)
    assert adapted.model.classifier.weight.dtype == torch.float32
    assert len(adapted.predict(["a", "b"])) == 2


def test_class_numbers_stay_numbers(tiny, messages, tmp_path):
    numbered = [{"text": record["text"], "label": len(record["text"]) % 3} for record in messages]
    adapted = la.adapt(tiny("bert"), "classification")
    adapted.fit(numbered, epochs=1)
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").labels == [0, 1, 2]
    assert set(la.load(tmp_path / "saved").predict([record["text"] for record in numbered])) <= {0, 1, 2}


def test_a_head_that_came_trained_is_used_and_replaced_only_for_other_labels(tiny, messages, tmp_path):
    trained = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    trained.fit(messages, epochs=1)
    trained.merge().save_pretrained(tmp_path / "merged")
    trained.tokenizer.save_pretrained(tmp_path / "merged")
    again = la.adapt(tmp_path / "merged", "classification")
    assert again.labels == trained.labels
    assert again.evaluate(messages) == trained.evaluate(messages)
    again.fit([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], epochs=1)
    assert again.labels == ["x", "y"]


# ---- losses and steps


def test_accumulated_steps_are_those_of_one_large_batch(classifier):
    records = [{"text": "same words here", "label": label} for label in ("refund", "track_order")] * 2
    states = []
    for args in (
        {"per_device_train_batch_size": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    ):
        adapted = classifier()
        without_dropout(adapted.model)
        history = adapted.fit(records, epochs=1, args={**args, "optim": "sgd", "max_grad_norm": 0.0})
        states.append((history.losses, state_of(adapted)))
    assert states[0][0][-1] == pytest.approx(states[1][0][-1], abs=1e-5)
    for name, tensor in states[0][1].items():
        torch.testing.assert_close(tensor, states[1][1][name])


def test_the_progress_bar_can_be_silenced(classifier, messages, capfd):
    classifier().fit(messages, epochs=1)
    assert "classification, lora" in capfd.readouterr().err
    classifier().fit(messages, epochs=1, args={"disable_tqdm": True})
    assert "classification, lora" not in capfd.readouterr().err


# ---- the model in others' hands


def test_the_model_works_in_a_plain_trainer(classifier, messages, tmp_path):
    adapted = classifier()
    features = adapted.runner.encode(adapted.task.parse(adapted.task.read(messages)), targets=True)
    trainer = Trainer(
        adapted.model,
        TrainingArguments(tmp_path, num_train_epochs=1, report_to="none", use_cpu=True, remove_unused_columns=False),
        train_dataset=features,
        eval_dataset=features[:20],
        data_collator=adapted.runner.collate,
        compute_metrics=lambda prediction: {"hits": float((prediction[0].argmax(-1) == prediction[1]).mean())},
    )
    trainer.train()
    metrics = trainer.evaluate()
    assert {"eval_loss", "eval_hits"} <= metrics.keys()


@pytest.mark.parametrize("task", ["classification", "ner"])
def test_the_model_works_in_a_pipeline(tiny, messages, task):
    from transformers import pipeline

    adapted = la.adapt(tiny("bert"), task, labels=messages)
    run = pipeline(adapted.task.pipeline, model=adapted.model, tokenizer=adapted.tokenizer)
    result = run("My parcel is late")
    if task == "classification":
        expected = adapted.predict(["My parcel is late"], scores=True)[0]
        assert result[0]["score"] == pytest.approx(max(expected.values()), abs=1e-5)
        assert result[0]["label"] in expected
    else:
        (expected,) = adapted.predict(["My parcel is late"])
        assert [entry["entity"] for entry in result if entry["word"] == "my"] in ([], [result[0]["entity"]])
        assert {entry["entity"].split("-")[-1] for entry in result} >= {entity["label"] for entity in expected}


def test_a_run_of_one_step_learns(classifier, messages):
    adapted = classifier()
    before = state_of(adapted)
    adapted.fit(messages[:4], epochs=1, batch_tokens=10**6)
    head = [name for name in before if "classifier" in name]
    assert head
    assert not any(before[name].equal(state_of(adapted)[name]) for name in head)


def test_a_few_steps_of_a_long_epoch(classifier, messages):
    """Less than a hundredth of an epoch is no epoch at all when it is rounded."""
    history = classifier().fit(messages * 20, batch_tokens=1, args={"max_steps": 2})
    assert history.steps == 2
    assert 0 < history.settings["epochs"] < 0.005
    assert len(history.losses) == 2
