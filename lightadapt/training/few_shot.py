"""Training with a few records of each class: when it is done, where the head starts, and with what loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.adaptation.vectors import of_length_one, vectors_of
from lightadapt.errors import LightAdaptError
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.losses.contrastive import contrasting
from lightadapt.tasks.losses.objective import Objective
from lightadapt.training.recipe import FEW_SHOT, STANDARD, Recipe

FEW = 64
"""The most records of a class that are few."""


def choose_recipe(runner: Runner, learned: Prepared, asked: str | None) -> Recipe:
    """The recipe that was asked for, or the one that suits the data.

    Few-shot is for an encoder whose vectors can be compared, with a head that has learned nothing, and at most 64
    records of each class; or for whatever model can do it, if it is asked for.

    Raises:
        LightAdaptError: few-shot was asked for, and this task or model cannot do it.
    """
    if asked == STANDARD.name:
        return STANDARD
    reason = _why_not_few_shot(runner, learned)
    if asked == FEW_SHOT.name:
        if reason:
            raise LightAdaptError(f"recipe='few-shot': {reason}. Leave recipe out, or write recipe='standard'.")
        return FEW_SHOT
    counts = Counter(example.label for example in learned.examples) if not reason else Counter()
    fits = counts and max(counts.values()) <= FEW and runner.pooling is not None and runner.adaptation.head.is_fresh
    return FEW_SHOT if fits else STANDARD


def first_recipe(runner: Runner, learned: Prepared, asked: str | None) -> Recipe:
    """The recipe for a model that is to learn more classes later: few-shot wherever it suits the model.

    However many records there are, rows that are prototypes take new ones beside them best.

    Raises:
        LightAdaptError: few-shot was asked for, and this task or model cannot do it.
    """
    suits = asked is None and runner.pooling is not None and not _why_not_few_shot(runner, learned)
    return FEW_SHOT if suits else choose_recipe(runner, learned, asked)


def _why_not_few_shot(runner: Runner, learned: Prepared) -> str:
    """Why the recipe for few records cannot be had; empty where it can."""
    if type(learned.task) is not Classification:
        return f"it is for task 'classification', not {learned.task.name!r}"
    if runner.family != "encoder":
        return f"it is for encoders, and {runner.adaptation.design.blueprint.source.name} is a {runner.family}"
    if any(example.text_pair is not None for example in learned.examples):
        return "it is for single texts, and these records hold pairs"
    if not runner.adaptation.head.reads_hidden_states:
        return f"the head of {type(runner.model).__name__} has no output layer on hidden states"
    if runner.adaptation.head.prototypes is None and not runner.adaptation.head.is_fresh:
        return "the head has learned something already"
    return ""


def start_few_shot(runner: Runner, examples: Sequence[Any]) -> None:
    """Let the rows of a fresh head be prototypes: the mean of their class, or what a label means where it has none."""
    head = runner.adaptation.head
    if head.prototypes is not None:
        return
    rows = class_means(runner, examples)
    runner.adaptation.read_as_prototypes(runner.pooling or "mean")
    head.start_rows_at(rows)


def class_means(runner: Runner, examples: Sequence[Any]) -> np.ndarray:
    """`(K, width)`: vectors of length one that point at the mean of the examples of each output."""
    names = runner.view.outputs
    places = np.array([names.index(str(example.label)) for example in examples])
    vectors = vectors_of(runner, examples)
    sums = np.stack([vectors[places == place].sum(0) for place in range(len(names))])
    return of_length_one(sums)


def objective_of(recipe: Recipe, learned: Prepared) -> Objective | None:
    """The loss to train with; None: the model's own."""
    task = learned.task
    if recipe is FEW_SHOT:
        assert isinstance(task, Classification)
        return contrasting(task.weights(learned.examples, learned.view), task.label_smoothing)
    return task.objective(learned.examples, learned.view)
