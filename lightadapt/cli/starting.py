"""What a command works on: a saved adaptation, or a model that is made ready for a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.adapted import Adapted
from lightadapt.api import adapt, load
from lightadapt.cli.values import given
from lightadapt.errors import LightAdaptError


def load_adaptation(folder: Path | str, **how: Any) -> Adapted:
    """The adaptation that a folder holds; `how` are options of `lightadapt.load` that are not None.

    Raises:
        LightAdaptError: there is none in it, or it cannot be loaded.
    """
    return load(folder, **given(**how))


def load_or_start(
    model: str, *, task: str | None, labels: Any, base: str | None, quantize: str | None, device: str
) -> Adapted:
    """The adaptation in the folder `model`; or, where a task is named, that model before it has learned anything.

    Raises:
        LightAdaptError: the options do not go together, or it cannot be loaded.
    """
    if task is None and labels is None:
        return load_adaptation(model, base=base, quantize=quantize, device=device)
    if base is not None:
        raise LightAdaptError(
            f"--base {base} is for a saved adaptation; with --task, {model} is the base. Leave it out."
        )
    return start(model, device=device, **given(task=task, labels=labels, quantize=quantize))


def start(model: str, *, device: str = "auto", **how: Any) -> Adapted:
    """The adaptation in the folder `model`; or that model made ready, by the options of `lightadapt.adapt` in `how`.

    Raises:
        LightAdaptError: a model without a task, or options that a saved adaptation has settled already.
    """
    if (Path(model) / MANIFEST_NAME).is_file():
        if how:
            raise LightAdaptError(
                f"{model} is a saved adaptation, which has its own {next(iter(how))}. Leave --{next(iter(how))} out."
            )
        return load(model, device=device)
    if "task" not in how:
        raise LightAdaptError(
            f"{model} is not a saved adaptation, so say what it is to learn: --task ner, for example."
        )
    return adapt(model, device=device, **how)
