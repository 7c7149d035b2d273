"""Wrong and odd arguments of `fit`: refused before the first step, by name, or they work."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.training import offers


class Nothing(TrainerCallback):
    """Does nothing."""


NAN = float("nan")
CHECKED = {"validation": True}
ODD = [
    # metrics
    (CHECKED, {"metric_for_best_model": "acuracy"}, "Did you mean 'accuracy'"),
    (CHECKED, {"metric_for_best_model": "eval_loss"}, "metric_for_best_model='eval_loss' is not among"),
    (CHECKED, {"metric_for_best_model": 3}, "metric_for_best_model"),
    (CHECKED, {"metric_for_best_model": "accuracy", "greater_is_better": "yes"}, "greater_is_better='yes'"),
    # optimizers and schedules
    ({}, {"optim": "nope"}, "(optim): nope is not a valid"),
    ({"optimizer": 5}, {}, "optimizer=5 is unknown"),
    ({"optimizer": "adamw"}, {"optim": "sgd"}, "optim is given twice"),
    ({}, {"optim_args": "nonsense"}, "optim_args='nonsense'"),
    ({}, {"optim": "galore_adamw"}, "galore_adamw"),
    ({}, {"lr_scheduler_type": "nope"}, "(lr_scheduler_type): nope is not a valid"),
    ({}, {"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_kwargs"),
    ({}, {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": "a"}, "lr_scheduler_kwargs=a"),
    ({}, {"lr_scheduler_type": "reduce_lr_on_plateau"}, "lr_scheduler_type"),
    # loggers
    ({}, {"report_to": ["nope"]}, "report_to='nope'"),
    ({}, {"report_to": 3}, "report_to=3"),
    # moments
    (CHECKED, {"eval_strategy": "steps", "save_strategy": "no"}, "save_strategy='no'"),
    (CHECKED, {"eval_strategy": "sometimes"}, "sometimes is not a valid"),
    (CHECKED, {"save_strategy": "sometimes"}, "save_strategy='sometimes'"),
    (CHECKED, {"eval_strategy": "no", "load_best_model_at_end": True}, "load_best_model_at_end"),
    (CHECKED, {"load_best_model_at_end": "yes"}, "load_best_model_at_end='yes'"),
    (CHECKED, {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 3}, "save_steps"),
    (CHECKED, {"eval_strategy": "steps", "eval_steps": -3}, "eval_steps=-3"),
    (CHECKED, {"eval_delay": "a"}, "eval_delay='a'"),
    ({}, {"eval_strategy": "steps"}, "eval_strategy='steps', which needs validation data"),
    ({}, {"load_best_model_at_end": True}, "load_best_model_at_end=True, which needs validation data"),
    ({}, {"eval_on_start": True}, "eval_on_start=True, which needs validation data"),
    ({}, {"save_strategy": "best"}, "save_strategy='best', which needs validation data"),
    ({}, {"save_strategy": "steps", "save_steps": 0}, "save_steps=0"),
    ({}, {"save_strategy": "steps", "save_steps": 2.5}, "save_steps"),
    ({}, {"save_total_limit": "2"}, "save_total_limit='2'"),
    ({}, {"logging_steps": -1}, "logging_steps=-1"),
    ({}, {"logging_strategy": "now"}, "(logging_strategy)"),
    ({}, {"max_steps": 0}, "max_steps=0"),
    ({}, {"max_steps": True}, "max_steps=True"),
    # numbers
    ({"learning_rate": NAN}, {}, "learning_rate=nan"),
    ({"learning_rate": True}, {}, "learning_rate=True"),
    ({}, {"learning_rate": "1e-3"}, "learning_rate='1e-3'"),
    ({}, {"num_train_epochs": -1}, "epochs=-1"),
    ({}, {"weight_decay": NAN}, "weight_decay=nan"),
    ({}, {"max_grad_norm": -1}, "max_grad_norm=-1"),
    ({}, {"max_grad_norm": None}, "max_grad_norm=None"),
    ({}, {"adam_beta1": 2.0}, "adam_beta1=2.0: give a number of at least 0 and below 1"),
    ({}, {"adam_epsilon": -1.0}, "adam_epsilon=-1.0"),
    ({}, {"warmup_steps": "10%"}, "warmup_steps='10%'"),
    ({}, {"seed": 1.5}, "seed=1.5: give a whole number"),
    ({}, {"data_seed": "x"}, "data_seed='x'"),
    ({"batch_tokens": 10.5}, {}, "batch_tokens=10.5: give a whole number"),
    ({**CHECKED, "early_stopping": 1.5}, {}, "early_stopping=1.5"),
    ({"base_dropout": True}, {"neftune_noise_alpha": -5.0}, "neftune_noise_alpha=-5.0"),
    # callbacks
    ({"callbacks": [5]}, {}, "callbacks holds 5"),
    ({"callbacks": "early"}, {}, "callbacks holds 'early'"),
    ({"callbacks": [print]}, {}, "callbacks holds <built-in function print>"),
    ({"callbacks": {"a": Nothing()}}, {}, "callbacks holds {'a'"),
    # loading of data
    ({}, {"dataloader_num_workers": -1}, "dataloader_num_workers=-1"),
    ({}, {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 0}, "dataloader_prefetch_factor=0"),
    ({}, {"dataloader_prefetch_factor": 2}, "(dataloader_prefetch_factor)"),
    ({}, {"dataloader_pin_memory": "yes"}, "dataloader_pin_memory='yes'"),
    # several processes
    ({}, {"fsdp": "full_shard"}, "fsdp"),
    ({}, {"accelerator_config": {"split_batches": True}}, "accelerator_config with split_batches"),
    ({}, {"accelerator_config": "nofile.json"}, "(accelerator_config)"),
    # the rest
    ({}, {"fp16": True, "bf16": True}, "(fp16, bf16)"),
    ({}, {"torch_compile_mode": "nope"}, "torch_compile_mode='nope'"),
    (
        {},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"nope": 1}},
        "checkpointing_kwargs={'nope'",
    ),
    ({}, {"hub_strategy": "x"}, "(hub_strategy)"),
    ({"output_dir": 5}, {}, "output_dir=5"),
    ({"resume": "yes"}, {}, "resume='yes'"),
    ({"cache": "fp32"}, {}, "cache='fp32'"),
]


@pytest.fixture(scope="module")
def untouched(tiny, messages):
    """One classifier for all that is refused, which changes nothing."""
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    yield adapted
    assert adapted.history is None


@pytest.mark.parametrize(("options", "args", "message"), ODD, ids=[f"{each[2][:50]}" for each in ODD])
def test_what_cannot_be_is_refused_before_the_first_step(untouched, messages, options, args, message):
    if options.get("validation"):
        options = {**options, "validation": messages[:4]}
    with pytest.raises(la.LightAdaptError) as caught:
        untouched.fit(messages[:8], args=args, **options)
    assert message in str(caught.value)
    assert untouched.model.training is False
    assert untouched.history is None


@pytest.mark.parametrize("package", ["deepspeed", "liger"])
def test_packages_that_are_not_there_are_named(untouched, messages, monkeypatch, package):
    args = {"deepspeed": {"deepspeed": {"zero_optimization": {"stage": 2}}}, "liger": {"use_liger_kernel": True}}
    monkeypatch.setattr(offers, "is_liger_kernel_available", lambda: False)
    if package == "deepspeed" and find_spec("deepspeed"):
        pytest.skip("it is there")
    with pytest.raises(la.LightAdaptError, match=package):
        untouched.fit(messages[:8], args=args[package])


WORKING = {
    "a class of callbacks": {"callbacks": [Nothing]},
    "one callback": {"callbacks": Nothing()},
    "a tuple of callbacks": {"callbacks": (Nothing(),)},
    "no callbacks": {"callbacks": None},
    "a metric without eval_": {**CHECKED, "args": {"metric_for_best_model": "macro_f1"}},
    "a metric with eval_": {**CHECKED, "args": {"metric_for_best_model": "eval_macro_f1"}},
    "evaluations by steps, without saving": {
        **CHECKED,
        "args": {"eval_strategy": "steps", "save_strategy": "no", "load_best_model_at_end": False},
    },
    "the best alone is saved": {**CHECKED, "args": {"save_strategy": "best"}},
    "a plateau": {**CHECKED, "args": {"lr_scheduler_type": "reduce_lr_on_plateau"}},
    "steps and epochs": {"args": {"max_steps": 2}},
    "no steps": {"args": {"max_steps": -1}},
    "no clipping": {"args": {"max_grad_norm": 0}},
    "more accumulation than batches": {"args": {"gradient_accumulation_steps": 1000}},
    "an evaluation that comes too late": {**CHECKED, "args": {"eval_delay": 100}},
    "whole tokens as a float": {"batch_tokens": 1e4},
    "options of accelerate": {"args": {"accelerator_config": {"non_blocking": True}}},
}


@pytest.mark.parametrize("what", WORKING)
def test_what_looks_odd_and_works(classifier, messages, what):
    options = {**WORKING[what], "epochs": 2}
    if options.get("validation"):
        options["validation"] = messages[:4]
    assert classifier().fit(messages[:12], **options).steps == 2
