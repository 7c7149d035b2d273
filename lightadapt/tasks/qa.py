"""Extractive question answering: the answer is a part of the context, or there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import DataError
from lightadapt.metrics import Report, Tally, answer_f1, question_scores, question_tally
from lightadapt.numbers import check_whole, is_number, wrong_number
from lightadapt.tasks.decoding.answers import Answer, best_answer
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.encoding.answers import QuestionExample, read_answers
from lightadapt.tasks.encoding.features import Count, Encoded
from lightadapt.tasks.encoding.fields import plain, text_field
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.encoding.windows import ContextWindow, context_windows, set_answer
from lightadapt.tasks.fitted import Fitted
from lightadapt.tasks.task import EVERY_FAMILY, Task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FittedThreshold(Fitted):
    """How much more probable "no answer" must be than the best answer, as `fit` finds it."""

    threshold: float | None = None
    """0, or the best on the validation data; None where all questions had an answer."""


@dataclass(frozen=True)
class QA(Task):
    """Extractive QA: `question`, `context`, `answers` `{"text": […], "answer_start": […]}`, empty for no answer.

    SQuAD's nested articles are understood, too. A context that is longer than a window is read in overlapping ones. A
    prediction is `{"text", "start", "end", "score"}` with `text == context[start:end]`; the text is empty where the
    context has no answer.

    >>> QA().threshold is None
    True
    """

    name: ClassVar[str] = "qa"
    auto_classes: ClassVar = dict.fromkeys(EVERY_FAMILY, "AutoModelForQuestionAnswering")
    fields: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    answer_fields: ClassVar[tuple[str, ...]] = ("answers",)
    headline: ClassVar[str] = "f1"
    pipeline: ClassVar[str] = "question-answering"
    needs_offsets: ClassVar[bool] = True
    group_fields: ClassVar[tuple[str, ...]] = ("title", "context")

    threshold: float | None = field(default=None, kw_only=True)
    """The answer is "none" where its log probability is more than this above that of the best span. None: `fit` finds
    it, when the training data has questions without an answer; when not, there always is an answer."""
    window: int = field(default=384, kw_only=True)
    """Tokens of a window, question included; fewer where the model takes fewer."""
    overlap: int = field(default=128, kw_only=True)
    """Tokens of the context that neighbouring windows share."""
    longest: int = field(default=30, kw_only=True)
    """Tokens of the longest answer that is looked for."""
    fitted: FittedThreshold = field(default=FittedThreshold(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("window", "overlap", "longest"):
            check_whole(name, getattr(self, name), wanted="a whole number of tokens above 0")
        if self.threshold is not None and not is_number(self.threshold):
            raise wrong_number("threshold", self.threshold, "a number, or None")

    @property
    def limit(self) -> float | None:
        """The threshold that is in use; None where there always is an answer."""
        return self.fitted.threshold if self.threshold is None else self.threshold

    def outputs(self) -> tuple[str, ...]:
        return ("start", "end")

    def as_record(self, item: Any) -> Any:
        """A pair stands for `{"question": …, "context": …}`."""
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return {"question": item[0], "context": item[1]}
        return item

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> QuestionExample:
        context = text_field(records, index, "context")
        answers = read_answers(records, index, context) if labelled else []
        impossible = plain(records.items[index].get("is_impossible"))
        if answers and isinstance(impossible, int) and impossible:
            raise DataError(f"{records.place(index)}: is_impossible is true, but there are answers. Remove either.")
        return QuestionExample(text_field(records, index, "question"), context, answers)

    def samples(self) -> list[Record]:
        context = "Maria wrote the letter in Rome."
        return [
            {"question": "Who wrote it?", "context": context, "answers": {"text": ["Maria"], "answer_start": [0]}},
            {
                "question": "Where did she write?",
                "context": context,
                "answers": {"text": ["Rome"], "answer_start": [26]},
            },
        ]

    def show(self, feature: ContextWindow, view: ModelView) -> list[str]:
        ids, places = feature.inputs["input_ids"], feature.targets
        start, end = places["start_positions"], places["end_positions"]
        learned = [start <= position <= end for position in range(len(ids))]
        return [show_tokens(ids, learned, view.tokenizer), *(["no answer"] if start == feature.nowhere else [])]

    def prepare(self, examples: Sequence[QuestionExample], *, fresh_head: bool) -> QA:
        if self.threshold is not None:
            return self
        return replace(self, fitted=FittedThreshold(None if all(example.answers for example in examples) else 0.0))

    @property
    def tunes(self) -> bool:
        return self.threshold is None and self.fitted.threshold is not None

    def tune_on_validation(self, examples: Sequence[QuestionExample], predictions: Sequence[Answer]) -> QA:
        """The threshold that gives the best F1 on these examples, by SQuAD 2.0's rule."""
        if not self.tunes or all(example.answers for example in examples):
            return self
        gains = []  # of answering instead of saying "none"
        for example, answer in zip(examples, predictions, strict=True):
            text = example.context[answer.start : answer.end]
            gains.append(max((answer_f1(text, gold) for gold in example.texts), default=0.0) - (not example.answers))
        order = np.argsort([answer.margin for answer in predictions], kind="stable")
        total = np.concatenate([[0.0], np.cumsum(np.array(gains)[order])])  # the first n answered, the others not
        count = int(total.argmax())
        margins = [predictions[index].margin for index in order]
        if count == 0:
            return replace(self, fitted=FittedThreshold(float(margins[0]) - 1.0))
        above = margins[count] if count < len(margins) else margins[-1] + 2.0
        return replace(self, fitted=FittedThreshold(float(margins[count - 1] + above) / 2))

    def encode(self, examples: Sequence[QuestionExample], view: ModelView, *, targets: bool) -> Encoded:
        windows = context_windows(examples, view, min(self.window, view.max_length), self.overlap)
        changed = 0
        if targets:
            changed = sum(set_answer(example, mine) for example, mine in zip(examples, windows, strict=True))
        total = sum(bool(example.answers) for example in examples)
        text = (
            "{count} of {total} answers begin or end where this tokenizer cannot, or are longer than a window: "
            "they are learned as far as can be, and their exact text counts in scores."
        )
        return Encoded([window for mine in windows for window in mine], [Count(text, changed, total)])

    def logits_of(self, given: Any) -> torch.Tensor:
        """Start and end logits `(B, T, 2)`."""
        import torch

        return torch.stack([given.start_logits, given.end_logits], -1)

    def decode(
        self,
        examples: Sequence[QuestionExample],
        features: Sequence[ContextWindow],
        inferred: Sequence[np.ndarray],
        view: ModelView,
    ) -> list[Answer]:
        found: list[list[Answer]] = [[] for _ in examples]
        for window, logits in zip(features, inferred, strict=True):
            found[window.example].append(best_answer(window, logits, self.longest))
        answers = []
        for mine in found:
            best = max(mine, key=lambda answer: answer.score)
            no_answer = min(answer.no_answer for answer in mine)  # a window without the answer says nothing of others
            margin = float(np.log(no_answer + 1e-30) - np.log(best.score + 1e-30))
            answers.append(best._replace(no_answer=no_answer, margin=margin))
        return answers

    def score(
        self, examples: Sequence[QuestionExample], predictions: Sequence[Answer]
    ) -> tuple[dict[str, float], Report]:
        texts = [self._text(example, answer) for example, answer in zip(examples, predictions, strict=True)]
        return question_scores([example.texts for example in examples], texts), {}

    def tally(self, examples: Sequence[QuestionExample], predictions: Sequence[Answer]) -> Tally:
        texts = [self._text(example, answer) for example, answer in zip(examples, predictions, strict=True)]
        return question_tally([example.texts for example in examples], texts)

    def guesses(self, examples: Sequence[QuestionExample]) -> list[Any] | None:
        """No answer anywhere."""
        return [Answer(0, 0, 0.0, 1.0, 0.0)] * len(examples)

    def present(self, example: QuestionExample, prediction: Answer, *, scores: bool) -> dict[str, Any]:
        if self._none(prediction):
            return {"text": "", "start": 0, "end": 0, "score": prediction.no_answer}
        start, end = prediction.start, prediction.end
        return {"text": example.context[start:end], "start": start, "end": end, "score": prediction.score}

    def judge(self, example: QuestionExample, prediction: Answer) -> Judgement | None:
        given = self.present(example, prediction, scores=False)
        f1 = max(answer_f1(given["text"], text) for text in example.texts or [""])
        if f1 == 1:
            return None
        score = given["score"]
        return Judgement(given["text"], example.texts, score, rank=(1 - f1, score), measures={"f1": f1})

    def _none(self, answer: Answer) -> bool:
        return answer.end == answer.start or (self.limit is not None and answer.margin > self.limit)

    def _text(self, example: QuestionExample, answer: Answer) -> str:
        return "" if self._none(answer) else example.context[answer.start : answer.end]
