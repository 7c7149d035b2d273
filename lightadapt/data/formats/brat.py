"""brat: an `.ann` file of marked parts and relations beside each `.txt` file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightadapt.data.lines import read_bytes, read_text
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, shown

NAME = "brat"
SUFFIX = ".ann"
PART = re.compile(r"(T\d+)\t(\S+) (\d+(?: \d+)(?:;\d+ \d+)*)\t(.*)")
RELATION = re.compile(r"(R\d+)\t(\S+) \S+?:(\S+) \S+?:(\S+)\s*")
OTHERS = "EAMN#*"
"""First letters of what says more of the parts: events, attributes, normalizations, notes and sets of equals."""


def is_brat(path: Path) -> bool:
    """Whether this is a file of annotations, a text with one beside it, or a folder of them."""
    if path.is_dir():
        return any(path.glob(f"*{SUFFIX}"))
    return path.suffix == SUFFIX or (path.suffix == ".txt" and path.with_suffix(SUFFIX).is_file())


def read_brat(path: Path, bad: BadRecords) -> Records:
    """One record a text: all of it, with its `entities` and `relations`.

    Raises:
        DataError: a text is missing, or a line cannot be read.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path.with_suffix(SUFFIX)]
    items: list[Record] = []
    numbers: list[int] = []
    for number, file in enumerate(files):
        try:
            items.append(_document(file))
            numbers.append(number)
        except DataError as error:
            bad.meet(number, error)
    return Records(items, str(path), numbers=None if len(items) == len(files) else numbers, form=NAME)


def _document(annotations: Path) -> Record:
    source = annotations.with_suffix(".txt")
    if not source.is_file():
        raise DataError(f"{annotations} has no text beside it. Put {source.name} into the same folder.")
    read_text(source)  # says what is wrong with it
    text = read_bytes(source).decode("utf-8")  # its line ends count as the characters that they are
    entities, relations = _annotations(read_text(annotations).split("\n"), annotations)
    return {"id": source.stem, "text": text, "entities": entities, "relations": relations}


def _annotations(lines: Iterable[str], path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    entities, relations = [], []
    for number, line in enumerate(lines, 1):
        if part := PART.fullmatch(line):
            name, kind, places, text = part.groups()
            if ";" in places:
                raise DataError(
                    f"{path}, line {number}: {name} is in several pieces ({places}), and an entity here is one part of "
                    "its text. Mark one piece, or all from the first to the last."
                )
            start, end = map(int, places.split())
            entities.append({"id": name, "start": start, "end": end, "label": kind, "text": text})
        elif tie := RELATION.fullmatch(line):
            name, kind, head, tail = tie.groups()
            relations.append({"id": name, "from_id": head, "to_id": tail, "type": kind})
        elif line.strip() and line[0] not in OTHERS:
            raise DataError(
                f"{path}, line {number}: {shown(line)} is not a line of brat. A marked part is T1, a tab, a type with "
                "start and end, a tab and the text."
            )
    return entities, relations
