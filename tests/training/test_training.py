"""Runs: batches, rates, best weights, early stopping, checkpoints, resume, and what is refused before a run."""

from __future__ import annotations

import shutil
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import lightadapt as la
from lightadapt.adaptation import adaptation
from lightadapt.adaptation.prediction import sorted_batches
from lightadapt.training import arguments as arguments_module
from lightadapt.training.arguments import _keep_on, read_settings, training_arguments
from lightadapt.training.batching import TokenBudgetBatches
from lightadapt.training.trainer import last_checkpoint

DEFAULTS = {
    "epochs": None,
    "learning_rate": None,
    "batch_tokens": None,
    "early_stopping": None,
    "resume": False,
    "output_dir": None,
    "optimizer": None,
    "cache": False,
    "base_dropout": False,
    "validates": False,
}
LENGTHS = [5 + (7 * number) % 60 for number in range(500)]


@pytest.fixture
def classifier(tiny, messages):
    """A fresh tiny classifier."""

    def make(**options):
        return la.adapt(tiny("bert"), "classification", **{"labels": messages, **options})

    return make


class Watch(TrainerCallback):
    """Keeps what a run shows to its callbacks."""

    def __init__(self):
        self.rates, self.steps, self.optimizer = [], 0, None

    def on_train_begin(self, args, state, control, optimizer=None, **kwargs):
        self.optimizer = optimizer

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1


class StopAt(TrainerCallback):
    """Ends a run as a crash would, after some steps."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def state_of(adapted):
    return {name: p.detach().clone() for name, p in adapted.model.named_parameters() if p.requires_grad}


# ---- batches


def test_batches_hold_every_record_once_and_little_padding():
    batches = list(TokenBudgetBatches(LENGTHS, batch_tokens=256, seed=0))
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    tokens = [sum(LENGTHS[index] for index in batch) for batch in batches]
    padded = [len(batch) * max(LENGTHS[index] for index in batch) for batch in batches]
    assert 1 - sum(tokens) / sum(padded) < 0.08
    assert max(tokens) < 1.5 * 256


def test_batches_depend_on_seed_and_epoch_alone_and_keep_their_number():
    batches, again = (TokenBudgetBatches(LENGTHS, batch_tokens=256, seed=3) for _ in range(2))
    first = list(batches)
    assert first == list(again)
    for epoch in (1, 2, 3):
        batches.set_epoch(epoch)
        order = list(batches)
        assert order != first
        assert len(order) == len(batches) == len(first)


@pytest.mark.parametrize("lengths", [[1], [500, 1, 1], [9] * 7, [1000, 1, 1, 1000, 1]])
def test_no_batch_is_empty(lengths):
    batches = TokenBudgetBatches(lengths, batch_tokens=4, seed=0)
    assert all(batches)
    assert len(list(batches)) == len(batches)


def test_inference_batches_keep_the_budget():
    batches = list(sorted_batches(LENGTHS, 256))
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    assert all(len(batch) * max(LENGTHS[index] for index in batch) <= 256 for batch in batches)


# ---- runs


def test_a_run_is_the_same_again_with_the_same_seed(classifier, messages):
    runs = []
    for _ in range(2):
        adapted = classifier(seed=5)
        torch.manual_seed(torch.randint(0, 1000, ()).item())  # what happened before must not matter
        history = adapted.fit(messages, epochs=2)
        runs.append((state_of(adapted), history.losses))
    assert runs[0][1] == runs[1][1]
    assert all(torch.equal(runs[0][0][name], runs[1][0][name]) for name in runs[0][0])


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
    kept = state_of(adapted)
    assert all(torch.equal(kept[name], states[1][name]) for name in kept)
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
    assert {group["lr"] for group in groups} == {la.Full.learning_rate, la.Full.head_learning_rate}
    in_head = [p.numel() for group in groups if group["lr"] == la.Full.head_learning_rate for p in group["params"]]
    assert sum(in_head) == 32 * 10 + 10
    watch = Watch()
    classifier(method="full").fit(messages, epochs=1, learning_rate=1e-5, callbacks=[watch])
    assert sorted({group["initial_lr"] for group in watch.optimizer.param_groups}) == pytest.approx([1e-5, 5e-4])


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd", "adafactor"])
def test_any_optimizer_of_trainer(classifier, messages, optimizer):
    adapted = classifier()
    before = state_of(adapted)
    adapted.fit(messages, epochs=1, args={"optim": optimizer})
    assert all(not torch.equal(tensor, before[name]) for name, tensor in state_of(adapted).items() if "lora_B" in name)


def test_training_arguments_are_taken_as_dict_or_object(classifier, messages, tmp_path):
    for args in ({"max_steps": 2, "seed": 7}, TrainingArguments(str(tmp_path / "run"), max_steps=2, seed=7)):
        adapted = classifier()
        history = adapted.fit(messages, args=args)
        assert history.steps == 2
        assert history.settings["seed"] == 7
    assert (tmp_path / "run").is_dir()


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


def test_epochs_are_taken_as_given(classifier, messages):
    assert classifier().fit(messages, epochs=0.253).settings["epochs"] == 0.253


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
    assert adapted._now.manifest()["metrics"] == {}


def test_small_data_is_seen_more_often():
    settings = read_settings(None, **DEFAULTS)
    assert [settings.passes(steps) for steps in (1, 100, 10_000)] == [20, 10, 3]


# ---- checkpoints


def test_checkpoints_are_artifacts_and_a_run_is_resumed_exactly(classifier, messages, tmp_path):
    options = {"epochs": 3, "args": {"save_strategy": "steps", "save_steps": 2}}
    whole = classifier()
    whole.fit(messages, output_dir=tmp_path / "whole", **options)
    broken = classifier()
    with pytest.raises(KeyboardInterrupt):
        broken.fit(messages, output_dir=tmp_path / "broken", callbacks=[StopAt(7)], **options)
    assert last_checkpoint(tmp_path / "broken").name == "checkpoint-6"  # in the middle of the second epoch
    assert la.load(tmp_path / "broken" / "checkpoint-6").labels == whole.labels

    resumed = classifier()
    history = resumed.fit(messages, output_dir=tmp_path / "broken", resume=True, **options)
    assert history.steps == 12
    ours, theirs = state_of(resumed), state_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_cut_short_by_a_crash_is_passed_over(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=2)
    assert last_checkpoint(tmp_path).name == "checkpoint-8"
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text('{"epoch": ')
    assert last_checkpoint(tmp_path).name == "checkpoint-4"
    assert classifier().fit(messages, output_dir=tmp_path, epochs=2, resume=True).steps == 8


def test_resume_without_a_checkpoint_starts_afresh(classifier, messages, tmp_path):
    assert classifier().fit(messages, output_dir=tmp_path / "new", epochs=1, resume=True).steps == 4


@pytest.mark.parametrize(
    ("options", "count", "what"),
    [
        ({"method": la.LoRA(alpha=64)}, 60, "method"),
        ({"seed": 5}, 60, "seed"),
        ({"layers": "last:3"}, 60, "layers"),
        ({}, 40, "number of records"),
    ],
)
def test_resume_of_another_run_is_refused(classifier, messages, tmp_path, options, count, what):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    with pytest.raises(la.ArtifactError, match=f"is of another run: its {what} was"):
        classifier(**options).fit(messages[:count], output_dir=tmp_path, epochs=2, resume=True)


def test_a_refused_fit_settles_no_labels(tiny):
    adapted = la.adapt(tiny("bert"), "classification")
    two = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    with pytest.raises(la.DataError, match="label 'z' is not among the labels"):
        adapted.fit(two, validation=[{"text": "c", "label": "z"}])
    assert adapted.labels is None
    adapted.fit([*two, {"text": "c", "label": "z"}], epochs=1)
    assert adapted.labels == ["x", "y", "z"]


def test_resume_with_other_labels_is_refused(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    other = [{**record, "label": f"{record['label']}!"} for record in messages]
    with pytest.raises(la.ArtifactError, match="is of another run: its labels was"):
        classifier(labels=None).fit(other, output_dir=tmp_path, epochs=2, resume=True)


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


# ---- refused before a run


REFUSED = [
    ({"epochs": 0}, "epochs=0: give a number above 0"),
    ({"epochs": float("inf")}, "epochs=inf: give a number above 0"),
    ({"columns": ["text"]}, "columns=['text']: write {field: column}"),
    ({"learning_rate": -1}, "learning_rate=-1: give a number above 0"),
    ({"batch_tokens": 0}, "batch_tokens=0"),
    ({"early_stopping": 2}, "early_stopping needs validation data"),
    ({"resume": True}, "resume=True needs output_dir"),
    ({"args": {"learning_rat": 1}}, "Did you mean 'learning_rate'?"),
    ({"args": 5}, "args is a int"),
    ({"epochs": 2, "args": {"num_train_epochs": 3}}, "num_train_epochs is given twice: 2 to fit and 3 in args"),
    ({"args": {"dataloader_drop_last": True}}, "'dataloader_drop_last', which does nothing here: every record is"),
    ({"base_dropout": "no"}, "base_dropout='no': write True or False"),
    ({"args": {"warmup_ratio": 0.1}}, "warmup_steps below 1"),
    ({"args": {"eval_strategy": "steps", "save_strategy": "epoch"}, "validation": True}, "do not fit together"),
    (
        {"validation": [{"text": "a", "label": "unseen"}]},
        "Record 0 (validation data): label 'unseen' is not among the labels",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_settings_that_cannot_be_are_refused(classifier, messages, options, message):
    if options.get("validation") is True:
        options = {**options, "validation": messages}
    with pytest.raises(la.LightAdaptError) as caught:
        classifier(labels=None).fit(messages, **options)
    assert message in str(caught.value)


def test_another_runs_checkpoints_are_not_overwritten(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    with pytest.raises(la.LightAdaptError, match=r"holds checkpoints of an earlier run \(checkpoint-4\)"):
        classifier().fit(messages, output_dir=tmp_path, epochs=1)


def test_a_loss_that_is_no_number_ends_the_run(classifier, messages):
    adapted = classifier()
    adapted.model.classifier.register_forward_hook(lambda module, args, output: output * float("nan"))
    with pytest.raises(la.LightAdaptError, match=r"The training loss is nan at step \d+ \(learning rate 0\.001\)"):
        adapted.fit(messages, epochs=2)
    with pytest.raises(la.LightAdaptError, match="The trained weights are not finite"):
        adapted.fit(messages, epochs=1)


def test_accumulated_steps_are_those_of_one_large_batch(classifier):
    records = [{"text": "same words here", "label": label} for label in ("refund", "track_order")] * 2
    states = []
    for args in (
        {"per_device_train_batch_size": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    ):
        adapted = classifier()
        for module in adapted.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
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
    features = adapted._now.encode(adapted.task.parse(adapted.task.read(messages)), targets=True)
    trainer = Trainer(
        adapted.model,
        TrainingArguments(tmp_path, num_train_epochs=1, report_to="none", use_cpu=True, remove_unused_columns=False),
        train_dataset=features,
        eval_dataset=features[:20],
        data_collator=adapted._now.collate,
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


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"optimizer": "adamw8bit"}, "its optimizer was adamw_torch_fused, now adamw_bnb_8bit"),
        ({"batch_tokens": 7}, r"its batch_tokens was \d+, now 7"),
        ({"args": {"gradient_accumulation_steps": 2}}, "its number of batches a step was None, now 2"),
    ],
)
def test_resume_with_other_steps_is_refused(classifier, messages, tmp_path, options, what):
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path)
    with pytest.raises(la.LightAdaptError, match=what):
        classifier().fit(messages[:8], epochs=2, output_dir=tmp_path, resume=True, **options)


def test_a_few_steps_of_a_long_epoch(classifier, messages):
    """Less than a hundredth of an epoch is no epoch at all when it is rounded."""
    history = classifier().fit(messages * 20, batch_tokens=1, args={"max_steps": 2})
    assert history.steps == 2
    assert 0 < history.settings["epochs"] < 0.005
    assert len(history.losses) == 2


def test_what_a_task_with_a_loss_of_its_own_takes_no_notice_of(tiny):
    adapted = la.adapt(tiny("gpt2"), "generation")
    with pytest.raises(la.LightAdaptError, match="'label_smoothing_factor', which does nothing here"):
        adapted.fit([{"prompt": "a", "completion": "b"}], args={"label_smoothing_factor": 0.1})
    assert adapted.history is None


def test_one_process_stays_on_its_gpu(monkeypatch, tmp_path):
    """Trainer would begin with the first GPU and share each batch among all."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    _keep_on(torch.device("cuda:1"), arguments)
    assert (arguments.n_gpu, arguments.device, chosen) == (1, torch.device("cuda:1"), [torch.device("cuda:1")])


@pytest.mark.parametrize("trains_base", [True, False])
def test_a_gpu_computes_in_mixed_precision_only_where_the_base_learns(tiny, monkeypatch, tmp_path, trains_base):
    """A base that was asked for in float32 and is frozen computes in float32."""
    given = {}
    monkeypatch.setattr(arguments_module, "computes_bfloat16", lambda device: True)
    monkeypatch.setattr(arguments_module, "TrainingArguments", lambda **options: given.update(options) or Mock(n_gpu=1))
    model = Mock(device=torch.device("cuda"), dtype=torch.float32)
    settings = read_settings(None, **DEFAULTS)
    training_arguments(
        settings,
        model,
        trains_base=trains_base,
        output_dir=str(tmp_path),
        epochs=1,
        steps=10,
        learning_rate=1e-3,
        headline=None,
        greater_is_better=True,
        seed=0,
    )
    assert given["bf16"] is trains_base


def test_an_optimizer_that_is_not_installed_is_said_to_be_missing(classifier, messages):
    with pytest.raises(la.LightAdaptError, match="The optimizer galore_adamw cannot be used here: You need to install"):
        classifier().fit(messages[:4], epochs=1, args={"optim": "galore_adamw", "optim_target_modules": "all-linear"})


def test_a_refused_fit_changes_nothing(tiny, messages):
    """Neither a model whose labels are not known, nor one that has learned."""
    refused = {"args": {"torch_compile_backend": "nope"}}
    fresh = la.adapt(tiny("bert"), "classification")
    with pytest.raises(la.LightAdaptError, match="torch_compile_backend='nope'"):
        fresh.fit(messages, **refused)
    assert fresh.labels is None
    fresh.fit([*messages, {"text": "another", "label": "new"}], validation=messages, epochs=1)
    assert "new" in fresh.labels
    metrics, training = dict(fresh._now.metrics), dict(fresh._now.training)
    scores = fresh.predict(["a text"], scores=True)
    for options in (refused, {"args": {"lr_scheduler_type": "nope"}}, {"args": {"save_strategy": "no"}}):
        with pytest.raises(la.LightAdaptError):
            fresh.fit(messages, validation=messages, **options)
    with pytest.raises(la.DataError):
        fresh.fit([{"text": "", "label": "new"}])
    assert (fresh._now.metrics, fresh._now.training) == (metrics, training)
    assert fresh.predict(["a text"], scores=True) == scores


def test_early_stopping_goes_on_counting_when_a_run_is_resumed(classifier, messages, tmp_path, monkeypatch):
    """Where nothing gets better, an interrupted run ends where one without interruption does."""
    monkeypatch.setattr(la.Classification, "score", lambda *_: ({"accuracy": 0.5}, {}))
    options = {"validation": messages, "epochs": 8, "early_stopping": 3}
    whole = classifier().fit(messages, output_dir=tmp_path / "whole", **options)
    assert whole.steps == 16  # the first evaluation is the best, and three more are waited for
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, output_dir=tmp_path / "broken", callbacks=[StopAt(10)], **options)
    resumed = classifier().fit(messages, output_dir=tmp_path / "broken", resume=True, **options)
    assert resumed.steps == whole.steps


def test_the_best_weights_are_found_after_the_folder_was_moved(classifier, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(la.Classification, "score", lambda *_: ({"accuracy": 0.5}, {}))
    options = {"validation": messages, "epochs": 4}
    before = classifier()
    before.fit(messages, output_dir=tmp_path / "before", **options)
    (tmp_path / "before").rename(tmp_path / "after")
    after = classifier()
    history = after.fit(messages, output_dir=tmp_path / "after", resume=True, **options)
    assert history.best["step"] == 4
    assert all(torch.equal(value, state_of(before)[name]) for name, value in state_of(after).items())
    for folder in (tmp_path / "after").glob("checkpoint-4"):
        shutil.rmtree(folder)
    with pytest.raises(la.LightAdaptError, match=r"checkpoint-4, the best checkpoint .* is not there"):
        classifier().fit(messages, output_dir=tmp_path / "after", resume=True, **options)


def test_numbers_of_numpy_are_saved_as_plain_ones(classifier, messages, tmp_path):
    adapted = classifier()
    adapted.fit(messages, epochs=1, learning_rate=np.float32(1e-3), batch_tokens=np.int64(100))
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved")._now.training["batch_tokens"] == 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (TrainingArguments(dataloader_drop_last=True), "'dataloader_drop_last', which does nothing here"),
        ({"resume_from_checkpoint": "x"}, r"write fit\(…, output_dir=…, resume=True\)"),
        ({"neftune_noise_alpha": 5.0}, "base_dropout=True only"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps=0: give a whole number of at least 1"),
        ({"max_steps": 2.5}, "max_steps=2.5"),
        ({"per_device_train_batch_size": "8"}, "per_device_train_batch_size='8'"),
        ({"report_to": "nologger"}, "Trainer does not take these arguments: nologger"),
    ],
)
def test_arguments_that_cannot_be_are_refused(classifier, messages, args, message):
    with pytest.raises(la.LightAdaptError, match=message):
        classifier().fit(messages, args=args)


def test_end_tokens_are_compared_over_all_records(tiny, monkeypatch):
    """One odd record far behind, which an encoder-decoder could not read in a batch with the others."""
    monkeypatch.setattr(adaptation, "PIECE", 3)
    records = [{"text": f"o {n}", "label": "ab"[n % 2]} for n in range(6)]
    records.append({"text": "o", "text_pair": "p", "label": "a"})
    with pytest.raises(la.DataError, match=r"Record 6: it holds \d end tokens .* record 0 \d"):
        la.adapt(tiny("bart"), "classification").fit(records)


@pytest.mark.parametrize(
    ("before", "now", "what"),
    [
        ({"args": {"seed": 5}}, {}, "its order was 5, now 0"),
        ({"learning_rate": 1e-3}, {"learning_rate": 5e-3}, "its learning rate was 0.001, now 0.005"),
    ],
)
def test_resume_with_other_settings_is_refused(classifier, messages, tmp_path, before, now, what):
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path, **before)
    with pytest.raises(la.LightAdaptError, match=what):
        classifier().fit(messages[:8], epochs=2, output_dir=tmp_path, resume=True, **now)


def test_resume_with_other_data_or_options_of_the_task_is_refused(tiny, messages, tmp_path):
    def fit(records, **options):
        task = la.Classification(labels=["a", "b"], **options)
        return la.adapt(tiny("bert"), task).fit(records, epochs=2, output_dir=tmp_path, resume=True)

    records = [{"text": "a text", "label": "ab"[n % 2]} for n in range(8)]
    fit(records)
    with pytest.raises(la.LightAdaptError, match="its number of tokens was"):
        fit([*records[:7], {"text": "a longer text than before", "label": "a"}])
    with pytest.raises(la.LightAdaptError, match="its classification option class_weights was None, now"):
        fit(records, class_weights={"a": 5.0, "b": 1.0})
