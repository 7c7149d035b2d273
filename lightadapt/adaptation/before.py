"""What an adaptation would score if it had learned nothing, on the records that it was evaluated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lightadapt.adaptation.prediction import decoded
from lightadapt.adaptation.reader import Reader
from lightadapt.adaptation.runner import Runner
from lightadapt.data import Records
from lightadapt.errors import LightAdaptError
from lightadapt.evaluation.comparing import difference_of
from lightadapt.evaluation.scores import Evidence, Scores
from lightadapt.tasks import ModelView, Task
from lightadapt.zero_shot.choosing import ZeroShot
from lightadapt.zero_shot.stand_in import StandIn


class Unlearned(Reader):
    """Runs the task of an adaptation as long as the head has learned nothing: by what stands in for it.

    Whoever calls it sees to it that the adapter is off.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.task = runner.task
        self.tokenizer = runner.tokenizer
        self.accepted = runner.accepted
        self._zero_shot = ZeroShot(runner.adaptation.base)

    def view_of(self, task: Task) -> ModelView:
        return self.runner.view_of(task)

    def answering(self, task: Task) -> Task | StandIn:
        return self._zero_shot.stand_in(task) or task

    def predict(
        self,
        examples: Sequence[Any],
        records: Records,
        *,
        targets: bool = False,
        task: Task | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Any]:
        form = self.answering(task or self.task)
        features, sizes = self.encode_for_prediction(examples, records, targets=targets, task=task)
        view = self.view_of(task or self.task)
        return decoded(self.runner.adaptation, form, view, examples, features, sizes, batch_tokens=batch_tokens)


def check_before(runner: Runner, *, disabled: bool) -> None:
    """Raise where nothing tells what an adaptation scored before it learned.

    Args:
        disabled: whether adapters are switched off already.

    Raises:
        LightAdaptError: why, and what to do.
    """
    runner.require_labels()
    reason = _why_not(runner, disabled)
    if reason is not None:
        raise LightAdaptError(f"The score before cannot be had: {reason}")


def _why_not(runner: Runner, disabled: bool) -> str | None:
    """Why nothing tells it, and what to do, as the end of a sentence; None where something does."""
    if disabled:
        return "the adapter is switched off already. Leave the block that did so first."
    adaptation, design, task = runner.adaptation, runner.adaptation.design, runner.task
    way = "Adapt the base anew, and evaluate that before it learns."
    if design.plan.unfrozen or design.method.rewrites_base:
        return f"method {design.method.name!r} has changed the base itself. {way}"
    if task.uses_lm_head(runner.family):
        return None
    if adaptation.base.trained_head:
        return f"the head came trained with {design.blueprint.source.name}, and has learned more since. {way}"
    if type(task).guesses is Task.guesses:
        return f"task {task.name!r} has no answers for a head that has learned nothing: its class lacks guesses. {way}"
    return None


def add_before(runner: Runner, scores: Scores) -> None:
    """Give scores the ones that were there before anything was learned, and the difference; the adapter is off.

    That is what the base answers by itself: by what the labels mean (zero-shot), or as the language model that it is.
    Where it has no way to answer, what a head gives that has learned nothing is chance. Then it is the best answer that
    needs no text, as of these records: the most frequent label, the mean, no entity.
    """
    given, unlearned = scores.evidence, Unlearned(runner)
    task: Task = replace(given.task, fitted=type(given.task.fitted)())
    if isinstance(unlearned.answering(task), StandIn):
        by = "the base by what the labels mean (zero-shot)"
        predictions = list(unlearned.predict(given.examples, given.records, task=task))
    elif task.uses_lm_head(runner.family):
        task, by = given.task.uncalibrated(), "the base without the adapter"
        predictions = list(unlearned.predict(given.examples, given.records, targets=True, task=task))
    else:
        by = "the best answer that needs no text, as a head that has learned nothing guesses"
        predictions = task.guesses(given.examples) or []
    evidence = Evidence(task, given.records, given.examples, predictions)
    scores.before = Scores(*task.score(given.examples, predictions), evidence, confidence=scores.confidence)
    scores.before_by = by
    scores.gain = difference_of(scores.before, scores, confidence=scores.confidence, names=("before", "after"))
