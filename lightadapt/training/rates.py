"""The learning rates that a run takes by default: of the method, and of the head by what it has to learn."""

from __future__ import annotations

import math

from lightadapt.adaptation.runner import Prepared, Runner

MANY_OUTPUTS = 64
"""From so many classes on the head's rate is the method's `head_learning_rate`."""
USUAL_WIDTH = 384
"""Numbers that an output reads, up to which that rate holds."""


def usual_rates(runner: Runner, learned: Prepared) -> tuple[float, float]:
    """The learning rate of the method, and of the head.

    Where a record has one answer, the head's rate is `head_learning_rate` sqrt(K / 64) for K outputs up to 64: rows
    that are seldom the answer have few steps to learn in, and few rows would know the training records by heart before
    the method has changed anything. Where an output reads more than 384 numbers, the rate is divided by how many times
    as many they are: so much more a step of Adam changes the output (Yang et al. 2022, "Tensor Programs V", table 3).
    docs/rates.md has the measurements.
    """
    method, head = runner.adaptation.design.method, runner.adaptation.head
    few = min(1.0, math.sqrt(max(1, len(learned.view.outputs)) / MANY_OUTPUTS)) if learned.task.one_answer else 1.0
    return method.learning_rate, method.head_learning_rate * few * min(1.0, USUAL_WIDTH / head.input_width)
