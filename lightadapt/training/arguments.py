"""Trainer's arguments: the defaults of lightadapt, overridden by what the user gave."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from lightadapt.errors import LightAdaptError
from lightadapt.machine.hardware import computes_bfloat16
from lightadapt.training.given import COMPILE
from lightadapt.training.moments import moments_of
from lightadapt.training.settings import Settings

WARMUP = 0.06
"""Share of the steps in which the learning rate rises."""


def training_arguments(
    settings: Settings,
    model: PreTrainedModel,
    *,
    trains_base: bool,
    output_dir: str,
    epochs: float,
    steps: int,
    evaluations: int | None,
    learning_rate: float,
    headline: str | None,
    greater_is_better: bool,
    seed: int,
) -> TrainingArguments:
    """Trainer's arguments: the defaults of lightadapt, overridden by the user's.

    Args:
        trains_base: whether weights of the base itself learn, which are float32 then; a GPU computes with them in
            bfloat16.
        steps: of the whole run.
        evaluations: about how many there are in it; None: one an epoch.
        headline: the metric to choose the best weights by; None: there is no validation data.
    """
    keeps = settings.folder is not None
    on_gpu = model.device.type == "cuda"
    defaults: dict[str, Any] = {
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": WARMUP if steps * WARMUP >= 1 else 0,  # a step of warm-up learns nothing
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "logging_strategy": "steps",
        "logging_steps": max(1, steps // 50),
        "logging_nan_inf_filter": False,
        "save_only_model": not keeps and not _takes_model_apart(settings.others),
        "save_total_limit": 2,
        "report_to": "none",
        "seed": seed,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": model.device.type == "cpu",
        "dataloader_pin_memory": on_gpu,
        "bf16": on_gpu and trains_base and computes_bfloat16(model.device),
        **moments_of(
            settings.others,
            headline=headline,
            greater_is_better=greater_is_better,
            keeps=keeps,
            every=max(1, steps // (evaluations or 50)),
            usual="epoch" if evaluations is None or epochs <= evaluations else "steps",
        ),
    }
    others = {name: value for name, value in settings.others.items() if not name.startswith(COMPILE)}
    asked = others.get("accelerator_config") or {}
    if isinstance(asked, Mapping):
        others["accelerator_config"] = {"even_batches": False, **asked}
    arguments = _made({**defaults, "output_dir": output_dir}, others)
    if arguments.n_gpu > 1:
        _keep_on(model.device, arguments)
    return arguments


def _made(defaults: Mapping[str, Any], others: Mapping[str, Any]) -> TrainingArguments:
    """Trainer's arguments.

    Raises:
        LightAdaptError: it takes them not; with the names of those without each of which it would.
    """
    try:
        return TrainingArguments(**{**defaults, **others})
    except Exception as error:  # each value has errors of its own, also for packages and files that it needs
        guilty = [name for name in others if _can_be_made({**defaults, **others}, without=name)]
        names = f" ({', '.join(guilty)})" if guilty else ""
        raise LightAdaptError(f"These training arguments do not fit together{names}: {error}") from error


def _can_be_made(values: Mapping[str, Any], without: str) -> bool:
    try:
        TrainingArguments(**{name: value for name, value in values.items() if name != without})
    except Exception:  # likewise
        return False
    return True


def _keep_on(device: torch.device, arguments: TrainingArguments) -> None:
    """Let a run of one process stay on its GPU: Trainer would begin with the first and share each batch among all."""
    arguments._n_gpu = 1
    vars(arguments)["_setup_devices"] = device  # where `TrainingArguments.device` keeps what it has found
    torch.cuda.set_device(device)


def _takes_model_apart(others: Mapping[str, Any]) -> bool:
    """Whether FSDP or DeepSpeed is on, with which Trainer loads no best weights unless the optimizer is kept, too."""
    flags = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # how accelerate tells its child processes
    asked = any(os.environ.get(flag, "").lower() == "true" for flag in flags)
    return asked or bool(others.get("fsdp") or others.get("deepspeed"))
