"""Arguments of `fit`: what they become, and which are refused before a run."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from learned import state_of
from transformers import TrainingArguments

import lightadapt as la
from lightadapt.adaptation import reader
from lightadapt.training import arguments as arguments_module
from lightadapt.training.arguments import _keep_on, training_arguments
from lightadapt.training.recipe import STANDARD
from lightadapt.training.settings import read_settings

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


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd", "adafactor"])
def test_any_optimizer_of_trainer(classifier, messages, optimizer):
    adapted = classifier()
    before = state_of(adapted)
    adapted.fit(messages, epochs=1, args={"optim": optimizer})
    after = state_of(adapted)
    inserted = {name for name in before if "lora_B" in name}
    assert inserted
    assert not {name for name in inserted if torch.equal(after[name], before[name])}


def test_training_arguments_are_taken_as_dict_or_object(classifier, messages, tmp_path):
    for args in ({"max_steps": 2, "seed": 7}, TrainingArguments(str(tmp_path / "run"), max_steps=2, seed=7)):
        adapted = classifier()
        history = adapted.fit(messages, args=args)
        assert history.steps == 2
        assert history.settings["seed"] == 7
    assert (tmp_path / "run").is_dir()


def test_epochs_are_taken_as_given(classifier, messages):
    assert classifier().fit(messages, epochs=0.253).settings["epochs"] == 0.253


def test_small_data_is_seen_more_often():
    settings = read_settings(None, **DEFAULTS)
    assert [settings.passes(STANDARD, steps) for steps in (1, 100, 10_000)] == [20, 10, 3]


def test_a_refused_fit_settles_no_labels(tiny):
    adapted = la.adapt(tiny("bert"), "classification")
    two = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    with pytest.raises(la.DataError, match="label 'z' is not among the labels"):
        adapted.fit(two, validation=[{"text": "c", "label": "z"}])
    assert adapted.labels is None
    adapted.fit([*two, {"text": "c", "label": "z"}], epochs=1)
    assert adapted.labels == ["x", "y", "z"]


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
        evaluations=None,
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
    metrics, training = dict(fresh.runner.last_run.metrics), dict(fresh.runner.last_run.settings)
    scores = fresh.predict(["a text"], scores=True)
    for options in (refused, {"args": {"lr_scheduler_type": "nope"}}, {"args": {"save_strategy": "no"}}):
        with pytest.raises(la.LightAdaptError):
            fresh.fit(messages, validation=messages, **options)
    with pytest.raises(la.DataError):
        fresh.fit([{"text": "", "label": "new"}])
    assert (fresh.runner.last_run.metrics, fresh.runner.last_run.settings) == (metrics, training)
    assert fresh.predict(["a text"], scores=True) == scores


def test_numbers_of_numpy_are_saved_as_plain_ones(classifier, messages, tmp_path):
    adapted = classifier()
    adapted.fit(messages, epochs=1, learning_rate=np.float32(1e-3), batch_tokens=np.int64(100))
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").runner.last_run.settings["batch_tokens"] == 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (TrainingArguments(dataloader_drop_last=True), "'dataloader_drop_last', which does nothing here"),
        ({"resume_from_checkpoint": "x"}, r"write fit\(…, output_dir=…, resume=True\)"),
        ({"neftune_noise_alpha": 5.0}, "base_dropout=True only"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps=0: give a whole number of at least 1"),
        ({"max_steps": 2.5}, "max_steps=2.5"),
        ({"per_device_train_batch_size": "8"}, "per_device_train_batch_size='8'"),
        ({"report_to": "nologger"}, "Trainer does not accept these arguments: nologger"),
    ],
)
def test_arguments_that_cannot_be_are_refused(classifier, messages, args, message):
    with pytest.raises(la.LightAdaptError, match=message):
        classifier().fit(messages, args=args)


def test_end_tokens_are_compared_over_all_records(tiny, monkeypatch):
    """One odd record far behind, which an encoder-decoder could not read in a batch with the others."""
    monkeypatch.setattr(reader, "PIECE", 3)
    records = [{"text": f"o {n}", "label": "ab"[n % 2]} for n in range(6)]
    records.append({"text": "o", "text_pair": "p", "label": "a"})
    with pytest.raises(la.DataError, match=r"Record 6: it holds \d end tokens .* record 0 \d"):
        la.adapt(tiny("bart"), "classification").fit(records)
