"""One of our metrics behind the interface of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import evaluate

from lightadapt.errors import LightAdaptError
from lightadapt.metrics.layouts import LAYOUTS


class EvaluateMetric(evaluate.Metric):
    """A metric that collects records, in memory, and gives them to one function of ours.

    Args:
        name: its name in `evaluate.combine`.
        layout: a key of `LAYOUTS`.
        score: takes the references and the predictions.
    """

    def __init__(self, name: str, layout: str, score: Callable[[Any, Any], dict[str, float]]) -> None:
        self._layout, self._score = LAYOUTS[layout], score
        super().__init__(keep_in_memory=True)
        self.info.module_name = name  # evaluate has taken the name of the class, which all of ours share

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="One of the metrics of lightadapt.", citation="", features=self._layout.features
        )

    def _build_data_dir(self) -> str:
        """No folder: evaluate would make one in the user's cache, although all is kept in memory."""
        return ""

    def add(self, *, prediction: Any = None, reference: Any = None, **plural: Any) -> None:
        """Keep one record; `evaluate.combine` names it in the plural."""
        super().add(
            prediction=self._layout.read_prediction(plural.get("predictions", prediction)),
            reference=self._layout.read_reference(plural.get("references", reference)),
        )

    def add_batch(self, *, predictions: Iterable[Any] | None = None, references: Iterable[Any] | None = None) -> None:
        """Keep several records."""
        if predictions is None or references is None:
            raise LightAdaptError(f"{self.name} needs predictions and references. Give both.")
        super().add_batch(
            predictions=[self._layout.read_prediction(given) for given in predictions],
            references=[self._layout.read_reference(given) for given in references],
        )

    def _compute(self, *, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        return self._score(references, predictions)
