"""The settings of a run: good defaults, what `fit` was told, and anything else that transformers' Trainer knows."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments
from transformers.training_args import OptimizerNames

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.machine.hardware import computes_bfloat16, require_bitsandbytes
from lightadapt.numbers import wrong_number
from lightadapt.training import recomputing
from lightadapt.training.checkpoints import check_writable, find_last, newest_first
from lightadapt.training.moments import moments_of

RECORDS_PER_STEP = 16
"""Records in a batch of the default token budget."""
STEPS_WANTED = 1000
"""Steps that the default number of epochs aims at: small data sets are seen more often."""
OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw8bit": "adamw_bnb_8bit", "paged_adamw8bit": "paged_adamw_8bit"}
"""What Trainer calls them. State of 8 bits is that of bitsandbytes (Dettmers et al., 2022, "8-bit Optimizers")."""
CACHES = ("auto", "bf16")
"""What `cache` may be beside True and False."""
WARMUP = 0.06
"""Share of the steps in which the learning rate rises."""
SAVE_MINUTES = 10.0
"""Minutes of training that a kill costs at most, where checkpoints are kept."""
REFUSED = {
    "dataloader_drop_last": "every record is learned in every epoch. Leave it out.",
    "dataloader_persistent_workers": "with workers that stay, a resumed run would be another one. Leave it out.",
    "auto_find_batch_size": "give batch_tokens=…",
    "per_device_eval_batch_size": "batches of an evaluation are formed by tokens. Leave it out.",
    "eval_accumulation_steps": "an evaluation is that of the task. Leave it out.",
    "prediction_loss_only": "an evaluation is that of the task. Leave it out.",
    "label_names": "the task names them. Leave it out.",
    "resume_from_checkpoint": "write fit(…, output_dir=…, resume=True).",
    "label_smoothing_factor": "it is an option of tasks: Classification(label_smoothing=…), MultiLabel(…).",
    "length_column_name": "batches hold sequences of like length anyway. Leave it out.",
    "train_sampling_strategy": "batches hold sequences of like length anyway. Leave it out.",
}
"""Arguments of Trainer that lightadapt's own batches, losses and evaluations take no notice of, and what to do."""
WHOLE = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 1, "max_steps": -1}
"""Arguments that are whole numbers, and the least that they can be."""
COMPILE = "torch_compile"
"""How the names of Trainer's options of `torch.compile` begin; they act on the blocks alone, see `compiling`."""
EPOCHS_MOST = 20
EPOCHS_LEAST = 3


@dataclass(frozen=True)
class Settings:
    """What the user asked of a run; None and absent stand for the defaults."""

    epochs: float | None
    learning_rate: float | None
    batch_tokens: int | None
    early_stopping: int | None
    cache: bool | str
    """Whether hidden states are kept over the epochs: `"auto"`, True, False or `"bf16"`."""
    folder: Path | None
    """Where checkpoints are kept."""
    checkpoint: Path | None
    """The checkpoint to go on from."""
    save_minutes: float | None
    """Minutes after which a checkpoint is saved in the middle of an epoch; None: never."""
    base_dropout: bool
    """Whether dropout stays on in the frozen part of the model."""
    others: dict[str, Any]
    """Further arguments of Trainer."""

    @property
    def optimizer(self) -> str:
        """What Trainer calls the optimizer."""
        given = self.others.get("optim", OPTIMIZERS["adamw"])
        return given.value if isinstance(given, OptimizerNames) else str(given)

    @property
    def compiles(self) -> dict[str, Any] | None:
        """What `torch.compile` is told; None: nothing is compiled."""
        chosen = {name: self.others.get(f"{COMPILE}_{name}") for name in ("backend", "mode")}
        if not (self.others.get(COMPILE) or any(chosen.values())):
            return None
        return {"backend": chosen["backend"] or "inductor", "mode": chosen["mode"]}

    def budget(self, tokens: int, records: int) -> int:
        """Real tokens a step: as asked, else as many as 16 records have on average.

        Trainer's `per_device_train_batch_size` sets another number of records.
        """
        per_step = self.others.get("per_device_train_batch_size", RECORDS_PER_STEP)
        return self.batch_tokens or max(1, round(per_step * tokens / records))

    def passes(self, steps_per_epoch: int) -> float:
        """Epochs: as asked, else as many as make about 1,000 steps, at least 3 and at most 20."""
        return self.epochs or min(EPOCHS_MOST, max(EPOCHS_LEAST, math.ceil(STEPS_WANTED / steps_per_epoch)))


def read_settings(
    args: Mapping[str, Any] | TrainingArguments | None,
    *,
    epochs: float | None,
    learning_rate: float | None,
    batch_tokens: int | None,
    early_stopping: int | None,
    resume: bool,
    output_dir: str | Path | None,
    optimizer: str | None,
    cache: bool | str,
    base_dropout: bool,
    validates: bool,
    save_minutes: float | None = SAVE_MINUTES,
) -> Settings:
    """The settings of a run, checked.

    Raises:
        LightAdaptError: an argument that Trainer does not know, a value said twice or out of range, early
            stopping without validation data, or a folder with the checkpoints of another run.
    """
    others = _user_arguments(args)
    _check_others(others, base_dropout=base_dropout)
    chosen = {
        name: _once(explicit, others.pop(name, None), name)
        for name, explicit in (
            ("num_train_epochs", epochs),
            ("learning_rate", learning_rate),
            ("output_dir", None if output_dir is None else str(output_dir)),
            ("optim", _find_optimizer(optimizer)),
        )
    }
    if chosen["optim"]:
        others["optim"] = chosen["optim"]
    numbers = {
        "epochs": _above_zero("epochs", chosen["num_train_epochs"], float),
        "learning_rate": _above_zero("learning_rate", chosen["learning_rate"], float),
        "batch_tokens": _above_zero("batch_tokens", batch_tokens, int),
        "early_stopping": _above_zero("early_stopping", early_stopping, int),
        "save_minutes": _above_zero("save_minutes", save_minutes, float),
    }
    if type(base_dropout) is not bool:
        raise LightAdaptError(f"base_dropout={base_dropout!r}: write True or False.")
    if early_stopping is not None and not validates:
        raise LightAdaptError("early_stopping needs validation data: fit(train, validation=…, early_stopping=…).")
    if not isinstance(cache, bool) and cache not in CACHES:
        raise LightAdaptError(f"cache={cache!r} is unknown. Known: True, False, {', '.join(map(repr, CACHES))}.")
    folder = Path(chosen["output_dir"]) if chosen["output_dir"] else None
    return Settings(
        cache=cache,
        folder=folder,
        checkpoint=_find_checkpoint(folder, resume),
        base_dropout=base_dropout,
        others=others,
        **numbers,
    )


def _check_others(others: Mapping[str, Any], *, base_dropout: bool) -> None:
    """Raise for arguments of Trainer that would do nothing here, or not what they say."""
    for name in REFUSED.keys() & others.keys():
        raise LightAdaptError(f"args holds {name!r}, which does nothing here: {REFUSED[name]}")
    for name, least in WHOLE.items():
        value = others.get(name, 1)
        if not isinstance(value, Integral) or value < least:
            raise LightAdaptError(f"args holds {name}={value!r}: give a whole number of at least {max(1, least)}.")
    if others.get("neftune_noise_alpha") and not base_dropout:
        raise LightAdaptError(
            "args holds 'neftune_noise_alpha': the noise comes with training mode, in which frozen embeddings are with "
            "base_dropout=True only."
        )


def _above_zero(name: str, value: Any, kind: type) -> Any:
    """The number as plain Python has it, since an artifact holds none of NumPy's; None stays None."""
    if value is not None and not (isinstance(value, Real) and 0 < float(value) < math.inf):
        raise wrong_number(name, value, "a number above 0")
    return None if value is None else kind(value)


def _user_arguments(args: Mapping[str, Any] | TrainingArguments | None) -> dict[str, Any]:
    """What the user set of Trainer's arguments: a dict as it is, of an object all that differs from its defaults."""
    if args is None:
        return {}
    names = {entry.name for entry in dataclasses.fields(TrainingArguments) if entry.init}
    if isinstance(args, TrainingArguments):
        plain = TrainingArguments(output_dir=args.output_dir)  # the defaults after their own derivations
        given = {name: getattr(args, name) for name in names if getattr(args, name) != getattr(plain, name)}
        return given if args.output_dir == "trainer_output" else {**given, "output_dir": args.output_dir}
    if not isinstance(args, Mapping):
        raise LightAdaptError(f"args is a {type(args).__name__}. Give a dict or transformers.TrainingArguments.")
    for name in args:
        if name == "warmup_ratio":
            raise LightAdaptError("args: transformers 5 writes a warm-up ratio as warmup_steps below 1, such as 0.06.")
        if name not in names and name not in recomputing.RENAMED:
            raise LightAdaptError(f"args holds {name!r}, which TrainingArguments does not know. {nearest(name, names)}")
    given = dict(args)
    for old, new in recomputing.RENAMED.items():
        if old in given:
            given[new] = _once(given.get(new), given.pop(old), new)
    return given


def _find_optimizer(optimizer: str | None) -> str | None:
    """Trainer's name of an optimizer.

    Raises:
        LightAdaptError: an unknown one, or bitsandbytes is missing for one of 8 bits.
    """
    if optimizer is None:
        return None
    if optimizer not in OPTIMIZERS:
        near = nearest(str(optimizer), OPTIMIZERS)
        raise LightAdaptError(
            f"optimizer={optimizer!r} is unknown. {near}Known: {', '.join(OPTIMIZERS)}. For one of Trainer's, "
            "pass args={'optim': …}."
        )
    if optimizer != "adamw":
        require_bitsandbytes(f"optimizer={optimizer!r}", "leave optimizer out")
    return OPTIMIZERS[optimizer]


def _once(explicit: Any, given: Any, name: str) -> Any:
    if explicit is not None and given is not None and explicit != given:
        raise LightAdaptError(f"{name} is given twice: {explicit!r} to fit and {given!r} in args. Keep one of them.")
    return given if explicit is None else explicit


def _find_checkpoint(folder: Path | None, resume: bool) -> Path | None:
    if folder is None:
        if resume:
            raise LightAdaptError("resume=True needs output_dir=…, the folder with the checkpoints.")
        return None
    check_writable(folder)
    there = newest_first(folder)
    if there and not resume:
        raise LightAdaptError(
            f"output_dir {folder} holds checkpoints of an earlier run ({there[0].name}). Pass resume=True to go on "
            "from there, or choose another folder."
        )
    return find_last(folder)


def training_arguments(
    settings: Settings,
    model: PreTrainedModel,
    *,
    trains_base: bool,
    output_dir: str,
    epochs: float,
    steps: int,
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
        "accelerator_config": {"even_batches": False},
        **moments_of(
            settings.others,
            headline=headline,
            greater_is_better=greater_is_better,
            keeps=keeps,
            every=max(1, steps // 50),
        ),
    }
    try:
        others = {name: value for name, value in settings.others.items() if not name.startswith(COMPILE)}
        arguments = TrainingArguments(**{**defaults, **others, "output_dir": output_dir})
    except (TypeError, ValueError) as error:
        raise LightAdaptError(f"These training arguments do not fit together: {error}") from error
    if arguments.n_gpu > 1:
        _keep_on(model.device, arguments)
    return arguments


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
