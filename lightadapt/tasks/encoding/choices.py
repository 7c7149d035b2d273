"""Questions with choices: the answer that a record names, and the rows that a model reads of each choice."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from lightadapt.data import Records
from lightadapt.errors import DataError, shown
from lightadapt.numbers import is_whole
from lightadapt.tasks.encoding.completions import encode_completion, target_tokens, truncate_left, truncate_source
from lightadapt.tasks.encoding.fields import plain, required
from lightadapt.tasks.encoding.view import ModelView

START, END = "the start of the question", "the end of a choice"
"""What is left out of records that are too long."""


class ChoiceExample(NamedTuple):
    """A question, the answers to choose from, and the index of the right one."""

    question: str
    choices: list[str]
    answer: int | None


def read_answer(records: Records, index: int, choices: Sequence[str]) -> int:
    """The index of the right choice, which a record names by its index or its letter, checked."""
    given, place, count = required(records, index, "answer"), records.place(index), len(choices)
    value = plain(given)
    if isinstance(value, str) and value.strip().isdecimal() and len(value.strip()) < 10:  # of a text file
        value = int(value)
    elif isinstance(value, str) and len(value.strip()) == 1 and value.strip() in ascii_uppercase:
        value = ascii_uppercase.index(value.strip())  # A, B, C, …
    if not is_whole(value) or not 0 <= int(value) < count:
        raise DataError(
            f"{place}: answer is {shown(value)}. Give the index of the right choice, 0 to {count - 1}, or its letter."
        )
    named = given.strip() if isinstance(given, str) else ""
    if named and named != choices[int(value)].strip() and named in map(str.strip, choices):
        raise DataError(
            f"{place}: answer is {shown(given)}, which is one of the choices, and as an index or a letter names "
            f"another one, {shown(choices[int(value)])}. Give the index as a number, 0 to {count - 1}."
        )
    return int(value)


def pairs(example: ChoiceExample, view: ModelView) -> tuple[list[dict[str, Any]], str]:
    """The question with each choice as a pair of texts, and what had to be left out."""
    tokenizer, lost, rows = view.tokenizer, "", []
    for choice in example.choices:
        question = example.question
        inputs = dict(tokenizer(question, choice, verbose=False))
        while question and (tokens := len(inputs["input_ids"])) > view.max_length:
            lost = lost or START
            question = question[max(1, round(len(question) * (tokens - view.max_length) / tokens)) :]
            inputs = dict(tokenizer(question, choice, verbose=False))
        if len(inputs["input_ids"]) > view.max_length:
            lost = END
            inputs = dict(tokenizer("", choice, truncation="only_second", max_length=view.max_length))
        rows.append(inputs)
    return rows, lost


def continuations(example: ChoiceExample, view: ModelView) -> tuple[list[dict[str, Any]], str]:
    """The question continued with each choice; only the tokens of the choice count."""
    rows, lost = [], ""
    for choice in example.choices:
        tokens = encode_completion(example.question, choice, view)
        shorter, cut = truncate_left(tokens, view.max_length, view)
        if cut:
            lost = START if sum(shorter.learned) == sum(tokens.learned) else "the start of a choice"
        rows.append({"input_ids": shorter.ids, "attention_mask": [1] * len(shorter.ids), "labels": shorter.labels})
    return rows, lost


def targets_of(example: ChoiceExample, view: ModelView) -> tuple[list[dict[str, Any]], str]:
    """The question for the encoder, and each choice for the decoder."""
    ids, cut = truncate_source(list(view.tokenizer(example.question, verbose=False)["input_ids"]), view)
    rows, lost = [], START if cut else ""
    for choice in example.choices:
        labels, cut = target_tokens(choice, view)
        lost = END if cut else lost
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return rows, lost
