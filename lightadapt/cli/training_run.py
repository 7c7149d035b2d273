"""What `lightadapt train` does: adapt, fit, save, and write down how."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from lightadapt.adaptation.history import History
from lightadapt.adapted import Adapted
from lightadapt.api import adapt
from lightadapt.cli import yaml_file
from lightadapt.cli.named import described, method_of, task_of
from lightadapt.cli.placing import check_free
from lightadapt.cli.run_settings import KNOWN, OF_ADAPT, OF_FIT, put_together
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError
from lightadapt.tasks import LabelledTask, Task

SETTLED = ("epochs", "learning_rate", "batch_tokens")
"""Arguments of `fit` whose defaults follow from the data; the file of a run holds what they came to."""


def run_training(
    config: Path | None,
    options: Mapping[str, Any],
    pairs: Sequence[str],
    *,
    resume: bool,
    overwrite: bool,
    trust_remote_code: bool,
) -> None:
    """Train an adaptation and save it, and write its settings beside it, as `--config` reads them.

    Checkpoints are kept beside the artifact until it is saved, or in `output_dir` for good.

    Raises:
        LightAdaptError: a setting or the data cannot be used; before training starts.
    """
    settings = put_together(config, options, pairs)
    out = Path(settings["out"])
    check_free(out, overwrite=overwrite)
    checkpoints = Path(settings.get("output_dir") or out.with_name(f"{out.name}.checkpoints"))
    _check_checkpoints(checkpoints, resume=resume)
    adapted = adapt(
        **{name: settings[name] for name in OF_ADAPT if name in settings}
        | {"task": task_of(settings["task"]), "method": method_of(settings.get("method", "lora"))},
        trust_remote_code=trust_remote_code,
    )
    typer.echo(str(adapted))
    columns, on_error = settings.get("columns"), settings.get("on_error", "raise")
    if settings.get("test") is not None:  # what is wrong with it is not to be found after hours of training
        task = _task_learned(adapted, settings["train"], columns, on_error)
        task.read_examples(settings["test"], split="test", columns=columns, bad=BadRecords(on_error))
    parts = {"task": described(adapted.task), "method": described(adapted.method)}
    try:
        history = adapted.fit(
            **{name: settings[name] for name in OF_FIT if name in settings} | {"output_dir": checkpoints},
            resume=resume,
        )
    except (KeyboardInterrupt, SystemExit):
        _tell_how_to_resume(checkpoints)
        raise
    except LightAdaptError:
        if "output_dir" not in settings:
            _remove_empty(checkpoints)
        raise
    adapted.save(out)
    beside = out.with_name(f"{out.name}.yaml")
    yaml_file.write(beside, _as_used({**settings, **parts}, adapted, history))
    if "output_dir" not in settings:
        shutil.rmtree(checkpoints, ignore_errors=True)
    _tell(adapted, settings.get("test"), columns=columns, on_error=on_error)
    typer.echo(f"Saved: {out}, and its settings: {beside}\nNext:  lightadapt predict {shlex.quote(str(out))} FILE")


def _task_learned(adapted: Adapted, train: Any, columns: Any, on_error: str) -> Task:
    """The task with the labels that it will have; they are read from the training data where nobody gave them."""
    task = adapted.task
    if isinstance(task, LabelledTask) and task.labels is None:
        return adapted.runner.prepare(train, columns=columns, bad=BadRecords(on_error)).task
    return task


def _as_used(settings: Mapping[str, Any], adapted: Adapted, history: History) -> dict[str, Any]:
    """The settings with what followed from the data, in the order in which they are known."""
    design = adapted.runner.adaptation.design
    used = {**settings, **{name: history.settings[name] for name in SETTLED}}
    used |= {"seed": design.seed, "dtype": str(design.dtype).removeprefix("torch.")}
    return {name: used[name] for name in KNOWN if name in used}


def _check_checkpoints(folder: Path, *, resume: bool) -> None:
    there = folder.is_dir() and any(folder.glob("checkpoint-*"))
    if there and not resume:
        raise LightAdaptError(
            f"{folder} holds checkpoints of a run that did not end. Add --resume to go on from there, or remove the "
            "folder to start afresh."
        )
    if resume and not there:
        typer.echo(f"{folder} holds no checkpoint yet: the run starts at its beginning.", err=True)


def _remove_empty(folder: Path) -> None:
    """Remove the folder for checkpoints where none was written: the run was refused before its first step."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _tell_how_to_resume(checkpoints: Path) -> None:
    if checkpoints.is_dir() and any(checkpoints.glob("checkpoint-*")):
        words = [word for word in sys.argv[1:] if word != "--resume"]
        typer.echo(f"Go on with: lightadapt {shlex.join(words)} --resume", err=True)


def _tell(adapted: Adapted, test: Any, **how: Any) -> None:
    """The scores of the run, and those on test data where there is some."""
    history = adapted.history
    assert history is not None
    typer.echo(str(history))
    if history.best_scores:
        typer.echo(f"Validation: {as_line(history.best_scores)}")
    if test is not None:
        typer.echo(f"Test: {as_line(adapted.evaluate(test, report=True, **how))}")


def as_line(scores: Mapping[str, float]) -> str:
    """Scores in one line.

    >>> as_line({"accuracy": 0.87321, "macro_f1": 0.86})
    'accuracy 0.8732, macro_f1 0.8600'
    """
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
