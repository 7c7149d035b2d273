"""Classes told apart by what is known of their vectors: their means, and how vectors lie around them.

With the vectors of a class c around its mean m_c, and one covariance S of all classes, the most probable class of a
vector v is the one with the largest w_c v + b_c, where w_c = S^-1 m_c and b_c = -w_c m_c / 2: Fisher's linear
discriminant. Means and covariance can be added to class by class without a former record, and give the same as if all
had come at once (Hayes and Kanan 2020, "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lightadapt.adaptation.past import Past
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.data import Records
from lightadapt.heads.apart import FAR, nearest_apart
from lightadapt.heads.pooling import of_length_one

NEVER = -1e3
"""The bias of an output of which nothing is known."""
Statistics = dict[str, np.ndarray]
"""`counts` `(K,)`, `means` `(K, width)` and `scatter` `(width, width)`."""


def statistics_of(vectors: np.ndarray, places: np.ndarray, outputs: int) -> Statistics:
    """What is known of the outputs from these vectors `(N, width)`, each of the output at its place `(N,)`."""
    counts = np.bincount(places, minlength=outputs).astype(np.float64)
    sums = np.zeros((outputs, vectors.shape[1]))
    np.add.at(sums, places, vectors)
    means = sums / np.maximum(counts, 1)[:, None]
    rest = vectors - means[places]
    return {"counts": counts, "means": means, "scatter": rest.T @ rest}


def spread(known: Statistics, before: Sequence[str], after: Sequence[str]) -> Statistics:
    """What is known of some outputs, for a head that has them and others in this order."""
    places = [list(after).index(name) for name in before]
    counts, means = np.zeros(len(after)), np.zeros((len(after), known["means"].shape[1]))
    counts[places], means[places] = known["counts"], known["means"]
    return {**known, "counts": counts, "means": means}


def joined(one: Statistics, other: Statistics) -> Statistics:
    """What is known of the same outputs from both, as if from the vectors of both."""
    before = one["counts"]
    counts = before + other["counts"]
    share = other["counts"] / np.maximum(counts, 1)
    apart = other["means"] - one["means"]
    between = (before * share)[:, None] * apart
    return {
        "counts": counts,
        "means": one["means"] + share[:, None] * apart,
        "scatter": one["scatter"] + other["scatter"] + between.T @ apart,
    }


def discriminants(known: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """The rows `(K, width)` and the biases `(K,)` that tell the outputs apart, all of which are as frequent.

    With few vectors the covariance is mostly chance, so it is moved towards that of vectors which lie alike in all
    directions, by as much as there are directions for each vector (after Ledoit and Wolf 2004). What rows and biases
    give is made as sure as `FAR` says, which leaves the most probable class as it is.
    """
    width, records = len(known["scatter"]), max(float(known["counts"].sum()), 1.0)
    covariance = known["scatter"] / records
    usual = max(float(np.trace(covariance)) / width, 1e-6)
    rows = np.linalg.solve(covariance + width / records * usual * np.eye(width), known["means"].T).T
    biases = -0.5 * (rows * known["means"]).sum(1)
    there = known["counts"] > 0
    calm = min(1.0, FAR / max(nearest_apart(rows[there], known["means"][there]), 1e-12))
    return calm * rows, np.where(there, calm * biases, NEVER)


def known_before(runner: Runner, past: Past) -> Statistics:
    """What is known of the classes that there are.

    Where it was not noted, it is taken from records of the last `fit` and from those that are kept, and the mean of a
    class without any is taken to lie where its row points.
    """
    if past.statistics:
        return {name: each.double().numpy() for name, each in past.statistics.items()}
    task, outputs = runner.task, list(runner.outputs)
    items = [*past.seen, *(each.record for each in past.memory)]
    rows = runner.adaptation.head.prototypes
    assert rows is not None
    width = rows.rows.shape[1]
    found: Statistics = {
        "counts": np.zeros(len(outputs)),
        "means": np.zeros((len(outputs), width)),
        "scatter": np.zeros((width, width)),
    }
    if items:
        found = of_examples(runner, task.parse(Records(items, source="records kept")), outputs)
    lacking = found["counts"] == 0
    if lacking.any() and not rows.linear:
        lengths = np.linalg.norm(found["means"][~lacking], axis=1)
        length = float(lengths.mean()) if len(lengths) else USUAL_LENGTH
        found["means"][lacking] = length * of_length_one(rows.rows.detach().cpu().double().numpy()[lacking])
        found["counts"][lacking] = 1
    return found


USUAL_LENGTH = 0.7
"""Of the mean of the vectors of a class, each of length one."""


def of_examples(runner: Runner, examples: Sequence[Any], outputs: Sequence[str]) -> Statistics:
    """What is known from labelled examples."""
    places = np.array([outputs.index(str(example.label)) for example in examples])
    return statistics_of(vectors_of(runner, examples), places, len(outputs))


def read_discriminants(runner: Runner, known: Statistics) -> dict[str, torch.Tensor]:
    """Let the head tell its outputs apart by what is known of them, and give that back as it is kept."""
    adaptation = runner.adaptation
    adaptation.read_as_discriminants()
    head = adaptation.head.prototypes
    assert head is not None
    rows, biases = discriminants(known)
    with torch.no_grad():
        head.rows.copy_(torch.as_tensor(rows))
        if head.linear:
            head.biases.copy_(torch.as_tensor(biases))
    adaptation.head.mark_learned()
    return {name: torch.as_tensor(each, dtype=torch.float32) for name, each in known.items()}
