"""What may stand in `args`: Trainer's arguments that do something here, with values that they can have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_args

from transformers import TrainerCallback, TrainingArguments

from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.numbers import is_number, is_whole
from lightadapt.training import recomputing

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
LEAST: dict[str, float] = {
    **dict.fromkeys(("weight_decay", "max_grad_norm", "warmup_steps", "eval_delay", "dataloader_num_workers"), 0),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "seed", "data_seed", "save_total_limit"), 0),
    **dict.fromkeys(("gradient_accumulation_steps", "per_device_train_batch_size", "dataloader_prefetch_factor"), 1),
    **dict.fromkeys(("torch_empty_cache_steps", "max_steps"), 1),
}
"""The least that numbers can be."""
BELOW = {"adam_beta1": 1.0, "adam_beta2": 1.0, "seed": 2.0**32}
"""What numbers are less than."""
ABOVE_ZERO = {"adam_epsilon", "eval_steps", "logging_steps", "neftune_noise_alpha", "save_steps"}
"""Numbers that are above 0."""
OFF = {"max_steps": -1}
"""Values out of these bounds by which Trainer leaves something out."""
COMPILE = "torch_compile"
"""How the names of Trainer's options of `torch.compile` begin; they act on the blocks alone, see `compiling`."""


def read_given(args: Mapping[str, Any] | TrainingArguments | None) -> dict[str, Any]:
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
            given[new] = one_of(given.get(new), given.pop(old), new)
    return given


def as_trainer_knows(name: str, value: Any) -> str | None:
    """What to write for an argument that Trainer has and `fit` has not; None where Trainer does not know it, either."""
    if name in REFUSED:
        return f"That does nothing here: {REFUSED[name]}"
    known = {entry.name for entry in dataclasses.fields(TrainingArguments) if entry.init} | recomputing.RENAMED.keys()
    return "args={'{name}': {value}}" if name in known else None


def one_of(explicit: Any, given: Any, name: str) -> Any:
    """What is given to `fit`, else what is in `args`.

    Raises:
        LightAdaptError: both are there, and differ.
    """
    if explicit is not None and given is not None and explicit != given:
        raise LightAdaptError(f"{name} is given twice: {explicit!r} to fit and {given!r} in args. Keep one of them.")
    return given if explicit is None else explicit


def check_given(others: Mapping[str, Any], *, base_dropout: bool) -> None:
    """Raise for arguments of Trainer that would do nothing here, or not what they say, and for senseless values.

    Raises:
        LightAdaptError: naming the argument, its value and the remedy.
    """
    for name in REFUSED.keys() & others.keys():
        raise LightAdaptError(f"args holds {name!r}, which does nothing here: {REFUSED[name]}")
    kinds = {entry.name: entry.type for entry in dataclasses.fields(TrainingArguments)}
    for name, value in others.items():
        if name not in OFF or value != OFF[name]:
            _check_value(name, value, kinds[name])
    if others.get("neftune_noise_alpha") and not base_dropout:
        raise LightAdaptError(
            "args holds 'neftune_noise_alpha': the noise comes with training mode, in which frozen embeddings are with "
            "base_dropout=True only."
        )
    _check_dicts(others)


def _check_value(name: str, value: Any, kind: Any) -> None:
    """Raise unless a value is a truth value or a number where it is to be one, and within its bounds.

    Args:
        kind: the type of the field of TrainingArguments; other types than these are for Trainer to look at.
    """
    kinds = set(get_args(kind)) or {kind}
    if value is None and type(None) in kinds:
        return
    said = f"args holds {name}={shown(value)}: "
    if kinds <= {bool, type(None)} and not isinstance(value, bool):
        raise LightAdaptError(f"{said}write True or False.")
    if not kinds <= {int, float, type(None)}:
        return
    least, below, above = LEAST.get(name, -math.inf), BELOW.get(name, math.inf), name in ABOVE_ZERO
    fits = is_number(value) and math.isfinite(value) and least <= value < below and (value > 0 or not above)
    if not fits or (float not in kinds and not is_whole(value)):
        what = "a number" if float in kinds else "a whole number"
        limits = " above 0" if above else "" if least == -math.inf else f" of at least {least:g}"
        raise LightAdaptError(f"{said}give {what}{limits}{f' and below {below:,.0f}' if below < math.inf else ''}.")


def _check_dicts(others: Mapping[str, Any]) -> None:
    """Raise for options inside of arguments that Trainer would find wrong in the first step only."""
    name = f"{recomputing.NAME}_kwargs"
    options, known = others.get(name) or {}, recomputing.known_options()
    if not isinstance(options, Mapping) or not options.keys() <= known:
        raise LightAdaptError(
            f"args holds {name}={shown(options)}: give a dict with options of checkpointing, which are "
            f"{listed(sorted(known))}."
        )
    asked = others.get("accelerator_config")
    for name in ("split_batches", "dispatch_batches", "even_batches"):
        if isinstance(asked, Mapping) and asked.get(name):
            raise LightAdaptError(
                f"args holds accelerator_config with {name}={shown(asked[name])}: batches are formed by tokens, and "
                "each process gets batches of its own. Leave it out."
            )


def check_callbacks(callbacks: Any) -> list[Any]:
    """The callbacks as a list, also of one alone.

    Raises:
        LightAdaptError: something is no callback of Trainer.
    """
    given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
    for callback in given:
        if not isinstance(callback, TrainerCallback) and not _is_class(callback):
            raise LightAdaptError(
                f"callbacks holds {shown(callback)}, which is not a transformers.TrainerCallback. Give a list of "
                "objects of its subclasses."
            )
    return given


def _is_class(value: Any) -> bool:
    """Whether it is a class of callbacks, of which Trainer makes an object."""
    return isinstance(value, type) and issubclass(value, TrainerCallback)
