"""What a search tries: settings and their ranges, some of them for one method alone, and how Optuna knows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightadapt.methods import Method
from lightadapt.methods.ranges import Choice, Range, Span

if TYPE_CHECKING:
    import optuna

RATE_FACTOR = 5.0
"""A learning rate is tried up to so many times above and below its default."""
LONGER = 2.0
"""Epochs and tokens of a batch are tried up to so many times above and below theirs."""
UNEVEN = 3
"""Classes are uneven when the largest has so many times the records of the smallest."""


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched."""

    key: str
    """As the user names it, such as `method.rank` or `epochs`."""
    range: Range
    method: str | None = None
    """The method that it belongs to, by its name in the search; None: to all."""

    @property
    def name(self) -> str:
        """What Optuna knows it by: the same setting of two methods is two parameters."""
        return self.key if self.method is None else f"{self.method}: {self.key}"

    @property
    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The range as Optuna has it; choices are written as JSON, which any storage keeps."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if isinstance(self.range, Choice):
            return CategoricalDistribution([json.dumps(value) for value in self.range.values])
        if self.range.whole:
            return IntDistribution(int(self.range.low), int(self.range.high), log=self.range.log)
        return FloatDistribution(self.range.low, self.range.high, log=self.range.log)

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value for a trial."""
        if isinstance(self.range, Choice):
            return self.decode(trial.suggest_categorical(self.name, [json.dumps(value) for value in self.range.values]))
        if self.range.whole:
            return trial.suggest_int(self.name, int(self.range.low), int(self.range.high), log=self.range.log)
        return trial.suggest_float(self.name, self.range.low, self.range.high, log=self.range.log)

    def encode(self, value: Any) -> Any:
        """A value as Optuna has it."""
        return json.dumps(value) if isinstance(self.range, Choice) else value

    def decode(self, value: Any) -> Any:
        """A value of Optuna as it is."""
        return json.loads(value) if isinstance(self.range, Choice) else value


@dataclass(frozen=True)
class Space:
    """All that is searched."""

    methods: Mapping[str, Method]
    """By the names that they have in the search; the first is the default."""
    dimensions: tuple[Dimension, ...]

    @property
    def default(self) -> str:
        """The name of the default method."""
        return next(iter(self.methods))

    def of(self, method: str) -> list[Dimension]:
        """The settings that a trial with this method has."""
        return [each for each in self.dimensions if each.method in (None, method)]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The settings of a trial, by the names that users write."""
        names = list(self.methods)
        method = trial.suggest_categorical("method", names) if len(names) > 1 else names[0]
        return {"method": method, **{each.key: each.suggest(trial) for each in self.of(method)}}

    def place(
        self, settings: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, optuna.distributions.BaseDistribution]]:
        """Settings as parameters of Optuna, with their ranges; what is out of its range is left out."""
        from optuna.distributions import CategoricalDistribution

        method, names = settings["method"], list(self.methods)
        inside = [each for each in self.of(method) if each.key in settings and settings[each.key] in each.range]
        params = {each.name: each.encode(settings[each.key]) for each in inside}
        distributions = {each.name: each.distribution for each in inside}
        if len(names) > 1:
            params, distributions = {"method": method, **params}, {"method": CategoricalDistribution(names)}
            distributions |= {each.name: each.distribution for each in inside}
        return params, distributions

    def method_of(self, settings: Mapping[str, Any]) -> Method:
        """The method object of a trial."""
        fields = {key.removeprefix("method."): value for key, value in settings.items() if key.startswith("method.")}
        return replace(self.methods[settings["method"]], **fields)


@dataclass(frozen=True)
class Found:
    """What the default trial was: the middle of the ranges."""

    recipe: str
    epochs: float
    learning_rate: float
    head_learning_rate: float
    batch_tokens: int
    learns_head: bool

    @property
    def settings(self) -> dict[str, Any]:
        """As `fit` takes them."""
        rates = {"learning_rate": self.learning_rate}
        rates |= {"head_learning_rate": self.head_learning_rate} if self.learns_head and self.head_learning_rate else {}
        epochs = int(self.epochs) if self.epochs == int(self.epochs) else self.epochs
        return {"epochs": epochs, **rates, "batch_tokens": self.batch_tokens}


def make_space(
    methods: Mapping[str, Method],
    asked: Mapping[str, Range],
    found: Found,
    *,
    uneven: bool,
    refuses: Callable[[Method], str],
) -> Space:
    """What is searched: what the user asked for, and by default what methods declare and what suits the data.

    Args:
        methods: by name, the default one first.
        asked: ranges by the names that users write; they go before the default ones.
        found: the default trial.
        uneven: whether weights of classes are tried.
        refuses: why the model cannot be adapted by a method; empty where it can.
    """
    dimensions: list[Dimension] = []
    for name, method in methods.items():
        ranges = _ranges_of(method, found if name == next(iter(methods)) else None, refuses)
        known = {f"method.{field}" for field in vars(method)}
        ranges |= {key: each for key, each in asked.items() if key in known}
        if "learning_rate" in asked:
            ranges.pop("learning_rate", None)
        dimensions += [Dimension(key, each, name) for key, each in ranges.items()]
    shared = _shared(found, uneven=uneven) | {key: each for key, each in asked.items() if "method" not in key}
    dimensions += [Dimension(key, each) for key, each in shared.items()]
    return Space(methods, tuple(dimensions))


def _ranges_of(method: Method, found: Found | None, refuses: Callable[[Method], str]) -> dict[str, Range]:
    """What a method declares, with its default in it, and its learning rate."""
    rate = method.learning_rate if found is None else found.learning_rate
    ranges: dict[str, Range] = {"learning_rate": Span(rate / RATE_FACTOR, rate * RATE_FACTOR, log=True)}
    for field, each in method.search.items():
        value = getattr(method, field)
        value = list(value) if isinstance(value, tuple) else value
        if isinstance(each, Choice):
            others = [other for other in each.values if other != value]
            each = Choice(value, *(other for other in others if not refuses(replace(method, **{field: other}))))
        ranges[f"method.{field}"] = each
    return ranges


def _shared(found: Found, *, uneven: bool) -> dict[str, Range]:
    """What is searched whatever the method."""
    ranges: dict[str, Range] = {}
    values = found.settings
    if "head_learning_rate" in values:
        rate = values["head_learning_rate"]
        ranges["head_learning_rate"] = Span(rate / RATE_FACTOR, rate * RATE_FACTOR, log=True)
    epochs, whole = values["epochs"], isinstance(values["epochs"], int)
    low, high = epochs / LONGER, epochs * LONGER
    ranges["epochs"] = Span(max(1, round(low)), round(high), True, True) if whole else Span(low, high, log=True)
    tokens = found.batch_tokens
    ranges["batch_tokens"] = Choice(max(1, round(tokens / LONGER)), tokens, round(tokens * LONGER))
    if uneven:
        ranges["task.class_weights"] = Choice(None, "balanced")
    return ranges
