"""The training arguments: good defaults, what `fit` was told, and anything else that transformers' Trainer knows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainingArguments

from lightadapt.errors import LightAdaptError, nearest

RECORDS_PER_STEP = 16
"""Records in a batch of the default token budget."""
STEPS_WANTED = 1000
"""Steps that the default number of epochs aims at: small data sets are seen more often."""
EPOCHS_MOST = 20
EPOCHS_LEAST = 3


def default_epochs(steps_per_epoch: int) -> int:
    """As many epochs as make about 1,000 steps, at least 3 and at most 20."""
    return min(EPOCHS_MOST, max(EPOCHS_LEAST, math.ceil(STEPS_WANTED / steps_per_epoch)))


def user_arguments(args: Mapping[str, Any] | TrainingArguments | None) -> dict[str, Any]:
    """What the user set of Trainer's arguments: a dict as it is, of an object all that differs from its defaults."""
    if args is None:
        return {}
    names = {entry.name for entry in dataclasses.fields(TrainingArguments) if entry.init}
    if isinstance(args, TrainingArguments):
        plain = TrainingArguments(output_dir=args.output_dir)  # defaults after their own derivations
        given = {name: getattr(args, name) for name in names if getattr(args, name) != getattr(plain, name)}
        return given if args.output_dir == "trainer_output" else {**given, "output_dir": args.output_dir}
    if not isinstance(args, Mapping):
        raise LightAdaptError(f"args is a {type(args).__name__}. Give a dict or transformers.TrainingArguments.")
    for name in args:
        if name not in names:
            raise LightAdaptError(f"args holds {name!r}, which TrainingArguments does not know. {nearest(name, names)}")
    return dict(args)


def training_arguments(
    given: Mapping[str, Any],
    *,
    output_dir: str,
    epochs: float,
    learning_rate: float,
    validates: bool,
    keeps_checkpoints: bool,
    headline: str,
    device: torch.device,
    mixed_precision: bool,
    seed: int,
) -> TrainingArguments:
    """Trainer's arguments: the defaults of lightadapt, overridden by `given`.

    Args:
        validates: evaluate every epoch and keep the weights of the best.
        keeps_checkpoints: save every epoch so that the run can be resumed.
        mixed_precision: compute float32 weights in bfloat16 where that loses nothing.
    """
    if given.get("warmup_ratio") is not None:
        raise LightAdaptError("args: transformers 5 writes a warm-up ratio as warmup_steps below 1, such as 0.06.")
    saves = validates or keeps_checkpoints
    defaults: dict[str, Any] = {
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.06,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "logging_strategy": "steps",
        "logging_steps": 0.02,
        "logging_nan_inf_filter": False,
        "eval_strategy": "epoch" if validates else "no",
        "save_strategy": "epoch" if saves else "no",
        "save_only_model": not keeps_checkpoints,
        "save_total_limit": 2,
        "load_best_model_at_end": validates,
        "metric_for_best_model": f"eval_{headline}" if validates else None,
        "greater_is_better": True if validates else None,
        "report_to": "none",
        "seed": seed,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": device.type == "cpu",
        "dataloader_pin_memory": device.type == "cuda",
        "bf16": mixed_precision,
        "accelerator_config": {"even_batches": False},
    }
    try:
        return TrainingArguments(**{**defaults, **given, "output_dir": output_dir})
    except (TypeError, ValueError) as error:
        raise LightAdaptError(f"These training arguments do not fit together: {error}") from error
