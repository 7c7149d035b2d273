"""Training with a few records of each class: when it is done, where the head starts, and with what loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.base.vectors import vectors_of_meanings
from lightadapt.errors import LightAdaptError
from lightadapt.heads.pooling import of_length_one
from lightadapt.heads.prototypes import SCALE
from lightadapt.methods import Method
from lightadapt.tasks import LabelledTask
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.losses.contrastive import contrasting
from lightadapt.tasks.losses.objective import Objective
from lightadapt.tasks.multilabel import MultiLabel
from lightadapt.tasks.ner import NER
from lightadapt.training.recipe import FEW_SHOT, FEW_SHOT_OF_MANY, FEW_TAGS, STANDARD, Recipe

FEW = 64
"""The most records of a class that are few."""
FEW_IN_ALL = 256
"""Records of which each has one class that are few, however they are spread over the classes."""
STEPS_A_RECORD = 5
"""Steps for each record that a class has on average, from 8 on."""
GENTLE = 0.3
"""The share of the usual learning rate, where rows start at what labels mean."""
LEAST_LABELS = 10
"""Labels from which a text can be shared out among them, where several may hold: of a text that goes to all alike, each
then has no more than the share from which it holds."""
WEIGHTS_OF_MEANINGS = (0.0, 0.3, 1.0, 2.0)
"""What the description of a class may weigh beside the mean of its records."""


def choose_recipe(runner: Runner, learned: Prepared, asked: str | None) -> Recipe:
    """The recipe that was asked for, or the one that suits the data.

    Few-shot is for an encoder whose vectors can be compared, with a head that has learned nothing, and at most 64
    records of each class, or 256 in all of which each has one class; or for whatever model can do it, if it is asked
    for. Tags of tokens need no such vectors.

    Raises:
        LightAdaptError: few-shot was asked for, and this task or model cannot do it.
    """
    if asked == STANDARD.name:
        return STANDARD
    reason = _why_not_few_shot(runner, learned)
    if asked == FEW_SHOT.name:
        if reason:
            raise LightAdaptError(f"recipe='few-shot': {reason}. Leave recipe out, or write recipe='standard'.")
        return _for(learned)
    if reason or not runner.adaptation.head.is_fresh or (runner.pooling is None and not is_of_tags(learned)):
        return STANDARD
    return _for(learned) if _are_few(learned) else STANDARD


def _are_few(learned: Prepared) -> bool:
    """Whether there are few records of each class, or in all where each has one class."""
    assert isinstance(learned.task, LabelledTask)
    counts = Counter(label for own in learned.task.classes_of(learned.examples) for label in own)
    few_in_all = type(learned.task) is Classification and 0 < len(learned.examples) <= FEW_IN_ALL
    return few_in_all or max(counts.values(), default=FEW + 1) <= FEW


def is_of_tags(learned: Prepared) -> bool:
    """Whether tokens are to be tagged."""
    return type(learned.task) is NER


def _for(learned: Prepared) -> Recipe:
    """The recipe with as many steps as there is to learn: more records of a class bear more passes."""
    if is_of_tags(learned):
        return FEW_TAGS
    if not _are_few(learned):
        return FEW_SHOT_OF_MANY
    records_a_class = len(learned.examples) / len(learned.view.outputs)
    return replace(FEW_SHOT, steps_wanted=max(FEW_SHOT.steps_wanted, round(STEPS_A_RECORD * records_a_class)))


def first_recipe(runner: Runner, learned: Prepared, asked: str | None) -> Recipe:
    """The recipe for a model that is to learn more classes later: few-shot wherever it suits the model.

    However many records there are, rows that are prototypes take new ones beside them best.

    Raises:
        LightAdaptError: few-shot was asked for, and this task or model cannot do it.
    """
    by_vectors = runner.pooling is not None and type(learned.task) is Classification
    suits = asked is None and by_vectors and not _why_not_few_shot(runner, learned)
    return FEW_SHOT if suits else choose_recipe(runner, learned, asked)


def _why_not_few_shot(runner: Runner, learned: Prepared) -> str:
    """Why the recipe for few records cannot be had; empty where it can."""
    if type(learned.task) not in (Classification, MultiLabel, NER):
        return f"it is for tasks 'classification', 'multilabel' and 'ner', not {learned.task.name!r}"
    if runner.family != "encoder":
        return f"it is for encoders, and {runner.adaptation.design.blueprint.source.name} is a {runner.family}"
    if is_of_tags(learned):
        return "" if runner.adaptation.head.is_fresh else "the head has learned something already"
    if any(example.text_pair is not None for example in learned.examples):
        return "it is for single texts, and these records hold pairs"
    if isinstance(learned.task, MultiLabel) and (reason := _why_no_shares(learned, learned.task)):
        return reason
    if not runner.adaptation.head.reads_hidden_states:
        return f"the head of {type(runner.model).__name__} has no output layer on hidden states"
    if runner.adaptation.head.prototypes is None and not runner.adaptation.head.is_fresh:
        return "the head has learned something already"
    return ""


def _why_no_shares(learned: Prepared, task: MultiLabel) -> str:
    """Why texts cannot be shared out among the labels; empty where they can."""
    if task.class_weights is not None or task.label_smoothing:
        return "it knows no class_weights and no label_smoothing where several labels may hold"
    if len(learned.view.outputs) < LEAST_LABELS:
        return f"it shares a text out among at least {LEAST_LABELS} labels, and there are {len(learned.view.outputs)}"
    if not all(example.label for example in learned.examples):
        return "it shares a text out among its labels, and there are records without any"
    return ""


@dataclass(frozen=True)
class Start:
    """Where prototypes start, and how far that is to be trusted.

    Attributes:
        rows: one for each output, `(K, width)`.
        by_meaning: whether what the labels mean says more of them than their records do. Then the rows stay, and the
            adapter is led to them gently: as few records would lead astray from what is known better.
    """

    rows: np.ndarray
    by_meaning: bool


def find_start(runner: Runner, learned: Prepared) -> Start | None:
    """For each output the mean direction of its examples, and as much of what it means as is of use; None for tags.

    How much that is, is what tells the examples apart best when each is left out of the mean of its class. What all
    meanings have in common is left out: it would bring all rows closer together, which looks like use where the means
    of classes are of none.
    """
    if is_of_tags(learned):
        return None
    if isinstance(learned.task, MultiLabel):
        return _start_of_several(runner, learned)
    names = learned.view.outputs
    places = np.array([names.index(str(example.label)) for example in learned.examples])
    vectors = vectors_of(runner, learned.examples, task=learned.task)
    meant = _vectors_of_meanings(runner, learned)
    meant = meant - meant.mean(0)
    sums = np.stack([vectors[places == place].sum(0) for place in range(len(names))])
    losses = {
        weight: round(_left_out_loss(vectors, places, sums, weight * meant), 4)  # of equal ones the first is taken
        for weight in WEIGHTS_OF_MEANINGS
    }
    weight = min(losses, key=losses.__getitem__)
    rows = of_length_one(of_length_one(sums) + weight * meant)
    return Start(rows, by_meaning=weight >= 1 and _are_few(learned))


def _start_of_several(runner: Runner, learned: Prepared) -> Start:
    """For each output the mean direction of its examples, of which each has its share, and what it means beside it."""
    names = learned.view.outputs
    shares = np.zeros((len(learned.examples), len(names)), dtype=np.float32)
    for row, example in zip(shares, learned.examples, strict=True):
        row[[names.index(str(label)) for label in example.label]] = 1 / max(len(example.label), 1)
    vectors = vectors_of(runner, learned.examples, task=learned.task)
    meant = _vectors_of_meanings(runner, learned)
    return Start(of_length_one(of_length_one(shares.T @ vectors) + meant - meant.mean(0)), by_meaning=False)


def _vectors_of_meanings(runner: Runner, learned: Prepared) -> np.ndarray:
    """`(K, width)`: vectors of length one of what each output means; zeros where it is a mere number."""
    task, outputs = learned.task, learned.view.outputs
    assert isinstance(task, (Classification, MultiLabel))
    meanings = [
        () if name.isdigit() and name not in (task.descriptions or {}) else wordings
        for name, wordings in zip(outputs, task.meanings_of(outputs), strict=True)
    ]
    width = runner.model.config.get_text_config().hidden_size
    return vectors_of_meanings(meanings, lambda texts: vectors_of(runner, texts, task=task), width)


def _left_out_loss(vectors: np.ndarray, places: np.ndarray, sums: np.ndarray, added: np.ndarray) -> float:
    """The cross entropy of examples `(N, width)`, each left out of the sum of its class, by prototypes with `added`.

    Args:
        places: the class of each example, `(N,)`.
        sums: of the vectors of each class, `(K, width)`.
        added: to the direction of each sum, `(K, width)`.
    """
    logits = SCALE * vectors @ of_length_one(of_length_one(sums) + added).T  # (N, K)
    without = of_length_one(of_length_one(sums[places] - vectors) + added[places])
    logits[np.arange(len(places)), places] = SCALE * (vectors * without).sum(1)
    logits -= logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(places)), places]).mean())


def take_start(runner: Runner, start: Start) -> None:
    """Let the rows of a fresh head be prototypes, which start there."""
    runner.adaptation.read_as_prototypes(runner.pooling or "mean")
    runner.adaptation.head.start_rows_at(start.rows)


def few_shot_objective(learned: Prepared, start: Start | None) -> Objective | None:
    """The loss to train with; None: the model's own."""
    task = learned.task
    if not isinstance(task, Classification):
        return task.objective(learned.examples, learned.view)
    contrast = 0.0 if start is not None and start.by_meaning else 1.0
    return contrasting(task.weights(learned.examples, learned.view), task.label_smoothing, contrast)


def few_shot_rates(method: Method, start: Start | None) -> tuple[float, float]:
    """Learning rate of the method, and of the head, whose rows start where they are to be, however many they are."""
    if start is not None and start.by_meaning:
        return GENTLE * method.learning_rate, 0.0
    return method.learning_rate, method.head_learning_rate
