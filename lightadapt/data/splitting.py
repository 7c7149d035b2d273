"""A part of the data held out, in which every class has its share."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from lightadapt.data.reading import Data, read
from lightadapt.data.records import Record, Records
from lightadapt.errors import DataError
from lightadapt.numbers import is_number

CLASS_FIELDS = ("label", "labels", "tags", "entities")
"""Fields in which records of the tasks here have their classes."""


def split(
    data: Data, share: float = 0.1, *, seed: int = 0, columns: Mapping[str, str | int] | None = None
) -> tuple[Records, Records]:
    """The data in two parts, the second of which has `share` of all records, and of each class.

    Classes are what is in the fields `label`, `labels`, `tags` (by kind of entity) or `entities`. A record with several
    counts as one of its rarest. A class of one record stays in the first part.

    Args:
        data: any form of data (see `lightadapt.data.read`).
        share: of the second part, between 0 and 1.
        seed: of the choice.
        columns: `{field: column}` for fields that have another name in the data.

    Returns:
        Both parts in the order of the data, as `fit`, `evaluate` and `predict` take them.

    Raises:
        DataError: the data cannot be read, or has so few records that a part would be empty.

    >>> records = [{"text": str(n), "label": "ab"[n % 2]} for n in range(20)]
    >>> train, held_out = split(records, 0.2)
    >>> len(train), [record["label"] for record in held_out].count("a")
    (16, 2)
    """
    records = read(data, columns=columns)
    first, second = divide([_classes_of(record) for record in records], share, seed=seed, source=records.source)
    return records.only(first), records.only(second)


def divide(
    classes: Sequence[Sequence[Hashable]], share: float, *, seed: int, source: str = "data"
) -> tuple[list[int], list[int]]:
    """The indices of the records in two parts, the second with `share` of them.

    Args:
        classes: of each record; none, one or several.

    Raises:
        DataError: a part would be empty, or `share` is no share.
    """
    if not is_number(share) or not 0 < share < 1:
        raise DataError(f"A share of {share!r} cannot be held out. Give a number between 0 and 1, such as 0.1.")
    counts = Counter(each for of_one in classes for each in set(of_one))
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, of_one in enumerate(classes):
        groups[min(of_one, key=lambda each: (counts[each], str(each)), default=None)].append(index)
    chance = random.Random(seed)
    held_out: list[int] = []
    owed = 0.0  # what rounding has left of the groups so far, so that many small ones get their share together
    for name in sorted(groups, key=str):
        group = groups[name]
        owed += share * len(group)
        taken = min(round(owed), len(group) - 1) if name is not None else min(round(owed), len(group))
        held_out += chance.sample(group, max(0, taken))
        owed -= max(0, taken)
    if not held_out or len(held_out) == len(classes):
        raise DataError(
            f"{share:g} of the {len(classes)} records of {source} leave one part empty. Give more records, or "
            "another share."
        )
    held_out.sort()
    out = set(held_out)
    return [index for index in range(len(classes)) if index not in out], held_out


def _classes_of(record: Record) -> list[Hashable]:
    """The classes that a record holds, by the fields that tasks have them in."""
    name = next((name for name in CLASS_FIELDS if record.get(name) is not None), None)
    value = record.get(name) if name else None
    if name == "label":
        return [value] if isinstance(value, Hashable) and not isinstance(value, float) else []
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    if name == "tags":
        return [str(tag)[2:] for tag in value if str(tag)[1:2] in ("-", "_")]
    if name == "entities":
        found = [each.get("label") if isinstance(each, Mapping) else list(each)[-1] for each in value if each]
        return [each for each in found if isinstance(each, Hashable)]
    return [each for each in value if isinstance(each, Hashable)]
