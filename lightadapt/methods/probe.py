"""The head alone, on a frozen backbone: the cheapest method, and a baseline."""

from dataclasses import dataclass
from typing import ClassVar

from lightadapt.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class Probe(Method):
    """Nothing of the backbone is trained.

    >>> Probe().settings()
    {}
    """

    name: ClassVar[str] = "probe"
    learning_rate: ClassVar[float] = 5e-3
