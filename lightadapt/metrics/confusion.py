"""Which classes are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightadapt.data.spans import Span
from lightadapt.metrics.pairs import paired

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

NOTHING = "none"
"""Stands for no entity: in a column for one that was missed, in a row for one where there is none."""
PRINTED = 20
"""Classes up to which a matrix is printed whole; of more, the pairs that are confused most."""
WIDEST = 60
"""Letters of all names together up to which they stand above the columns; above it numbers do."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for each: `counts[i, j]` records of class `labels[i]` were given `labels[j]`.

    >>> print(confusion_of_labels(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]))
       a  b
    a  1  1
    b  0  1
    """

    labels: tuple[str, ...]
    """The names of the classes, K of them."""
    counts: np.ndarray
    """`(K, K)`: a row for each true class, a column for each predicted one."""

    def pairs(self, n: int = 10) -> list[tuple[str, str, int]]:
        """The `n` confusions that occur most, as (true class, predicted class, count)."""
        wrong = [
            (self.labels[row], self.labels[column], int(self.counts[row, column]))
            for row, column in zip(*self.counts.nonzero(), strict=True)
            if row != column
        ]
        return sorted(wrong, key=lambda pair: -pair[2])[:n]

    def to_pandas(self) -> DataFrame:
        """A frame with a row for each true class and a column for each predicted one; needs pandas."""
        import pandas

        return pandas.DataFrame(self.counts, index=list(self.labels), columns=list(self.labels))

    def __str__(self) -> str:
        if len(self.labels) > PRINTED:
            pairs = [f"{count:6,}  {true} taken for {predicted}" for true, predicted, count in self.pairs()]
            return "\n".join([f"{len(self.labels)} classes; confused most:", *pairs])
        short = sum(map(len, self.labels)) <= WIDEST
        heads = self.labels if short else [f"({number})" for number in range(1, len(self.labels) + 1)]
        names = self.labels if short else [f"{head} {label}" for head, label in zip(heads, self.labels, strict=True)]
        first, width = max(map(len, names)), len(str(self.counts.max()))
        rows = [[name, *map(str, row)] for name, row in zip(names, self.counts, strict=True)]
        return "\n".join(
            f"{name:{first}}  "
            + "  ".join(f"{cell:>{max(len(head), width)}}" for cell, head in zip(cells, heads, strict=True))
            for name, *cells in [["", *heads], *rows]
        )

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class LabelConfusion:
    """For labels that hold or not, each by itself: how often one is given where it holds, and where it does not.

    >>> print(confusion_of_sets([["a"], ["a", "b"]], [["a"], ["b"]], ["a", "b"]))
       right  missed  too many  rightly absent
    a      1       1         0               0
    b      1       0         0               1
    """

    labels: tuple[str, ...]
    """The names of the labels, K of them."""
    counts: np.ndarray
    """`(K, 2, 2)`: for each label `[[rightly absent, too many], [missed, right]]`, as scikit-learn has it."""

    def __str__(self) -> str:
        first = max(map(len, self.labels))
        head = ("right", "missed", "too many", "rightly absent")
        lines = [f"{'':{first}}  {'  '.join(head)}"]
        for label, ((absent, spurious), (missed, right)) in zip(self.labels, self.counts, strict=True):
            cells = zip((right, missed, spurious, absent), head, strict=True)
            lines.append(f"{label:{first}}  " + "  ".join(f"{count:{len(name)}}" for count, name in cells))
        return "\n".join(lines)

    __repr__ = __str__


def confusion_of_labels(
    gold: Sequence[str | int], predicted: Sequence[str | int], labels: Sequence[str | int]
) -> Confusion:
    """The confusion of classes, one a record; `labels` gives their order, and others that occur follow."""
    pairs = Counter((str(one), str(other)) for one, other in paired(gold, predicted))
    return _count(pairs, list(map(str, labels)))


def confusion_of_spans(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str | int]
) -> Confusion:
    """The confusion of entity types; the last class, `none`, is no entity.

    An entity is compared with the one that has the same start and end; without such a one it was missed, or is one too
    many. So the diagonal counts what `entity_scores` counts as right.

    >>> print(confusion_of_spans([[Span(0, 2, "PER")]], [[Span(0, 2, "LOC"), Span(3, 4, "LOC")]], ["LOC", "PER"]))
          LOC  PER  none
    LOC     0    0     0
    PER     1    0     0
    none    1    0     0
    """
    known = list(map(str, labels))
    nothing = NOTHING if NOTHING not in known else f"({NOTHING})"
    pairs: Counter[tuple[str, str]] = Counter()
    for true, given in paired(gold, predicted):
        expected = {(span.start, span.end): span.label for span in true}
        found = {(span.start, span.end): span.label for span in given}
        for place in expected.keys() | found.keys():
            pairs[expected.get(place, nothing), found.get(place, nothing)] += 1
    return _count(pairs, [*known, nothing])


def confusion_of_sets(
    gold: Sequence[Collection[str | int]], predicted: Sequence[Collection[str | int]], labels: Sequence[str | int]
) -> LabelConfusion:
    """For each of `labels`, how often it holds and is given."""
    import numpy as np

    counts = np.zeros((len(labels), 2, 2), dtype=int)
    for true, given in paired(gold, predicted):
        for number, label in enumerate(labels):
            counts[number, int(label in true), int(label in given)] += 1
    return LabelConfusion(tuple(map(str, labels)), counts)


def _count(pairs: Counter[tuple[str, str]], labels: list[str]) -> Confusion:
    import numpy as np

    others = {name for pair in pairs for name in pair} - set(labels)
    names = (*labels, *sorted(others))
    place = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=int)
    for (one, other), count in pairs.items():
        counts[place[one], place[other]] = count
    return Confusion(names, counts)
