"""What a training run was: losses, scores per epoch, time, speed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.adaptation.training_summary import TrainingSummary
from lightadapt.display import html
from lightadapt.errors import LightAdaptError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


PLACE = ("epoch", "step")
"""What an evaluation has beside its metrics."""


@dataclass(repr=False)
class History:
    """The record of one `fit`.

    >>> best = {"accuracy": 0.873, "epoch": 3.0, "step": 282}
    >>> History(steps=282, passes=3.0, seconds=41.2, best=best)
    History(3 epochs, 282 steps, best accuracy 0.873 at epoch 3, 41 s)
    """

    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean training loss since the entry before)."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """Validation metrics at each evaluation, with `epoch` and `step`."""
    best: dict[str, float] | None = None
    """The evaluation whose weights were kept; None without validation data."""
    steps: int = 0
    seconds: float = 0.0
    """Wall time of this call, evaluations included."""
    tokens_per_second: float = 0.0
    """Real tokens (no padding) trained on per second of training, evaluations not included."""
    padding: float = 0.0
    """Share of padding among all tokens that the model computed in training."""
    peak_memory: int = 0
    """Bytes: the most that was allocated on the GPU, or the highest resident memory of the process seen."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Epochs, learning rates, batch tokens, seed, optimizer and processes as they were used; `batch_shapes`, how many
    shapes the batches had; `cached_blocks`, and `not_cached`, the reason why there are none although it was tried;
    `validation`, the share that was held out."""
    learning_rates: list[tuple[int, float]] = field(default_factory=list)
    """(step, learning rate of what the method trains), at the steps of `losses`."""
    passes: float = 0.0
    """Passes over the training data that were made."""
    held_out: list[int] = field(default_factory=list)
    """The records of the training data that were held out for validation, by their numbers from 0."""

    @property
    def best_scores(self) -> dict[str, float]:
        """The metrics of the evaluation whose weights were kept, headline first; empty without one."""
        return {name: value for name, value in (self.best or {}).items() if name not in PLACE}

    def __str__(self) -> str:
        parts = [f"{self.steps} steps in {self.seconds:.1f} s", f"{self.tokens_per_second:,.0f} tokens/s"]
        if self.losses:
            parts.append(f"loss {self.losses[-1][1]:.4f}")
        parts += [f"best {name} {value:.4f}" for name, value in list(self.best_scores.items())[:1]]
        return ", ".join(parts)

    def __repr__(self) -> str:
        parts = [f"{self.passes:.4g} epochs", f"{self.steps:,} steps"]
        for name, value in list(self.best_scores.items())[:1]:
            assert self.best is not None
            parts.append(f"best {name} {value:.3f} at epoch {self.best['epoch']:.4g}")
        return f"History({', '.join([*parts, f'{self.seconds:.0f} s'])})"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each evaluation, the one whose weights were kept marked."""
        names = [*PLACE, *(name for name in self.epochs[0] if name not in PLACE)] if self.epochs else []
        rows = [
            [*(_cell(entry[name]) for name in names), "best" if entry == self.best else ""] for entry in self.epochs
        ]
        return f"<div>{escape(repr(self))}</div>{html.table([*names, ''], rows, numbers=True) if rows else ''}"

    def to_pandas(self) -> DataFrame:
        """A frame with one row for each step at which something was recorded, in order.

        Columns: `step`, `epoch` (of evaluations), `loss`, `learning_rate`, the metrics as `validation_…`, and `best`,
        which marks the evaluation whose weights were kept. What was not recorded at a step is missing there.

        Raises:
            LightAdaptError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise LightAdaptError('to_pandas() needs pandas. Install it: pip install "lightadapt[plot]"') from error
        rows: dict[float, dict[str, Any]] = {}
        for name, values in (("loss", self.losses), ("learning_rate", self.learning_rates)):
            for step, value in values:
                rows.setdefault(step, {})[name] = value
        for entry in self.epochs:
            noted = {f"validation_{name}": entry[name] for name in entry if name not in PLACE}
            rows.setdefault(entry["step"], {}).update(epoch=entry["epoch"], **noted, best=entry == self.best)
        scores = [f"validation_{name}" for name in (self.epochs[0] if self.epochs else ()) if name not in PLACE]
        table = [{"step": step, "best": False, **rows[step]} for step in sorted(rows)]
        return pandas.DataFrame(table, columns=["step", "epoch", "loss", "learning_rate", *scores, "best"])

    def plot(self, path: str | Path | None = None) -> Figure:
        """The loss, the learning rate and the headline metric over the steps, with the best evaluation marked.

        Args:
            path: a file to write the figure to as well: `.png`, `.svg` or `.pdf`.

        Raises:
            LightAdaptError: matplotlib is not installed, nothing was recorded, or the file cannot be written.
        """
        from lightadapt.display.curves import Curve, draw_curves
        from lightadapt.display.figures import check_path, finish

        target = check_path(path)
        curves = [Curve("training loss", self.losses), Curve("learning rate", self.learning_rates)]
        headline = next((name for name in (self.epochs[0] if self.epochs else ()) if name not in PLACE), "")
        noted = [(int(entry["step"]), entry[headline]) for entry in self.epochs if headline]
        best = None if self.best is None else (int(self.best["step"]), self.best[headline])
        curves.append(Curve(f"validation {headline}", noted, best))
        drawn = [curve for curve in curves if curve.points]
        if not drawn:
            raise LightAdaptError(f"{self!r}: no loss and no score was recorded, so there is nothing to plot.")
        return finish(draw_curves(drawn, repr(self)), target)


@dataclass(frozen=True)
class LastRun:
    """What is known of the last training of an adaptation, in this process or before it was saved."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """As they were used, with the numbers of records and steps."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """On the validation data."""
    history: History | None = None
    """Its record; None if it was in another process."""
    summary: TrainingSummary | None = None
    """What is kept of its data; None where nothing is."""


def _cell(value: float) -> str:
    """A number in a table: steps are whole."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
