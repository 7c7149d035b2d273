"""The relation between two marked parts of a text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, LightAdaptError, RecordError, nearest, shown
from lightadapt.metrics import Report, Tally, relation_scores, relation_tally
from lightadapt.numbers import is_whole
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.decoding.probabilities import most_probable
from lightadapt.tasks.encoding.features import Encoded, Feature
from lightadapt.tasks.encoding.fields import as_list, plain, required, text_field
from lightadapt.tasks.encoding.texts import CUTS, Cut, check_overflow, count_cut
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.labels import Label

HEAD_MARKER, TAIL_MARKER = "@", "#"
"""Stand around the arguments: punctuation that every vocabulary has, so that none is added (Zhou and Chen, 2021)."""
GAP = " … "
"""Stands for what was left out between two arguments that are far apart."""
NO_RELATION = frozenset(("other", "no_relation", "no relation", "none", "na", "norelation"))
"""Names, in lower case, that data sets give to the absence of a relation."""
TAGS = re.compile(r"<(/?)e([12])>")


class RelationExample(NamedTuple):
    """A text with two arguments, `[start, end)` in characters, and the relation of the first to the second."""

    text: str
    head: tuple[int, int]
    tail: tuple[int, int]
    label: Label | None


@dataclass(frozen=True)
class Relation(Classification):
    """One label a record: `text` with `head` and `tail` `[start, end)`, or with `<e1>…</e1> <e2>…</e2>`, and `label`.

    The arguments are marked by punctuation and the label is read off the markers, the head's before the tail's, so
    that direction counts. A prediction is the label; with `scores=True` it is `{label: probability}`.

    >>> Relation(labels=["Other", "Cause-Effect(e1,e2)"]).without
    ('Other',)
    """

    name: ClassVar[str] = "relation"
    auto_classes: ClassVar = dict.fromkeys(("encoder", "decoder"), "AutoModelForRelation")
    fields: ClassVar[tuple[str, ...]] = ("text", "head", "tail", "label")
    headline: ClassVar[str] = "macro_f1"
    pipeline: ClassVar[str] = "text-classification"
    problem_type: ClassVar[str | None] = None
    needs_offsets: ClassVar[bool] = True

    no_relation: Collection[str] | None = field(default=None, kw_only=True)
    """The labels that mean "no relation", which the macro F1 leaves out; None: those with a usual name for it."""
    overflow: Cut = field(default="truncate", kw_only=True)
    """What happens to a text longer than the model takes: cut around its arguments, or refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_overflow(self.overflow, CUTS)
        if isinstance(self.no_relation, str) or not isinstance(self.no_relation, (Collection, type(None))):
            raise LightAdaptError(f"no_relation={shown(self.no_relation)}: give a list of labels, such as ['Other'].")
        if self.no_relation is not None:
            object.__setattr__(self, "no_relation", tuple(sorted(map(str, self.no_relation))))

    def as_record(self, item: Any) -> Any:
        """A text stands for `{"text": …}`; its arguments are marked in it."""
        return {"text": item} if isinstance(item, str) else item

    @property
    def without(self) -> tuple[str, ...]:
        """The labels that the macro F1 leaves out."""
        names = [str(label) for label in self.labels or ()]
        if self.no_relation is not None:
            return tuple(self.no_relation)
        return tuple(name for name in names if name.lower() in NO_RELATION)

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> RelationExample:
        text = text_field(records, index, "text")
        label = self.read_label(records, index) if labelled else None
        item, place = records.items[index], records.place(index)
        if item.get("head") is None and item.get("tail") is None and TAGS.search(text):
            return RelationExample(*_read_tags(place, text), label)
        head, tail = (_read_argument(records, index, name, text) for name in ("head", "tail"))
        return RelationExample(text, head, tail, label)

    def prepare(self, examples: Sequence[Any], *, fresh_head: bool) -> Relation:
        known = list(map(str, self.labels or ()))
        for name in self.no_relation or ():
            if name not in known:
                raise LightAdaptError(
                    f"no_relation names {shown(name)}, which is not among the labels. {nearest(name, known)}Labels: "
                    f"{', '.join(known)}."
                )
        prepared: Any = self.uncalibrated()
        return prepared  # type: ignore[no-any-return]

    def samples(self) -> list[Record]:
        first, *_, last = self.labels or ("", "")
        return [
            {"text": "Maria wrote the letter.", "head": [0, 5], "tail": [12, 22], "label": first},
            {"text": "The letter came to Rome.", "head": [0, 10], "tail": [19, 23], "label": last},
        ]

    def encode(self, examples: Sequence[RelationExample], view: ModelView, *, targets: bool) -> Encoded:
        last = view.family == "decoder"  # whose closing marker has seen the argument
        encoded = [_encode(example, index, view, last) for index, example in enumerate(examples)]
        cut = {index: "what is far from the arguments" for index, (_, was_cut) in enumerate(encoded) if was_cut}
        counts = count_cut(cut, view, self.overflow)
        features = [feature for feature, _ in encoded]
        if targets:
            self.set_targets(examples, features, view)
        return Encoded(features, counts)

    def score(
        self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]
    ) -> tuple[dict[str, float], Report]:
        return relation_scores(
            [str(example.label) for example in examples],
            [str(most_probable(prediction)) for prediction in predictions],
            self.without,
        )

    def tally(self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]) -> Tally:
        gold = [example.label for example in examples]
        return relation_tally(gold, list(map(most_probable, predictions)), self.without, self.labels or ())


def _read_argument(records: Records, index: int, name: str, text: str) -> tuple[int, int]:
    place = records.place(index)
    value = [plain(each) for each in as_list(place, name, required(records, index, name))]
    if len(value) != 2 or not all(map(is_whole, value)):
        raise DataError(
            f"{place}: {name} is {shown(value)}. Give [start, end) in characters of the text, such as [4, 11]."
        )
    start, end = map(int, value)
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        raise DataError(
            f"{place}: {name} {shown([start, end])} names no part of the text, which has {len(text)} characters. The "
            "end is not included."
        )
    return start, end


def _read_tags(place: str, text: str) -> tuple[str, tuple[int, int], tuple[int, int]]:
    """The text without `<e1>`, `</e1>`, `<e2>`, `</e2>`, and where the two arguments were."""
    found = [match.group() for match in TAGS.finditer(text)]
    if sorted(found) != ["</e1>", "</e2>", "<e1>", "<e2>"]:
        raise DataError(f"{place}: text needs <e1>, </e1>, <e2> and </e2> once each; it has {' '.join(found[:12])}.")
    plain, edges, position = "", {}, 0
    for match in TAGS.finditer(text):
        plain += text[position : match.start()]
        edges[match.group()] = len(plain)
        position = match.end()
    plain += text[position:]
    spans = []
    for number in "12":
        start, end = edges[f"<e{number}>"], edges[f"</e{number}>"]
        part = plain[start:end]
        if not part.strip():
            raise DataError(f"{place}: there is nothing between <e{number}> and </e{number}> in text.")
        spans.append((start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())))
    return plain, spans[0], spans[1]


def _mark(text: str, head: tuple[int, int], tail: tuple[int, int]) -> tuple[str, dict[str, tuple[int, int]]]:
    """The text with markers around both arguments, and the places of the opening and closing ones, in characters."""
    arguments = (("head", head, HEAD_MARKER), ("tail", tail, TAIL_MARKER))
    edges = [(start, 1, start - end, f"{marker} ", name, 0) for name, (start, end), marker in arguments]
    # Of two that end at one place the inner one closes first.
    edges += [(end, 0, start - end, f" {marker}", name, 1) for name, (start, end), marker in arguments]
    edges.sort(key=lambda edge: (edge[0], edge[1], -edge[2] if edge[1] == 0 else edge[2]))
    marked, position = "", 0
    places: dict[str, list[int]] = {"head": [0, 0], "tail": [0, 0]}
    for at, _, _, sign, name, side in edges:
        marked += text[position:at]
        places[name][side] = len(marked) + side  # of " @" the second character is the marker
        marked += sign
        position = at
    return marked + text[position:], {name: (first, second) for name, (first, second) in places.items()}


def _encode(example: RelationExample, index: int, view: ModelView, last: bool) -> tuple[Feature, bool]:
    """The feature of an example, and whether its text had to be cut."""
    shown, room = example, len(example.text)
    while True:
        marked, places = _mark(shown.text, shown.head, shown.tail)
        encoding = view.tokenizer(marked, return_offsets_mapping=True, verbose=False)
        tokens = len(encoding["input_ids"])
        if tokens <= view.max_length:
            break
        if room <= 0:
            raise RecordError(
                index,
                f"its two arguments alone are longer than the {view.max_length} tokens that the model takes. Mark "
                "shorter ones.",
            )
        room = min(room - 1, room * view.max_length // tokens)
        shown = _crop(example, room)
    offsets = encoding.pop("offset_mapping")
    side = 1 if last else 0
    anchors = [len(offsets) - 1 if last else 0]
    for name in ("head", "tail"):
        at = places[name][side]
        covering = [position for position, (start, end) in enumerate(offsets) if start <= at < end]
        anchors.append(covering[0] if covering else anchors[0])
    inputs = {name: list(column) for name, column in encoding.items()}
    return Feature({**inputs, "anchors": anchors}, index), shown is not example


def _crop(example: RelationExample, room: int) -> RelationExample:
    """The example with `room` characters around its arguments; what is longest is cut first.

    Before the first argument the start is left out, behind the second one the end, and between them the middle.
    """
    text = example.text
    (start, first_end), (second_start, _) = sorted((example.head, example.tail))
    end = max(example.head[1], example.tail[1])
    first_end = min(first_end, second_start)
    sizes = [start, second_start - first_end, len(text) - end]
    before, between, behind = _share(sizes, room)
    middle = text[first_end:second_start]
    if between + len(GAP) < len(middle):
        middle = middle[: between // 2] + GAP + middle[len(middle) - (between - between // 2) :]
    left = text[start - before : first_end]
    shift_first, shift_second = start - before, second_start - len(left) - len(middle)

    def moved(span: tuple[int, int]) -> tuple[int, int]:
        shift = shift_second if span[0] >= second_start else shift_first
        over = shift_second if span[1] > second_start or span[0] >= second_start else shift_first
        return span[0] - shift, span[1] - over

    cropped = left + middle + text[second_start : end + behind]
    return RelationExample(cropped, moved(example.head), moved(example.tail), example.label)


def _share(sizes: Sequence[int], room: int) -> list[int]:
    """As much of each size as fits into `room` in all, the largest cut to the same length."""
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    shares = [0] * len(sizes)
    for number, index in enumerate(order):
        shares[index] = min(sizes[index], room // (len(sizes) - number))
        room -= shares[index]
    return shares
