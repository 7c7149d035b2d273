"""What `evaluate` returns: the metrics, and on demand what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isclose, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.data import Records
from lightadapt.display.figures import check_path, finish
from lightadapt.errors import LightAdaptError
from lightadapt.evaluation.groups import Groups, groups_of
from lightadapt.evaluation.intervals import USUAL, Interval, intervals_of
from lightadapt.evaluation.lines import as_lines
from lightadapt.evaluation.mistakes import Mistakes
from lightadapt.metrics import (
    ClassReport,
    Confusion,
    LabelConfusion,
    Rescored,
    Tally,
    expected_calibration_error,
)
from lightadapt.numbers import check_whole
from lightadapt.tasks import Task
from lightadapt.tasks.decoding.judgement import Judgement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightadapt.evaluation.difference import Difference


@dataclass(frozen=True)
class Evidence:
    """What metrics were computed from."""

    task: Task
    records: Records
    examples: Sequence[Any]
    predictions: Sequence[Any]

    @cached_property
    def groups(self) -> Groups:
        """Which records belong together."""
        return groups_of(self.records, self.task)

    def tally(self, scores: Mapping[str, float]) -> Tally:
        """What gives these metrics for any choice of the records.

        Where the task counts something else than it scores, as one that derives from another may, all is scored anew.
        """
        found = self.task.tally(self.examples, self.predictions)
        whole = found.whole()
        if all(isclose(whole.get(name, nan), value, rel_tol=1e-6, abs_tol=1e-9) for name, value in scores.items()):
            return found
        return Rescored(lambda *sides: self.task.score(*sides)[0], self.examples, self.predictions)

    @property
    def right(self) -> list[bool]:
        """Whether each prediction is right."""
        pairs = zip(self.examples, self.predictions, strict=True)
        return [self.task.judge(example, prediction) is None for example, prediction in pairs]

    def calibration_error(self, *, raw: bool = False) -> float | None:
        """The expected calibration error of the probabilities; None where the task gives none.

        Args:
            raw: of those from before a temperature was found.
        """
        temperature, predictions = self.task.fitted.temperature, self.predictions
        if raw and temperature is not None:
            predictions = self.task.tempered(predictions, 1 / temperature)
        certainties = self.task.certainties(self.examples, predictions)
        if not certainties:
            return None
        confidences, right = zip(*certainties, strict=True)
        return expected_calibration_error(confidences, right)

    def __getstate__(self) -> dict[str, Any]:
        """With what lies in files of this process in memory."""
        return {
            **vars(self),
            "records": replace(self.records, items=list(self.records.items)),
            "examples": list(self.examples),
        }


class Scores(dict[str, float]):
    """The metrics of an evaluation, the headline first: a dict, and what they are made of.

    The object keeps the records and predictions, and computes the rest from them when it is asked for, without the
    model. It can be pickled with all of that; as JSON it is the numbers, and so is `dict(scores)`.
    """

    before: Scores | None = None
    """What it was before anything was learned, where `evaluate(…, before=True)` asked for it."""
    before_by: str = ""
    """What gave the scores before, in words."""
    gain: Difference | None = None
    """The difference to before, with its interval; it prints as a sentence."""

    def __init__(
        self,
        scores: Mapping[str, float],
        report: Mapping[str, dict[str, float]],
        evidence: Evidence,
        *,
        confidence: float = USUAL,
    ) -> None:
        super().__init__(scores)
        self._report = ClassReport(report)
        self._evidence = evidence
        self._confidence = confidence

    @property
    def confidence(self) -> float:
        """The share of intervals that hold the true value."""
        return self._confidence

    @property
    def task(self) -> Task:
        """The task that was evaluated."""
        return self._evidence.task

    @property
    def evidence(self) -> Evidence:
        """The records and predictions that the metrics were computed from."""
        return self._evidence

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """An interval `(low, high, confidence)` for each metric: what it would be on other records of the same kind.

        By the bootstrap (BCa; Efron 1987), with the same draws each time. Where records come in documents, documents
        are drawn, as their records resemble each other: by a field `document_id`, `doc_id`, `document` or `article_id`,
        by `-DOCSTART-` in a CoNLL file, by what holds several records (an article of SQuAD), of questions by `title` or
        `context`, and of choices by `context`. That needs ten documents at least; else records are drawn.

        An interval tells of the records alone. It says nothing of how scores differ from one training to the next, or
        of texts of another kind. Empty for a single record.
        """
        given = self._evidence
        if given.groups.size < 2:
            return {}
        return intervals_of(given.tally(self), given.groups, self, self._confidence)

    @cached_property
    def calibration_error(self) -> float | None:
        """How far probabilities are from how often they are right, 0 to 1 (Naeini et al. 2015).

        Of entities it is that of their scores. None for a task that gives no probabilities.
        """
        return self._evidence.calibration_error()

    @cached_property
    def uncalibrated_error(self) -> float | None:
        """The same without the temperature that `calibrate` found; None where it found none."""
        return None if self.task.fitted.temperature is None else self._evidence.calibration_error(raw=True)

    def __str__(self) -> str:
        """A line for each metric with its interval, and what the intervals are of."""
        return as_lines(self)

    @property
    def report(self) -> ClassReport | None:
        """Precision, recall, F1 and support of each class or entity type; None for a task without classes.

        It is a dict by class that prints as a table; `.rows` is a list with a dict for each class.
        """
        return self._report or None

    @cached_property
    def confusion(self) -> Confusion | LabelConfusion | None:
        """Which classes are taken for which: `.labels`, and `.counts` `(K, K)` with a row for each true class.

        For entities the last class is `none`: its column counts entities that were missed, its row those that are too
        many. For `multilabel` the counts are `(K, 2, 2)`, a table for each label. None for a task without classes:
        regression, questions, choices and generated text.
        """
        return self._evidence.task.confusion_of(self._evidence.examples, self._evidence.predictions)

    def errors(self, n: int = 10) -> Mistakes:
        """The `n` records that are most wrong, the worst first: a list of dicts that prints readably.

        Each has `number` and `place` of the record, the whole `text`, `expected`, `predicted` and `confidence`. For
        classes, choices and entities, the wrong answer with the highest probability comes first. For other tasks the
        order follows a value that the dict has, too: the `error` of a regression, the `f1` of an answer to a question
        (then its probability), the `rougeL` and `loss` of generated text. Where there is no probability, as for an
        entity that was missed, `confidence` is None. If fewer than `n` are wrong, there are fewer.

        Raises:
            LightAdaptError: `n` is no whole number above 0.
        """
        check_whole("n", n, wanted="a whole number above 0")
        given = self._evidence
        pairs = zip(given.examples, given.predictions, strict=True)
        found = [(index, given.task.judge(example, prediction)) for index, (example, prediction) in enumerate(pairs)]
        wrong = [(index, judgement) for index, judgement in found if judgement is not None]
        wrong.sort(key=lambda pair: pair[1].order, reverse=True)
        return Mistakes(self._as_dict(index, judgement) for index, judgement in wrong[:n])

    def _as_dict(self, index: int, judgement: Judgement) -> dict[str, Any]:
        task, records = self._evidence.task, self._evidence.records
        record = records.items[index]
        answers = [record[name] for name in task.answer_fields if name in record]
        return {
            "number": records.number(index),
            "place": records.place(index),
            "text": task.text_of(record),
            "expected": judgement.expected if judgement.expected is not None or not answers else answers[0],
            "predicted": judgement.predicted,
            "confidence": judgement.confidence,
            **judgement.measures,
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """What this task's scores look like.

        Classes: the confusion matrix, F1 per class, and a reliability diagram with the expected calibration error (Guo
        et al., 2017; Naeini et al., 2015). Several labels: what is right, missed and too many per label instead of the
        matrix. Entities: confusion and bars. Regression: predicted over true values. Others: the metrics.

        The title has the interval of the headline; bars of metrics show all.

        Args:
            path: a file to write the figure to as well: `.png`, `.svg` or `.pdf`.

        Raises:
            LightAdaptError: matplotlib is not installed, there is no record, or the file cannot be written.
        """
        from lightadapt.display.charts import draw_charts
        from lightadapt.evaluation.charts import charts_of

        target, given = check_path(path), self._evidence
        if not len(given.examples):
            raise LightAdaptError("The data holds no record, so there is nothing to plot.")
        values = "  ".join(f"{name} {value:.4g}" for name, value in self.items())
        headline = next(iter(self.intervals.items()), None)
        values += "" if headline is None else f"  ({headline[0]} in {headline[1]})"
        title = f"{given.task.name}, {len(given.examples):,} records: {values}"
        return finish(draw_charts(charts_of(self, given), title), target)
