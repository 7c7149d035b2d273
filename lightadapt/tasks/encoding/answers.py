"""Questions with contexts and answers, as records hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lightadapt.data import Records
from lightadapt.errors import DataError, listed, shown
from lightadapt.numbers import is_whole
from lightadapt.tasks.encoding.fields import as_list, check_characters, plain, required


class QuestionExample(NamedTuple):
    """A question, the context that may answer it, and the answers as `[start, end)` in characters of the context."""

    question: str
    context: str
    answers: list[tuple[int, int]]

    @property
    def texts(self) -> list[str]:
        """The texts of the answers; none where there is no answer."""
        return [self.context[start:end] for start, end in self.answers]


def read_answers(records: Records, index: int, context: str) -> list[tuple[int, int]]:
    """The answers of a record as `[start, end)` in characters of the context, checked."""
    place = records.place(index)
    answers = required(records, index, "answers")
    if isinstance(answers, Mapping):
        answers = _as_entries(place, answers)
    elif isinstance(answers, (list, tuple)) or bool(getattr(answers, "ndim", 0)):
        answers = as_list(place, "answers", answers)
    else:
        raise DataError(
            f"{place}: answers is {shown(answers)}. Give {{'text': […], 'answer_start': […]}}, with empty lists for no "
            "answer."
        )
    for entry in answers:
        if not isinstance(entry, Mapping) or not {"text", "answer_start"} <= set(entry):
            raise DataError(f"{place}, answers: the answer {shown(entry)} is not a dict with text and answer_start.")
    return [_read_answer(place, context, entry["text"], entry["answer_start"]) for entry in answers]


def _as_entries(place: str, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One dict an answer, of a dict with their texts and starts (or one of each)."""
    if not {"text", "answer_start"} <= set(answers):
        raise DataError(f"{place}: answers has the keys {listed(answers)}, not text and answer_start.")
    texts, starts = answers["text"], plain(answers["answer_start"])
    texts = [texts] if isinstance(texts, str) else as_list(place, "answers.text", texts)
    starts = [starts] if is_whole(starts) else as_list(place, "answers.answer_start", starts)
    if len(texts) != len(starts):
        raise DataError(f"{place}: answers has {len(texts)} texts but {len(starts)} starts.")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _read_answer(place: str, context: str, text: Any, start: Any) -> tuple[int, int]:
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{place}, answers: the answer text {shown(text)} is empty or not a text. For no answer give empty lists."
        )
    start = plain(start)
    if not is_whole(start):
        raise DataError(f"{place}, answers: answer_start {shown(start)} is not a whole number (characters).")
    start = int(start)
    check_characters(place, "answers", text)
    if not 0 <= start < len(context) or context[start : start + len(text)] != text:
        begin = min(max(start, 0), len(context))
        there = context[begin : begin + len(text)]
        nearby = min(_occurrences(context, text), key=lambda at: abs(at - start), default=None)
        mend = "It is nowhere in the context." if nearby is None else f"It is at {nearby}; set answer_start to that."
        raise DataError(
            f"{place}: the context at {shown(start)} is {shown(there)}, not the answer {shown(text)}. {mend}"
        )
    return start, start + len(text)


def _occurrences(text: str, part: str) -> list[int]:
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found
