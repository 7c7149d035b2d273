"""CoNLL files: a token and its tag a line, an empty line behind each sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from lightadapt.data.lines import Found
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, shown

TAG = re.compile(r"O|[BIESLU]-\S+")
NUMBERED = re.compile(r"\d+(?:[-.]\d+)?")
"""The first column of CoNLL-U: a word, a range of words that one token stands for, or an empty word."""


def read_conll(lines: Sequence[str], path: Path, bad: BadRecords) -> Records:
    """One record a sentence; one with a broken line is a bad record, which ends where any sentence does.

    Raises:
        DataError: a line has no tag at its end, or the first column counts the tokens.
    """
    _check_numbered(path, map(_columns, lines))
    width = _usual_width(map(_columns, lines))
    found = Found(path, bad)
    return found.records(stored_like(lines, _sentences(lines, path, width, found)))


def _sentences(lines: Iterable[str], path: Path, width: int, found: Found) -> Iterator[Record]:
    tokens: list[str] = []
    tags: list[str] = []
    first, broken = 0, False
    for number, line in enumerate(chain(lines, [""]), 1):
        columns = _columns(line)
        if not columns or columns[0] == "-DOCSTART-":
            if tokens and not broken:
                found.add(first)
                yield {"tokens": tokens, "tags": tags}
            tokens, tags, broken = [], [], False
        elif broken or (not tokens and _is_comment(columns, width)):
            continue
        elif len(columns) > 1 and TAG.fullmatch(columns[-1]):
            first = first if tokens else number
            tokens.append(columns[0])
            tags.append(columns[-1])
        else:
            broken = True
            found.leave_out(
                DataError(
                    f"{path}, line {number}: {shown(line.strip())} is no token with a tag. Each line holds a token "
                    "and, last, its tag such as O, B-PER or I-PER; an empty line ends a sentence, and comments, which "
                    "begin with #, stand before one."
                )
            )


def _columns(line: str) -> list[str]:
    """The columns of a line: between tabs, else between plain spaces; other white space belongs to a token."""
    parts = line.rstrip("\r").split("\t" if "\t" in line else " ")
    return [part.strip(" ") for part in parts if part.strip(" ")]


def _usual_width(rows: Iterable[Sequence[str]]) -> int:
    """How many columns most lines with a token have."""
    counts = Counter(len(columns) for columns in rows if columns and not columns[0].startswith("#"))
    return counts.most_common(1)[0][0] if counts else 2


def _is_comment(columns: Sequence[str], width: int) -> bool:
    """Whether a line is a comment as in CoNLL-U, `# text = Vitamin O`; the token "#" has a tag behind it."""
    if not columns[0].startswith("#"):
        return False
    if len(columns) < 2 or not TAG.fullmatch(columns[-1]):
        return True
    return "=" in columns[1:3] or len(columns) not in (2, width)


def _check_numbered(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Refuse a file whose first column counts the tokens of each sentence, which would be learned as the tokens."""
    tokens = 0
    for first in _first_columns(rows):
        if not _counts(first):
            return
        tokens += len(first)
    if tokens < 2:
        return
    raise DataError(
        f"The first column of {path} counts the tokens (CoNLL-U); read as it is, the numbers would be the tokens. Keep "
        "two columns: the token and its tag."
    )


def _first_columns(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """The first column of each sentence, where there are more columns than a token and its tag."""
    sentence: list[str] = []
    for columns in chain(rows, [()]):
        if columns and columns[0] != "-DOCSTART-":
            if not columns[0].startswith("#") and len(columns) > 2:
                sentence.append(columns[0])
        elif sentence:
            yield sentence
            sentence = []


def _counts(first: Sequence[str]) -> bool:
    """Whether the first column of a sentence goes up from 0 or 1, but for the ranges and empty words of CoNLL-U."""
    if not all(map(NUMBERED.fullmatch, first)):
        return False
    whole = [int(each[:9]) for each in first if each.isdecimal()]
    return bool(whole) and whole == list(range(whole[0], whole[0] + len(whole))) and whole[0] in (0, 1)
