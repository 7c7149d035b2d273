"""What is kept of the data of a training, so that later texts can be compared with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.training_summary import TrainingSummary
from lightadapt.adaptation.vectors import base_learned, base_vectors
from lightadapt.errors import warn
from lightadapt.machine.processes import is_sharded
from lightadapt.stream.unknown import learn_known
from lightadapt.tasks import LabelledTask

LEAST = 50
"""Records below which nothing is kept: chance and change could not be told apart."""
MOST = 1_000
"""Records of which vectors are kept."""
FEWEST = 200
"""Records that are embedded also where a run was short."""
PART = 20
"""Vectors are kept of one record for so many that the run went through, so that they cost a small part of its time."""
ENOUGH = 100
"""Held-out records from which the shares of labels are those of their predictions, which err as later ones do."""
COUNTED = 10_000
"""Records whose labels are counted."""


def keep_summary(runner: Runner, examples: Sequence[Any], held_out: Sequence[Any] | None) -> None:
    """Put the summary of a run that has ended beside what else is known of it; where it cannot be made, warn.

    Args:
        examples: what was learned.
        held_out: what was scored on; None: nothing was.
    """
    if len(examples) >= LEAST:
        keep_made(runner, "fit", lambda: summarize(runner, examples, held_out))


def keep_made(runner: Runner, call: str, make: Callable[[], TrainingSummary]) -> None:
    """Put a summary that is made now beside what else is known of the last run; where it cannot be made, warn.

    Args:
        call: what has run, and takes `summary=False`.
    """
    if is_sharded(runner.model):
        return
    try:
        summary = make()
    except Exception as error:  # a training of hours is not to be lost by what only describes it
        warn(
            f"No summary of the training data is kept ({type(error).__name__}: {str(error)[:200]}). drift(…) will need "
            f"reference=…; {call}(…, summary=False) leaves this out."
        )
        return
    runner.last_run = replace(runner.last_run, summary=summary)


def summarize(runner: Runner, examples: Sequence[Any], held_out: Sequence[Any] | None) -> TrainingSummary:
    """The summary of these examples, which the adaptation has learned.

    Their vectors are those of the base without the adapter. Adapted ones of what was learned by heart differ from those
    of other texts from the same source, which would look like a change.
    """
    history = runner.last_run.history
    gone_through = len(examples) * (1.0 if history is None else history.passes)
    rng = np.random.default_rng(runner.adaptation.design.seed)
    sample = drawn(examples, min(MOST, max(FEWEST, round(gone_through / PART))), rng)
    unseen = None if held_out is None else drawn(held_out, max(ENOUGH, len(sample) // 2), rng)
    predictions = None if unseen is None or not knows_labels(runner) else predictions_of(runner, unseen)
    counted = drawn(examples, COUNTED, rng)
    if predictions is not None and unseen is not None and len(unseen) >= ENOUGH:
        counts, of = count_labels(predicted_labels(runner, unseen, predictions)), len(unseen)
    elif knows_labels(runner):
        assert isinstance(runner.task, LabelledTask)
        counts = count_labels(set(map(str, each)) for each in runner.task.classes_of(counted))
        of = len(counted)
    else:
        counts, of = Counter(), 0
    vectors = base_vectors(runner, sample)
    return TrainingSummary(
        vectors, not base_learned(runner), counts, of, learn_known(runner, sample, vectors, unseen, predictions)
    )


def summarize_data(runner: Runner, examples: Sequence[Any]) -> TrainingSummary:
    """The summary of data to compare with, which the adaptation did not learn, as it would answer it."""
    rng = np.random.default_rng(runner.adaptation.design.seed)
    sample, counts, counted = drawn(examples, MOST, rng), Counter[str](), 0
    if knows_labels(runner):
        counts, counted = count_labels(predicted_labels(runner, sample, predictions_of(runner, sample))), len(sample)
    return TrainingSummary(base_vectors(runner, sample), True, counts, counted)


def knows_labels(runner: Runner) -> bool:
    """Whether its predictions have labels that were learned."""
    learned = not runner.adaptation.head.is_untouched
    return isinstance(runner.task, LabelledTask) and runner.task.ready and learned


def drawn(examples: Sequence[Any], most: int, rng: np.random.Generator) -> list[Any]:
    """At most so many of the examples, drawn by chance, in their order."""
    if len(examples) <= most:
        return list(examples)
    return [examples[place] for place in sorted(map(int, rng.choice(len(examples), most, replace=False)))]


def predictions_of(runner: Runner, examples: Sequence[Any]) -> list[Any]:
    """What the adaptation predicts, without the warnings that its examples have had before."""
    features = runner.task.encode(examples, runner.view, targets=False).features
    for feature in features:
        if "token_type_ids" not in runner.accepted:
            feature.inputs.pop("token_type_ids", None)
    return runner.decode(examples, features)


def predicted_labels(runner: Runner, examples: Sequence[Any], predictions: Sequence[Any]) -> list[set[str]]:
    """The labels of each prediction: its class, its labels, or those of its entities."""
    found = []
    for example, prediction in zip(examples, predictions, strict=True):
        answer = runner.task.present(example, prediction, scores=False)
        parts = answer if isinstance(answer, list) else [answer]
        found.append({str(each["label"] if isinstance(each, Mapping) else each) for each in parts})
    return found


def count_labels(labels: Iterable[set[str]]) -> Counter[str]:
    """How many texts have each label."""
    return Counter(label for each in labels for label in each)
