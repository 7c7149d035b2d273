"""Extractive question answering: the answer is a part of the context, or there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from lightadapt.data import Data, Record, Records
from lightadapt.errors import DataError, LightAdaptError, RecordError
from lightadapt.metrics import Report, answer_f1, question_scores
from lightadapt.tasks.encoding.fields import as_list, check_characters, required, text_field
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.texts import closing_token
from lightadapt.tasks.task import EVERY_FAMILY, Count, Encoded, Feature, ModelView, Task

if TYPE_CHECKING:
    import torch

BEST = 20
"""Starts and ends of a window that are tried with each other."""


class Example(NamedTuple):
    """A question, the context that may answer it, and the answers as `[start, end)` in characters of the context."""

    question: str
    context: str
    answers: list[tuple[int, int]]

    @property
    def texts(self) -> list[str]:
        """The texts of the answers; none where there is no answer."""
        return [self.context[start:end] for start, end in self.answers]


class Answer(NamedTuple):
    """The best answer in the context, with its probability, and how much better "no answer" is."""

    start: int
    end: int
    score: float
    no_answer: float
    """Probability that the context does not answer the question."""
    margin: float
    """Log probability of no answer less that of the answer."""


@dataclass
class Window(Feature):
    """The question with a part of the context."""

    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    """`[start, end)` in characters of the context, by the position of a token; white space around it left out."""
    nowhere: int = 0
    """The position that stands for no answer."""


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

    threshold: float | None = field(default=None, kw_only=True)
    """The answer is "none" where its log probability is more than this above that of the best span. None: `fit` finds
    it, when the training data has questions without an answer; when not, there always is an answer."""
    found_threshold: float | None = field(default=None, kw_only=True)
    """What `fit` found: 0, or the best on the validation data. It is not meant to be given."""
    window: int = field(default=384, kw_only=True)
    """Tokens of a window, question included; fewer where the model takes fewer."""
    overlap: int = field(default=128, kw_only=True)
    """Tokens of the context that neighbouring windows share."""
    longest: int = field(default=30, kw_only=True)
    """Tokens of the longest answer that is looked for."""

    def __post_init__(self) -> None:
        for name in ("window", "overlap", "longest"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise LightAdaptError(f"{name}={value!r}: give a whole number of tokens above 0.")
        for name in ("threshold", "found_threshold"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool)):
                raise LightAdaptError(f"{name}={value!r}: give a number, or None.")

    @property
    def limit(self) -> float | None:
        """The threshold that is in use; None where there always is an answer."""
        return self.found_threshold if self.threshold is None else self.threshold

    def outputs(self) -> tuple[str, ...]:
        return ("start", "end")

    def as_record(self, item: Any) -> Any:
        """A pair stands for `{"question": …, "context": …}`."""
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return {"question": item[0], "context": item[1]}
        return item

    def read(
        self, source: Data, *, split: str = "train", columns: Mapping[str, str] | None = None, labelled: bool = True
    ) -> Records:
        records = super().read(source, split=split, columns=columns, labelled=labelled)
        return _flat(records) if any("paragraphs" in item for item in records) else records

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Example:
        context = text_field(records, index, "context")
        answers = _read_answers(records, index, context) if labelled else []
        if answers and records.items[index].get("is_impossible"):
            raise DataError(f"{records.place(index)}: is_impossible is true, but there are answers. Remove either.")
        return Example(text_field(records, index, "question"), context, answers)

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

    def show(self, feature: Window, view: ModelView) -> list[str]:
        ids, places = feature.inputs["input_ids"], feature.targets
        start, end = places["start_positions"], places["end_positions"]
        learned = [start <= position <= end for position in range(len(ids))]
        return [show_tokens(ids, learned, view.tokenizer), *(["no answer"] if start == feature.nowhere else [])]

    def prepare(self, examples: Sequence[Example], *, fresh_head: bool) -> QA:
        if self.threshold is not None:
            return self
        return replace(self, found_threshold=None if all(example.answers for example in examples) else 0.0)

    @property
    def tunes(self) -> bool:
        return self.threshold is None and self.found_threshold is not None

    def tune_on_validation(self, examples: Sequence[Example], predictions: Sequence[Answer]) -> QA:
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
            return replace(self, found_threshold=float(margins[0]) - 1.0)
        above = margins[count] if count < len(margins) else margins[-1] + 2.0
        return replace(self, found_threshold=float(margins[count - 1] + above) / 2)

    def encode(self, examples: Sequence[Example], view: ModelView, *, targets: bool) -> Encoded:
        windows = _windows(examples, view, min(self.window, view.max_length), self.overlap)
        changed = 0
        if targets:
            changed = sum(_set_targets(example, mine) for example, mine in zip(examples, windows, strict=True))
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
        self, examples: Sequence[Example], features: Sequence[Window], inferred: Sequence[np.ndarray], view: ModelView
    ) -> list[Answer]:
        found: list[list[Answer]] = [[] for _ in examples]
        for window, logits in zip(features, inferred, strict=True):
            found[window.example].append(_best_answer(window, logits, self.longest))
        answers = []
        for mine in found:
            best = max(mine, key=lambda answer: answer.score)
            no_answer = min(answer.no_answer for answer in mine)  # a window without the answer says nothing of others
            margin = float(np.log(no_answer + 1e-30) - np.log(best.score + 1e-30))
            answers.append(best._replace(no_answer=no_answer, margin=margin))
        return answers

    def score(self, examples: Sequence[Example], predictions: Sequence[Answer]) -> tuple[dict[str, float], Report]:
        texts = [self._text(example, answer) for example, answer in zip(examples, predictions, strict=True)]
        return question_scores([example.texts for example in examples], texts), {}

    def present(self, example: Example, prediction: Answer, *, scores: bool) -> dict[str, Any]:
        if self._none(prediction):
            return {"text": "", "start": 0, "end": 0, "score": prediction.no_answer}
        start, end = prediction.start, prediction.end
        return {"text": example.context[start:end], "start": start, "end": end, "score": prediction.score}

    def _none(self, answer: Answer) -> bool:
        return answer.end == answer.start or (self.limit is not None and answer.margin > self.limit)

    def _text(self, example: Example, answer: Answer) -> str:
        return "" if self._none(answer) else example.context[answer.start : answer.end]


def _flat(records: Records) -> Records:
    """One record a question, of SQuAD's articles with paragraphs with questions; flat records stay as they are."""
    items: list[Record] = []
    lines: list[int] = []
    for index, article in enumerate(records):
        line = records.lines[index] if records.lines else 0
        found = [article] if "paragraphs" not in article else _questions(records.place(index), article["paragraphs"])
        items += found
        lines += [line] * len(found)
    if not items:
        raise DataError(f"{records.source} holds articles, but no question in them.")
    return Records(items, records.source, lines if records.lines else None)


def _questions(place: str, paragraphs: Any) -> list[Record]:
    found: list[Record] = []
    for paragraph in as_list(place, "paragraphs", paragraphs):
        if not isinstance(paragraph, Mapping) or "qas" not in paragraph:
            raise DataError(f"{place}: a paragraph without 'qas'. It is no SQuAD article.")
        for question in as_list(place, "qas", paragraph["qas"]):
            if not isinstance(question, Mapping):
                raise DataError(f"{place}: 'qas' holds {question!r}, not a dict with 'question' and 'answers'.")
            found.append({"context": paragraph.get("context"), **question})
    return found


def _read_answers(records: Records, index: int, context: str) -> list[tuple[int, int]]:
    place = records.place(index)
    answers = required(records, index, "answers")
    if isinstance(answers, Mapping):
        answers = _as_entries(place, answers)
    elif not isinstance(answers, (list, tuple, np.ndarray)):
        raise DataError(
            f"{place}: answers is {answers!r}. Give {{'text': […], 'answer_start': […]}}, with empty lists for no "
            "answer."
        )
    for entry in answers:
        if not isinstance(entry, Mapping) or not {"text", "answer_start"} <= set(entry):
            raise DataError(f"{place}: the answer {entry!r} is no dict with text and answer_start.")
    return [_read_answer(place, context, entry["text"], entry["answer_start"]) for entry in answers]


def _as_entries(place: str, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One dict an answer, of a dict with their texts and starts (or one of each)."""
    if not {"text", "answer_start"} <= set(answers):
        raise DataError(f"{place}: answers has the keys {', '.join(map(str, answers))}, not text and answer_start.")
    texts, starts = answers["text"], answers["answer_start"]
    texts = [texts] if isinstance(texts, str) else as_list(place, "answers.text", texts)
    starts = [starts] if isinstance(starts, Integral) else as_list(place, "answers.answer_start", starts)
    if len(texts) != len(starts):
        raise DataError(f"{place}: answers has {len(texts)} texts but {len(starts)} starts.")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _read_answer(place: str, context: str, text: Any, start: Any) -> tuple[int, int]:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: the answer text {text!r} is empty or no text. For no answer give empty lists.")
    if not isinstance(start, Integral) or isinstance(start, bool):
        raise DataError(f"{place}: answer_start {start!r} is not a whole number (characters).")
    start = int(start)
    check_characters(place, "answers", text)
    if start < 0 or context[start : start + len(text)] != text:
        there = context[max(start, 0) : max(start, 0) + len(text)]
        nearby = min(_occurrences(context, text), key=lambda at: abs(at - start), default=None)
        mend = "It is nowhere in the context." if nearby is None else f"It is at {nearby}; set answer_start to that."
        raise DataError(f"{place}: the context at {start} is {there!r}, not the answer {text!r}. {mend}")
    return start, start + len(text)


def _occurrences(text: str, part: str) -> list[int]:
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _windows(examples: Sequence[Example], view: ModelView, length: int, overlap: int) -> list[list[Window]]:
    """The windows of each example, without targets."""
    tokenizer = view.tokenizer
    first = view.family == "encoder" and bool(view.leading_specials)
    added = not first and not view.trailing_specials  # one end token, which stands for no answer behind each window
    separated = tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add()
    questions = [example.question if separated else f"{example.question}\n" for example in examples]
    length -= added
    taken = tokenizer.num_special_tokens_to_add(pair=True)
    rooms = [length - taken - len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    for index, room in enumerate(rooms):
        if room < min(32, length // 2):
            raise RecordError(
                index,
                f"the question has {length - taken - room} tokens, which leaves {max(room, 0)} of {length} to the "
                f"context: {examples[index].question[:60]!r}… Shorten it, or give the task a larger window=.",
            )
    windows: list[list[Window]] = [[] for _ in examples]
    strides = [min(overlap, room // 2) for room in rooms]
    for stride in sorted(set(strides)):  # nearly always one
        chosen = [index for index, mine in enumerate(strides) if mine == stride]
        encoding = tokenizer(
            [questions[index] for index in chosen],
            [examples[index].context for index in chosen],
            truncation="only_second",
            max_length=length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        owners, all_offsets = encoding.pop("overflow_to_sample_mapping"), encoding.pop("offset_mapping")
        for row, (owner, offsets) in enumerate(zip(owners, all_offsets, strict=True)):
            index = chosen[owner]
            inputs = {name: column[row] for name, column in encoding.items()}
            parts = encoding.sequence_ids(row)
            places = _places(examples[index].context, offsets, parts)
            if added:
                end = {"input_ids": closing_token(tokenizer), "attention_mask": 1}
                inputs = {name: [*values, end.get(name, 0)] for name, values in inputs.items()}
            nowhere = 0 if first else len(inputs["input_ids"]) - 1
            windows[index].append(Window(inputs, index, offsets=places, nowhere=nowhere))
    return windows


def _places(
    context: str, offsets: Sequence[tuple[int, int]], parts: Sequence[int | None]
) -> dict[int, tuple[int, int]]:
    """`{position: (start, end)}` of the tokens of the context that hold more than white space."""
    places = {}
    for position, ((start, end), part) in enumerate(zip(offsets, parts, strict=True)):
        if part != 1 or start == end:
            continue
        if context[start].isspace() or context[end - 1].isspace():
            if not context[start:end].strip():
                continue
            start, end = _trim(context, start, end)
        places[position] = (start, end)
    return places


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends, which byte-level tokenizers count to a word."""
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return start, end


def _set_targets(example: Example, windows: Sequence[Window]) -> bool:
    """Give each window the answer that lies in it, or "nowhere"; whether the tokens cannot mark it exactly.

    Of an answer longer than every window, the largest part that one of them holds is marked.
    """
    for window in windows:
        window.targets = {"start_positions": window.nowhere, "end_positions": window.nowhere}
    if not example.answers:
        return False
    start, end = _trim(example.context, *example.answers[0])
    inside = [[at for at, (left, right) in each.offsets.items() if left < end and right > start] for each in windows]
    whole = [number for number, tokens in enumerate(inside) if tokens and _holds(windows, number, tokens, start, end)]
    longest = max(range(len(windows)), key=lambda number: len(inside[number]))
    exact = False
    for number in whole or [longest] * bool(inside[longest]):
        offsets, tokens = windows[number].offsets, inside[number]
        windows[number].targets = {"start_positions": tokens[0], "end_positions": tokens[-1]}
        exact = exact or (offsets[tokens[0]][0], offsets[tokens[-1]][1]) == (start, end)
    return not exact


def _holds(windows: Sequence[Window], number: int, tokens: Sequence[int], start: int, end: int) -> bool:
    """Whether these tokens of a window are all of an answer, and not the rest of one that its edge cuts.

    Where something is missing away from the edges, the tokenizer has dropped it.
    """
    offsets = windows[number].offsets
    first, last = next(iter(offsets)), next(reversed(offsets))
    cut_left = number > 0 and tokens[0] == first and offsets[first][0] > start
    cut_right = number < len(windows) - 1 and tokens[-1] == last and offsets[last][1] < end
    return not cut_left and not cut_right


def _best_answer(window: Window, logits: np.ndarray, longest: int) -> Answer:
    """The most probable span of a window: p(start) p(end), over the tokens of the context and "nowhere"."""
    positions = np.array([window.nowhere, *window.offsets])
    scores = logits[positions].astype(np.float64)
    scores -= scores.max(0)
    log_p = scores - np.log(np.exp(scores).sum(0))  # (N, 2)
    no_answer = float(np.exp(log_p[0].sum()))
    if len(positions) == 1:
        return Answer(0, 0, 0.0, no_answer, 0.0)
    log_p, positions = log_p[1:], positions[1:]
    starts, ends = (np.argsort(-log_p[:, side], kind="stable")[:BEST] for side in (0, 1))
    both = log_p[starts, 0][:, None] + log_p[ends, 1][None, :]
    length = positions[ends][None, :] - positions[starts][:, None] + 1
    both[(length < 1) | (length > longest)] = -np.inf
    if np.isinf(both.max()):  # none of the best goes together: the best token alone
        alone = int(log_p.sum(1).argmax())
        chosen, value = (alone, alone), float(log_p[alone].sum())
    else:
        row, column = np.unravel_index(both.argmax(), both.shape)
        chosen, value = (int(starts[row]), int(ends[column])), float(both.max())
    start, end = (int(positions[place]) for place in chosen)
    return Answer(window.offsets[start][0], window.offsets[end][1], float(np.exp(value)), no_answer, 0.0)
