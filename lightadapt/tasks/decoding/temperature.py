"""Probabilities that say how often they are right: one number, the temperature, by which their logits are divided.

Guo et al., 2017 (arxiv.org/abs/1706.04599). The order of the answers of a record stays as it is, and with it what is
predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
"""Between these the temperature is looked for."""
SMALLEST = 1e-300
"""Stands for a probability of 0, which has no logarithm."""


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities `(…, K)` as if their logits had been divided: `p^(1/T)`, divided by the sum over the K.

    >>> temper(np.array([0.9, 0.1]), 2.0).round(2).tolist()
    [0.75, 0.25]
    """
    logs = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    shares = np.exp(logs - logs.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)  # type: ignore[no-any-return]


def temper_each(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities that hold or not each by itself, of any shape: those of odds to the power of 1 / T."""
    return temper(np.stack([probabilities, 1 - probabilities], axis=-1), temperature)[..., 0]  # type: ignore[no-any-return]


def find_temperature(probabilities: Sequence[np.ndarray], right: Sequence[int]) -> float:
    """The temperature with which the right answers are likeliest.

    The target of each record is 1 less ε for the right answer, with ε = 1 / (N + 2) shared by all answers (Platt,
    1999): where all N answers are right, likelihood alone would make each of them certain.

    Args:
        probabilities: `(K,)` of each of N records, whose K may differ.
        right: the number of the right answer of each.
    """
    most, count = max(map(len, probabilities)), len(probabilities)
    logs, there = np.full((count, most), np.log(SMALLEST)), np.zeros((count, most), dtype=bool)
    for row, values in enumerate(probabilities):
        logs[row, : len(values)] = np.log(np.maximum(values, SMALLEST))
        there[row, : len(values)] = True
    spread = 1 / (count + 2)
    targets = there * spread / there.sum(1, keepdims=True)
    targets[np.arange(count), list(right)] += 1 - spread

    def loss(temperature: float) -> float:
        scaled = np.where(there, logs / temperature, -np.inf)
        top = scaled.max(1, keepdims=True)
        total = top + np.log(np.exp(scaled - top).sum(1, keepdims=True))
        return float((targets * np.where(there, total - scaled, 0.0)).sum() / count)

    return _lowest(loss)


def find_temperature_of_each(probabilities: Sequence[float], held: Sequence[bool]) -> float:
    """As `find_temperature`, of answers that hold or not each by itself."""
    return find_temperature([np.array([p, 1 - p]) for p in probabilities], [0 if one else 1 for one in held])


def find_power(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The power T that makes scores likeliest where nothing is known but the score of the answer itself.

    `score^T` leaves 0 and 1 where they are and has no middle, unlike odds: of many answers, the best may well have less
    than one half. The targets are as in `find_temperature`.
    """
    logs, spread = np.log(np.clip(scores, SMALLEST, 1 - 1e-12)), 1 / (len(scores) + 2)
    targets = np.where(right, 1 - spread / 2, spread / 2)

    def loss(power: float) -> float:
        raised = power * logs
        return float(-(targets * raised + (1 - targets) * np.log(-np.expm1(raised))).mean())

    return _lowest(loss)


def _lowest(loss: Callable[[float], float]) -> float:
    """The temperature at which a loss is lowest."""
    from scipy.optimize import minimize_scalar

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=bounds, method="bounded")
    return float(np.exp(found.x))
