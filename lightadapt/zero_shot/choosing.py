"""Which way a model has to answer before it has learned anything, or why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightadapt.anatomy import family_of
from lightadapt.base.weights import Base
from lightadapt.errors import LightAdaptError
from lightadapt.tasks import LabelledTask, Task
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.multilabel import MultiLabel
from lightadapt.zero_shot.entailment import Entailment
from lightadapt.zero_shot.likelihood import Likelihood
from lightadapt.zero_shot.similarity import Similarity
from lightadapt.zero_shot.stand_in import StandIn

SERVED: tuple[type[Task], ...] = (Classification, MultiLabel)
"""The tasks whose labels mean something by themselves; a task that derives from one has its own idea of them."""
WAYS: tuple[type[StandIn], ...] = (Entailment, Similarity, Likelihood)
"""All ways; the first that a model has is taken."""
WHY_NOT = {
    "encoder": "{name} was trained neither to give vectors that can be compared nor to tell entailment",
    "decoder": "{name} has no output layer of a language model",
    "encoder-decoder": "{name} has no output layer of a language model and was not trained to tell entailment",
}
"""Why a model of a family has none of the ways to one label."""
SEVERAL = "a language model is asked for one label at a time, so it cannot tell which of several hold"


class ZeroShot:
    """What a base can answer before its head has learned anything; what it reads for that is read once."""

    def __init__(self, base: Base) -> None:
        """Nothing is looked up yet."""
        self.base = base
        self._found: dict[type[Task], StandIn | None] = {}

    def stand_in(self, task: Task, shots: Sequence[Any] = ()) -> StandIn | None:
        """What answers in the place of the head of a task; None where nothing can.

        Args:
            shots: examples that are shown with each text, where `check_shots` allows them.
        """
        found = self._way_to(task)
        return found.with_shots(shots) if shots and isinstance(found, Likelihood) else found

    def check_shots(self, task: Task) -> None:
        """Raise where labelled examples cannot be shown to the model.

        Raises:
            LightAdaptError: why, and what to do with them.
        """
        found = self._way_to(task)
        if isinstance(found, Likelihood):
            return
        reason = self.why_not(task)
        if found is not None:
            reason = f"{self.base.blueprint.source.name} reads a text by itself, without examples beside it"
        raise LightAdaptError(f"shots=…: {reason}. Fit on them instead: fit(shots).")

    def why_not(self, task: Task) -> str:
        """Why nothing can answer a task before it has learned, as part of a sentence."""
        if type(task) not in SERVED:
            return f"the answers to task {task.name!r} cannot be told without training"
        source = self.base.blueprint.source
        family = family_of(source.config)
        if isinstance(task, MultiLabel) and family != "encoder":
            return SEVERAL
        return WHY_NOT[family].format(name=source.name)

    def way_out(self, task: Task) -> str:
        """What else than training there is for a task, as the end of a sentence."""
        if type(task) not in SERVED:
            return ", or load(…) what was trained"
        return ", or begin with a sentence encoder or a checkpoint for entailment, which tell labels by their names"

    def _way_to(self, task: Task) -> StandIn | None:
        """What serves a task; what it knows of the labels is kept for other forms of the task that have the same."""
        if type(task) not in SERVED or not isinstance(task, LabelledTask) or not task.ready:
            return None
        kind = type(task)
        if kind not in self._found:
            self._found[kind] = next(filter(None, (way.of(self.base, task) for way in WAYS)), None)
        found = self._found[kind]
        if found is not None and found.task is not task:
            found = replace(found, task=task) if _asks_the_same(found.task, task) else found.about(task)
            self._found[kind] = found
        return found


def _asks_the_same(one: LabelledTask, other: LabelledTask) -> bool:
    """Whether two forms of a task differ in nothing that is asked of a model."""
    first, second = one.settings(), other.settings()
    return one.labels == other.labels and all(
        first[name] == second[name] for name in ("descriptions", "prompt") if name in first
    )
