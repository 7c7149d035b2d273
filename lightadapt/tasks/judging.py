"""How the predictions of a task for labelled examples are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from lightadapt.metrics import Confusion, LabelConfusion, Report, Rescored, Tally
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.fitted import Fitted


class Judging(ABC):
    """The part of a task that needs answers: scores, what is wrong with a prediction, what probabilities are worth.

    A task has to have `score`; the rest follows from it as well as it can.
    """

    headline: ClassVar[str]
    """The metric that early stopping and the choice of the best weights go by."""
    greater_is_better: ClassVar[bool] = True
    """Whether more of it is better."""
    fitted: Fitted

    @abstractmethod
    def present(self, example: Any, prediction: Any, *, scores: bool) -> Any:
        """A prediction as the user sees it; `scores` asks for the probability of each answer, where there are any."""

    @abstractmethod
    def score(self, examples: Sequence[Any], predictions: Sequence[Any]) -> tuple[dict[str, float], Report]:
        """The metrics, headline first, and the report per class."""

    def tally(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Tally:
        """What the metrics of `score` need to know of each record; by default each choice of them is scored anew."""
        return Rescored(lambda *sides: self.score(*sides)[0], examples, predictions)

    def guesses(self, examples: Sequence[Any]) -> list[Any] | None:
        """The best predictions for labelled examples that need no text, the same for all; None where there are none."""
        return None

    def remarks(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[str]:
        """What has to be said of predictions for labelled examples, a sentence each; nothing where they are usual."""
        return []

    def judge(self, example: Any, prediction: Any) -> Judgement | None:
        """What is wrong with a prediction, None for a right one; by default the headline of this record alone tells."""
        value = self.score([example], [prediction])[0].get(self.headline, 0.0)
        rank = (-value if self.greater_is_better else value,)
        return Judgement(self.present(example, prediction, scores=False), rank=rank, measures={self.headline: value})

    def confusion_of(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Confusion | LabelConfusion | None:
        """Which classes are taken for which; None for a task without classes."""
        return None

    def certainties(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[tuple[float, bool]]:
        """The probability of each answer, and whether it is right; none for a task that gives no probabilities."""
        return []

    def values_of(self, examples: Sequence[Any], predictions: Sequence[Any]) -> list[tuple[float, float]]:
        """The true number and the predicted one of each record; none for a task that predicts no numbers."""
        return []

    # ---- probabilities that are right as often as they say

    def temperature_for(self, examples: Sequence[Any], predictions: Sequence[Any]) -> float | None:
        """The temperature that suits predictions for labelled examples; None for a task whose answers have none."""
        return None

    def tempered(self, predictions: Sequence[Any], temperature: float) -> list[Any]:
        """Predictions with probabilities of another temperature, and the same answers."""
        return list(predictions)

    def calibrated(self, predictions: list[Any]) -> list[Any]:
        """Predictions from raw probabilities, with those of the temperature that was found."""
        temperature = self.fitted.temperature
        return predictions if temperature is None else self.tempered(predictions, temperature)
