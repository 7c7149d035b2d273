"""CoNLL files: a token and its tag a line, an empty line behind each sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lightadapt.data.lines import Found
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, listed, nearest, shown

TAG = re.compile(r"O|[BIESLU]-\S+")
NUMBERED = re.compile(r"\d+(?:[-.]\d+)?")
"""The first column of CoNLL-U: a word, a range of words that one token stands for, or an empty word."""


CONLL = "CoNLL"
"""What this form of a file is called."""
FORM = ("FORM", "TOKEN", "WORD")
"""What the column of the tokens is called in files that name their columns."""
GLOBAL = re.compile(r"#\s*global\.columns\s*=\s*(.*)")
"""The comment in which a CoNLL-U Plus file names its columns."""


class Layout(NamedTuple):
    """In which columns a file has what, counted from 0, or from the end from -1."""

    token: int = 0
    tag: int = -1
    header: int = 0
    """The line that names the columns, counted from 1; 0: none does."""
    chosen: bool = False
    """Whether the column of the tokens is known from elsewhere than its place."""


def read_conll(lines: Sequence[str], path: Path, columns: Mapping[str, Any], bad: BadRecords) -> Records:
    """One record a sentence; one with a broken line is a bad record, which ends where any sentence does.

    Args:
        columns: where `tokens` and `tags` are, as a number from 0 on or from -1 backwards, or as a name that the first
            line or a comment `# global.columns = …` gives; left out, the first and the last column.

    Raises:
        DataError: a line has no tag in its column, the first column counts the tokens, or no column is called so.
    """
    layout = _layout(lines, path, columns)
    if not layout.chosen:
        _check_numbered(path, map(_columns, lines))
    width = _usual_width(map(_columns, lines))
    found = Found(path, bad)
    return found.records(stored_like(lines, _sentences(lines, path, width, layout, found)))


def _layout(lines: Sequence[str], path: Path, columns: Mapping[str, Any]) -> Layout:
    wanted = {name: columns[name] for name in ("tokens", "tags") if columns.get(name, name) != name}
    if not wanted:
        return Layout()
    names, header, is_comment = _names(lines)
    places = {field: _place(field, column, names, path) for field, column in wanted.items()}
    by_name = any(not _is_number(column) for column in wanted.values())
    form = next((names.index(name) for name in FORM if name in names), None) if by_name or is_comment else None
    token = places.get("tokens", form)
    return Layout(
        token or 0,
        places.get("tags", -1),
        header if by_name or is_comment else 0,
        token is not None,
    )


def _place(field: str, column: Any, names: Sequence[str], path: Path) -> int:
    """The place of a column that is given by its number or its name."""
    if _is_number(column):
        return int(column)
    if column not in names:
        raise DataError(
            f"columns={{{shown(field)}: {shown(column)}}}: no column of {path} is called so. {nearest(column, names)}"
            f"Its first line has {listed(names)}. Give the number of the column, counted from 0, such as 3."
        )
    return names.index(column)


def _is_number(column: Any) -> bool:
    return re.fullmatch(r"-?\d{1,6}", str(column)) is not None


def _names(lines: Iterable[str]) -> tuple[list[str], int, bool]:
    """The names of the columns, the line that has them, and whether it is the comment for it, or just the first."""
    for number, line in enumerate(lines, 1):
        if found := GLOBAL.match(line):
            return found[1].split(), number, True
        if line.strip() and not line.startswith("#"):
            return _columns(line), number, False
    return [], 0, False


def _sentences(lines: Iterable[str], path: Path, width: int, layout: Layout, found: Found) -> Iterator[Record]:
    least = max(2, *(place + 1 if place >= 0 else -place for place in layout[:2]))
    tokens: list[str] = []
    tags: list[str] = []
    first, broken = 0, False
    for number, line in enumerate(chain(lines, [""]), 1):
        columns = _columns(line)
        if number == layout.header:
            continue
        if not columns or columns[0] == "-DOCSTART-":
            if tokens and not broken:
                found.add(first)
                yield {"tokens": tokens, "tags": tags}
            tokens, tags, broken = [], [], False
            if columns:
                found.begin_document()
        elif broken or (not tokens and _is_comment(columns, width)):
            continue
        elif len(columns) >= least and TAG.fullmatch(columns[layout.tag]):
            first = first if tokens else number
            tokens.append(columns[layout.token])
            tags.append(columns[layout.tag])
        else:
            broken = True
            found.leave_out(
                DataError(
                    f"{path}, line {number}: {shown(line.strip())} is not a token with a tag. Each line holds a token "
                    "and, last, its tag such as O, B-PER or I-PER; an empty line ends a sentence, and comments, which "
                    "begin with #, stand before one. columns={'tags': 3} takes another column, counted from 0."
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
        "two columns, the token and its tag, or say which they are, counted from 0: columns={'tokens': 1, 'tags': -1}."
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
