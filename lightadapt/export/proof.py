"""How far what was exported gives what the adaptation gives, on the same records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.prediction import run_model
from lightadapt.adaptation.runner import Runner
from lightadapt.data import Called, Data
from lightadapt.data.skipping import BadRecords
from lightadapt.tasks import Feature

Infer: TypeAlias = "Callable[[Sequence[Feature]], Sequence[Any]]"
"""What a model gives for a batch of features, as `Task.infer` gives it."""
COMPARED = 8
"""Sequences of a model that writes whose logits are compared; texts are, of all."""


@dataclass(frozen=True)
class Found:
    """What a comparison has found."""

    difference: float | None = None
    """The largest difference of two outputs."""
    scale: float = 1.0
    """The largest output of the adaptation."""
    equal: float | None = None
    """The share of equal answers."""
    after: Mapping[str, float] = field(default_factory=dict)
    """The scores of what was exported."""


class Prover:
    """The records that an export is compared on, and what the adaptation gives for them.

    Attributes:
        examples: the task's own two samples, or the data that was given to check with.
        scores: of the adaptation on that data; none on the samples, whose answers mean nothing.
    """

    def __init__(self, runner: Runner, data: Data | None, columns: Mapping[str, str | int] | None) -> None:
        task = runner.task
        self.runner = runner
        self.labelled = data is not None
        source: Any
        source, names = (task.samples(), {}) if data is None else (Called(data, "check"), columns)
        self.examples, records = runner.read(source, task, "test", columns=names, bad=BadRecords())
        self.features = runner.encode(self.examples, records, targets=True)
        self.inferred = self.run(runner.model, self.infer_with(runner.model))
        self.predictions = task.decode(self.examples, self.features, self.inferred, runner.view)
        self.scores = task.score(self.examples, self.predictions)[0] if self.labelled else {}

    def infer_with(self, model: PreTrainedModel) -> Infer:
        """What the task infers with another model of the same kind."""
        return lambda batch: self.runner.task.infer(model, batch, self.runner.view)

    def run(self, model: PreTrainedModel, infer: Infer) -> list[Any]:
        """What `infer` gives for each feature."""
        costs = [self.runner.task.cost(feature) for feature in self.features]
        return run_model(model, self.features, costs, infer)

    def compare_model(self, model: PreTrainedModel) -> Found:
        """How far another model of transformers gives the same."""
        model = model.to(self.runner.model.device).eval()  # type: ignore[arg-type]
        inferred = self.run(model, self.infer_with(model))
        if self.runner.task.comparable:
            return self.compare(inferred)
        batch = self.runner.collate(self.features[:COMPARED])
        ours, theirs = (outputs_of(each, batch) for each in (self.runner.model, model))
        return self.compare(inferred, [row.numpy() for row in ours], [row.numpy() for row in theirs])

    def compare(
        self, inferred: Sequence[Any], ours: Sequence[np.ndarray] | None = None, theirs: Sequence[np.ndarray] = ()
    ) -> Found:
        """What was inferred beside what the adaptation infers.

        Args:
            ours: outputs of the adaptation to take the difference of; None: what was inferred.
            theirs: those of the other side.
        """
        task, view = self.runner.task, self.runner.view
        if ours is None:
            ours, theirs = self.inferred, inferred
        predictions = task.decode(self.examples, self.features, inferred, view)
        pairs = [(one.astype(np.float64), two.astype(np.float64)) for one, two in zip(ours, theirs, strict=True)]
        return Found(
            difference=max((float(np.abs(one - two).max(initial=0.0)) for one, two in pairs), default=None),
            scale=max((float(np.abs(one).max(initial=0.0)) for one, _ in pairs), default=1.0),
            equal=self.equal_answers(predictions),
            after=task.score(self.examples, predictions)[0] if self.labelled else {},
        )

    def equal_answers(self, predictions: Sequence[Any]) -> float | None:
        """The share of the records with the same answer; None where the answers are numbers, which are never equal."""
        task = self.runner.task
        shown = [
            [task.present(example, given, scores=False) for example, given in zip(self.examples, each, strict=True)]
            for each in (self.predictions, predictions)
        ]
        if any(isinstance(answer, float) for answer in shown[0]) or not shown[0]:
            return None
        same: int = sum(without_scores(one) == without_scores(two) for one, two in zip(*shown, strict=True))
        return same / len(shown[0])


def without_scores(answer: Any) -> Any:
    """An answer without the probabilities in it, which differ by rounding."""
    if isinstance(answer, Mapping):
        return {name: without_scores(value) for name, value in answer.items() if name != "score"}
    return [without_scores(each) for each in answer] if isinstance(answer, list) else answer


def outputs_of(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """All logits that a model gives for a batch, without those of padding."""
    inputs = {name: value.to(model.device) for name, value in batch.items()}
    with torch.no_grad():
        given = model(**inputs)
    logits = [value.float().cpu() for name, value in given.items() if "logits" in name and torch.is_tensor(value)]
    mask = batch["attention_mask"].bool().cpu()
    return [each[mask] if each.shape[: mask.ndim] == mask.shape else each for each in logits]
