"""What an adapted model answers, and how well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightadapt.adaptation.before import add_before, check_before
from lightadapt.adaptation.by_name import answer_all, answer_by_name
from lightadapt.adaptation.calibrating import Calibration, calibrate
from lightadapt.adaptation.requests import Request, answer, evaluate, stream
from lightadapt.adapted.sharing import Sharing
from lightadapt.data import Data, is_collection
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError, listed
from lightadapt.evaluation.scores import Scores
from lightadapt.numbers import check_flags, check_whole
from lightadapt.stream.unknown import answer_known, check_known
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import EVALUATE, PREDICT


class Answering(Sharing):
    """It predicts, is evaluated, and calibrated."""

    @explained(EVALUATE)
    def evaluate(
        self,
        data: Data,
        *,
        report: bool = False,
        threshold: float | None = None,
        shots: Data | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
        confidence: float | None = None,
        before: bool = False,
    ) -> Scores:
        """The task's metrics on labelled data, the headline first.

        The result is a dict that also has `.intervals`, `.report`, `.confusion`, `.calibration_error`, `.plot()` and
        `.errors(n)`, for which it keeps the records and predictions. `print` shows each metric with its interval.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            report: also print precision, recall, F1 and support of each class, for tasks that have classes.
            threshold: for task multilabel, the probability from which a label is predicted, in place of its own.
            shots: as in `predict`.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`; with `"skip"` the metrics are those of the other records.
            confidence: of the intervals, between 0 and 1; how they are made stands at `Scores.intervals`. None: 0.95,
                and no intervals where there is but one record.
            before: also score the base without what was learned: `.before` are its scores, `.before_by` says what gave
                them, and `.gain` is the difference, with an interval and a paired test. A base that can tell labels by
                what they mean answers so (zero-shot), a language model writes as it is. Where the base has no way to
                answer, it is the best answer that needs no text, such as the most frequent label of this data.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the labels are not known yet; there are no intervals of that confidence, or of a single
                record; with `before`, nothing tells any more what the base was.
        """
        check_flags(report=report, before=before)
        bad = BadRecords(on_error)
        with self._several.computing(self.runner) as now:
            if before:
                check_before(now, disabled=self._several.is_disabled)
            now = now.with_shots(shots, columns=columns)
            scores = evaluate(now, data, threshold=threshold, columns=columns, bad=bad, confidence=confidence)
            if before:
                with self._several.disabled():
                    add_before(now, scores)
        if report and scores.report:
            print(scores.report)
        return scores

    def calibrate(
        self, validation: Data, *, columns: Mapping[str, str | int] | None = None, on_error: str = "raise"
    ) -> Calibration:
        """Make probabilities right as often as they say, by a temperature that is found on labelled data.

        All logits are divided by one number (Guo et al. 2017), so what is predicted stays the same. From now on
        `predict(…, scores=True)`, the scores of entities and `evaluate` have the new probabilities, and so has what is
        saved or exported to ONNX. Thresholds of task multilabel move along; `threshold=` of a call is one of the new
        probabilities. The next `fit` forgets it.

        Args:
            validation: labelled data that the model has not learned from, in any form; 10 records or more.
            columns: as in `predict`.
            on_error: as in `fit`.

        Returns:
            The temperature, and the expected calibration error before and after; it prints as a sentence.

        Raises:
            DataError: a record cannot be used, or there are too few.
            LightAdaptError: the task has no such probabilities, or the labels are not known yet.
        """
        self._several.check_enabled("calibrate")
        with self._several.computing(self.runner) as now:
            return calibrate(now, validation, columns=columns, bad=BadRecords(on_error))

    @explained(PREDICT)
    def predict(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        options: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        batch_tokens: int | None = None,
        shots: Data | None = None,
        adapter: str | Sequence[str] | None = None,
        on_error: str = "raise",
        unknown: bool = False,
    ) -> list[Any]:
        """The predictions, one for each input, in the same order.

        It may be called from many threads at once, of which one computes at a time.

        Args:
            inputs: a list of texts, of pairs (classification, QA, multiple choice), of token lists (NER), of lists of
                messages (chat), or of records; or a file, a frame or a data set.
            scores: for tasks that classify, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.
            options: of generation, such as `{"max_new_tokens": 40, "num_beams": 4, "temperature": 0.7}`.
            threshold: for task multilabel, the probability from which a label is predicted, in place of its own.
            batch_tokens: tokens of a batch, padding included; None: 512 for each thread of a CPU, 4,096 on a GPU.
            shots: for task classification on a language model, as long as it has learned nothing: labelled examples
                that are shown to it with each text (in-context learning), in any form of data.
            adapter: the adaptation that answers, or one name for each input; None: the one in use.
            on_error: what happens to an input that cannot be used. `"raise"`: it is an error; `"skip"`: its answer is
                None, and a warning gives the number of such inputs and the reasons of the first.
            unknown: for tasks with one class a record, give None for a text that belongs to none of the classes; with
                `scores=True` a score `"unknown"`, which is 0.5 at the limit. On texts of known classes one in twenty is
                given None, by the validation data of `fit`.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet; or with `unknown` there is nothing to tell by.
        """
        check_flags(unknown=unknown)
        bad = BadRecords(on_error)
        request = Request(
            scores=scores, columns=columns, options=options, threshold=threshold, batch_tokens=batch_tokens
        )
        if unknown:
            self._several.check_enabled("predict")
        if adapter is None or isinstance(adapter, str):
            with self._several.computing(self.runner if adapter is None else self._several.named(adapter)) as now:
                asked = now.with_shots(shots, columns=columns)
                found = answer_known(now, inputs, request, bad) if unknown else answer(asked, inputs, request, bad)
        elif unknown:
            raise LightAdaptError("predict(…, unknown=True) asks one adaptation: give adapter=… one name.")
        elif is_collection(adapter) and shots is not None:
            raise LightAdaptError(
                "predict(…, shots=…, adapter=[…]): shots are for one adaptation. Give its name alone."
            )
        elif is_collection(adapter):
            found = answer_by_name(self._several, inputs, list(adapter), request, bad)
        else:
            raise LightAdaptError(f"adapter={adapter!r}: give a name, or a list with a name for each input.")
        bad.tell(len(found) - bad.count)
        return found

    def predict_all(
        self,
        inputs: Any,
        adapters: Sequence[str] | None = None,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        batch_tokens: int | None = None,
        on_error: str = "raise",
    ) -> dict[str, list[Any]]:
        """The predictions of several adaptations for the same inputs, by their names; in one pass where possible.

        Blocks that none of them adapts are computed once for all (as in AdapterDrop, Rücklé et al. 2021).

        Args:
            inputs: as in `predict`, in a form that each of the tasks takes.
            adapters: the adaptations that answer; None: all.
            scores: as in `predict`.
            columns: as in `predict`.
            batch_tokens: as in `predict`.
            on_error: as in `predict`; an input is left out where it cannot be used.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: there is no such adaptation, or the labels of one are not known yet.
        """
        names = self.names if adapters is None else adapters
        if not is_collection(names) or isinstance(names, Mapping) or not list(names):
            raise LightAdaptError(
                f"adapters={adapters!r}: give a list of names, or None for all: {listed(self.names)}."
            )
        request = Request(scores=scores, columns=columns, batch_tokens=batch_tokens)
        return answer_all(self._several, inputs, list(names), request, on_error)

    @explained(PREDICT)
    def predict_stream(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        options: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        batch_tokens: int | None = None,
        shots: Data | None = None,
        adapter: str | None = None,
        at_once: int = 1_000,
        on_error: str = "raise",
        unknown: bool = False,
    ) -> Iterator[Any]:
        """The predictions of `predict`, one by one as they are made, for more inputs than fit into memory.

        Inputs can come from an iterator, a data set that is streamed, or a large file of lines, which is read once to
        check it, and again as its records are answered.

        Args:
            inputs: as in `predict`.
            scores: as in `predict`.
            columns: as in `predict`.
            options: as in `predict`.
            threshold: as in `predict`.
            batch_tokens: as in `predict`.
            shots: as in `predict`.
            adapter: the adaptation that answers; None: the one that is in use when this is called.
            at_once: how many inputs are taken, and held in memory, before the first of them is answered.
            on_error: as in `predict`; the warning comes with the last answer.
            unknown: as in `predict`.

        Raises:
            DataError: an input cannot be used; those of earlier pieces have been answered by then.
            LightAdaptError: the labels are not known yet; or with `unknown` there is nothing to tell by.
        """
        check_whole("at_once", at_once, wanted="a whole number above 0")
        check_flags(unknown=unknown)
        chosen, bad = self.runner if adapter is None else self._several.named(adapter), BadRecords(on_error)
        request = Request(scores=scores, options=options, threshold=threshold, batch_tokens=batch_tokens)

        shown = chosen.with_shots(shots, columns=columns)
        if unknown:
            self._several.check_enabled("predict_stream")
            check_known(chosen, scores=scores)
        by = answer_known if unknown else answer

        def answers(items: Any, columns: Mapping[str, str | int] | None, numbers: range) -> list[Any]:
            with self._several.computing(chosen):
                return by(shown, items, replace(request, columns=columns), bad, numbers=numbers)

        return stream(chosen, inputs, answers, bad, columns=columns, at_once=at_once)
