"""CoNLL files: a token and its tag a line, an empty line behind each sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lightadapt.data.records import Record, Records
from lightadapt.errors import DataError, shown

TAG = re.compile(r"O|[BIESLU]-\S+")
NUMBERED = re.compile(r"\d+(?:[-.]\d+)?")
"""The first column of CoNLL-U: a word, a range of words that one token stands for, or an empty word."""


def read_conll(text: str, path: Path) -> Records:
    """One record a sentence.

    Raises:
        DataError: a line has no tag at its end, or the first column counts the tokens.
    """
    rows = [(number, line, _columns(line)) for number, line in enumerate([*text.split("\n"), ""], 1)]
    _check_numbered(path, [columns for _, _, columns in rows])
    width = _usual_width([columns for _, _, columns in rows])
    items: list[Record] = []
    lines: list[int] = []
    tokens: list[str] = []
    tags: list[str] = []
    for number, line, columns in rows:
        if not columns or columns[0] == "-DOCSTART-":
            if tokens:
                items.append({"tokens": tokens, "tags": tags})
                tokens, tags = [], []
        elif not tokens and _is_comment(columns, width):
            continue
        elif len(columns) > 1 and TAG.fullmatch(columns[-1]):
            if not tokens:
                lines.append(number)
            tokens.append(columns[0])
            tags.append(columns[-1])
        else:
            raise DataError(
                f"{path}, line {number}: {shown(line.strip())} is no token with a tag. Each line holds a token and, "
                "last, its tag such as O, B-PER or I-PER; an empty line ends a sentence, and comments, which begin "
                "with #, stand before one."
            )
    return Records(items, str(path), lines)


def _columns(line: str) -> list[str]:
    """The columns of a line: between tabs, else between plain spaces; other white space belongs to a token."""
    parts = line.rstrip("\r").split("\t" if "\t" in line else " ")
    return [part.strip(" ") for part in parts if part.strip(" ")]


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
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


def _check_numbered(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a file whose first column counts the tokens of each sentence, which would be learned as the tokens."""
    sentences: list[list[str]] = [[]]
    for columns in rows:
        if not columns or columns[0] == "-DOCSTART-":
            sentences.append([])
        elif not columns[0].startswith("#") and len(columns) > 2:
            sentences[-1].append(columns[0])
    counted = [sentence for sentence in sentences if sentence]
    if not counted or sum(map(len, counted)) < 2 or not all(map(_counts, counted)):
        return
    raise DataError(
        f"The first column of {path} counts the tokens (CoNLL-U); read as it is, the numbers would be the tokens. Keep "
        "two columns: the token and its tag."
    )


def _counts(first: Sequence[str]) -> bool:
    """Whether the first column of a sentence goes up from 0 or 1, but for the ranges and empty words of CoNLL-U."""
    if not all(map(NUMBERED.fullmatch, first)):
        return False
    whole = [int(each[:9]) for each in first if each.isdecimal()]
    return bool(whole) and whole == list(range(whole[0], whole[0] + len(whole))) and whole[0] in (0, 1)
