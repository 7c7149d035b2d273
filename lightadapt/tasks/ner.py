"""Named entities: spans of a text, or of its tokens, with a type each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lightadapt.data.reading import TAG, Record, Records
from lightadapt.data.spans import Span, best_tags, overlapping, read_tags, split_words, transitions, write_tags
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.metrics import Report, entity_scores
from lightadapt.tasks.encoding.alignment import Window, tokenize_windows, words_inside
from lightadapt.tasks.encoding.fields import as_list, check_characters, required, text_field
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.task import EVERY_FAMILY, IGNORED, Count, Encoded, Label, LabelledTask, ModelView

LOST = (
    "{count} of {total} entities have no sub-word of their own in this tokenizer: they are not learned, and count as "
    "missed in scores."
)
CHANGED = (
    "{count} of {total} entities begin or end where this tokenizer cannot: they are learned up to the next border that "
    "it has, and their exact span counts in scores."
)


class Example(NamedTuple):
    """A text with its words and entities; tokens are joined by spaces, so that one path serves both forms."""

    text: str
    words: list[tuple[int, int]]
    """`[start, end)` of each word, in characters."""
    entities: list[Span]
    """In characters."""
    tokens: list[str] | None
    """The tokens of a record that came as tokens; its predictions are in tokens."""


class Entity(NamedTuple):
    """A predicted span in characters, with its probability."""

    span: Span
    score: float


@dataclass(frozen=True)
class NER(LabelledTask):
    """Entities: records are `tokens` + `tags` (BIO, IOB1, BIOES), or `text` + `entities`.

    An entity of a `text` is `{"start", "end", "label"}` in characters, end not included. `labels` are entity
    types (`PER`); tags (`B-PER`) are understood too. One sub-word of a word carries its tag; sentences
    longer than the model takes are split over overlapping windows.

    A prediction is a list of `{"start", "end", "label", "text", "score"}`, offsets in characters for a text
    and in tokens for tokens; the score is the mean probability of the tags of the entity's words.

    >>> NER(labels=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]).labels
    ('LOC', 'PER')
    """

    name: ClassVar[str] = "ner"
    auto_classes: ClassVar = dict.fromkeys(EVERY_FAMILY, "AutoModelForTokenClassification")
    fields: ClassVar[tuple[str, ...]] = ("tokens", "tags", "text", "entities")
    answer_fields: ClassVar[tuple[str, ...]] = ("tags", "entities")
    headline: ClassVar[str] = "f1"
    pipeline: ClassVar[str] = "token-classification"
    needs_offsets: ClassVar[bool] = True

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        labels = super().clean_labels(labels)
        if not all(isinstance(label, str) for label in labels):
            raise LightAdaptError(f"labels={list(labels)!r}: entity types are names, such as 'PER'.")
        # A list of tags has the tag O; without it, a hyphen is part of a name such as 'E-MAIL'.
        if "O" not in labels or not all(TAG.fullmatch(str(label)) for label in labels):
            return labels
        types = {str(label)[2:] for label in labels} - {""}
        if not types:
            raise LightAdaptError("labels=['O'] names no entity type. Give the types, such as ['PER', 'LOC'].")
        return tuple(sorted(types))

    def as_record(self, item: Any) -> Any:
        """A list of tokens stands for `{"tokens": …}`."""
        return {"tokens": item} if isinstance(item, (tuple, list)) else super().as_record(item)

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields of the form that the records have: tokens with tags, or text with entities."""
        known = super().known_fields(records, labelled=labelled)
        other = {"text", "entities"} if records.items[0].get("tokens") is not None else {"tokens", "tags"}
        return [name for name in known if name not in other]

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Example:
        item, place = records.items[index], records.place(index)
        if item.get("tokens") is not None:
            return _parse_tokens(records, index, labelled)
        if item.get("text") is None:
            hint = nearest("tokens", map(str, item)) or nearest("text", map(str, item))
            raise DataError(
                f"{place}: there is neither 'tokens' nor 'text'. Fields there: {', '.join(map(str, item))}. {hint}"
                "Give tokens + tags, or text + entities; columns={…} renames fields."
            )
        text = text_field(records, index, "text")
        entities = _parse_entities(records, index, text) if labelled else []
        return Example(text, split_words(text), entities, None)

    def samples(self) -> list[Record]:
        label = next(iter(self.labels or ("",)))
        found = [{"start": 0, "end": 5, "label": label}]
        return [{"text": "Maria came.", "entities": found}, {"text": "It is late, and it is broken.", "entities": []}]

    def show(self, feature: Any, view: ModelView) -> list[str]:
        ids, target = feature.inputs["input_ids"], feature.targets["labels"]
        shown = [
            show_tokens([number], [False], view.tokenizer) + ("" if tag == IGNORED else f"/{view.outputs[tag]}")
            for number, tag in zip(ids, target, strict=True)
        ]
        return [" ".join(shown)]

    def find_labels(self, examples: Sequence[Example]) -> tuple[Label, ...]:
        found = tuple(sorted({entity.label for example in examples for entity in example.entities}))
        if not found:
            raise DataError(
                "The data holds no entity at all, so there is nothing to learn. Check the tags, or columns={…}."
            )
        return found

    def check_answers(self, examples: Sequence[Example], records: Records) -> None:
        known = set(self.labels or ())
        for index, example in enumerate(examples):
            for entity in example.entities:
                if entity.label not in known:
                    raise DataError(
                        f"{records.place(index)}: the entity {example.text[entity.start : entity.end]!r} has the type "
                        f"{entity.label!r}, which is not among the labels. "
                        f"{nearest(entity.label, map(str, self.labels or ()))}Labels: "
                        f"{', '.join(map(str, self.labels or ()))}. Correct the record, or adapt with labels=[…] "
                        "that include it."
                    )

    def outputs(self) -> tuple[str, ...]:
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI")) if self.labels else ()

    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        types = sorted({name[2:] for name in outputs if name != "O"})
        complete = {"O", *(f"{prefix}-{label}" for label in types for prefix in "BI")}
        return tuple(types) if types and complete == set(outputs) else None

    def encode(self, examples: Sequence[Example], view: ModelView, *, targets: bool) -> Encoded:
        texts, words = [example.text for example in examples], [example.words for example in examples]
        windows = tokenize_windows(texts, words, view)
        lost = changed = 0
        if targets:
            for example, mine in zip(examples, windows, strict=True):
                one_lost, one_changed = _set_targets(example, mine, view.outputs)
                lost, changed = lost + one_lost, changed + one_changed
        total = sum(len(example.entities) for example in examples)
        return Encoded(
            [window for mine in windows for window in mine], [Count(LOST, lost, total), Count(CHANGED, changed, total)]
        )

    def decode(
        self, examples: Sequence[Example], features: Sequence[Window], inferred: Sequence[np.ndarray], view: ModelView
    ) -> list[list[Entity]]:
        allowed = transitions(view.outputs)
        shown: list[dict[tuple[int, int], np.ndarray]] = [{} for _ in examples]
        for feature, scores in zip(features, inferred, strict=True):  # scores: (T, K)
            for position, first, end in feature.words:
                shown[feature.example][first, end] = scores[position]
        pairs = zip(examples, shown, strict=True)
        return [_decode_example(example, groups, view.outputs, allowed) for example, groups in pairs]

    def score(
        self, examples: Sequence[Example], predictions: Sequence[Sequence[Entity]]
    ) -> tuple[dict[str, float], Report]:
        return entity_scores(
            [example.entities for example in examples],
            [[entity.span for entity in entities] for entities in predictions],
        )

    def present(self, example: Example, prediction: Sequence[Entity], *, scores: bool) -> list[dict[str, Any]]:
        """The entities as dicts, in tokens where the record came as tokens; a score is always there."""
        shown = []
        for (start, end, label), score in prediction:
            text = example.text[start:end]
            if example.tokens is not None:
                start, end = words_inside(example.words, start, end)
                text = " ".join(example.tokens[start:end])
            shown.append({"start": start, "end": end, "label": label, "text": text, "score": score})
        return shown


def _parse_tokens(records: Records, index: int, labelled: bool) -> Example:
    item, place = records.items[index], records.place(index)
    if isinstance(item["tokens"], str):
        raise DataError(
            f"{place}: tokens is the text {item['tokens'][:40]!r}. Give a list of tokens, or the field 'text' with "
            "'entities'."
        )
    tokens = as_list(place, "tokens", item["tokens"])
    if not tokens:
        raise DataError(f"{place}: tokens is empty. Remove the record.")
    wrong = [token for token in tokens if not isinstance(token, str)]
    if wrong:
        raise DataError(f"{place}: the token {wrong[0]!r} is a {type(wrong[0]).__name__}, but a text is expected.")
    if "" in tokens:
        raise DataError(f"{place}: token {tokens.index('')} is empty. Remove it, and its tag.")
    for token in tokens:
        check_characters(place, "tokens", token)
    if not "".join(tokens).strip():
        raise DataError(f"{place}: tokens hold no text. Remove the record.")
    words, position = [], 0
    for token in tokens:
        words.append((position, position + len(token)))
        position += len(token) + 1
    spans = read_tags(_checked_tags(records, index, tokens)) if labelled else []
    entities = [Span(words[start][0], words[end - 1][1], label) for start, end, label in spans]
    return Example(" ".join(tokens), words, entities, tokens)


def _checked_tags(records: Records, index: int, tokens: Sequence[str]) -> list[str]:
    place = records.place(index)
    tags = as_list(place, "tags", required(records, index, "tags"))
    if len(tags) != len(tokens):
        raise DataError(f"{place}: tags has {len(tags)} items but tokens has {len(tokens)}. Each token needs one tag.")
    for token, tag in zip(tokens, tags, strict=True):
        if isinstance(tag, int):
            raise DataError(
                f"{place}: the tag of {token!r} is the number {tag}. Give names such as 'B-PER' "
                "(a datasets.Dataset whose column is a list of ClassLabel is translated by itself)."
            )
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            raise DataError(
                f"{place}: {tag!r}, the tag of {token!r}, is no tag of BIO, IOB1 or BIOES. "
                "A tag is O, or a prefix of B I E S, a hyphen and a type: B-PER."
            )
    return tags


def _parse_entities(records: Records, index: int, text: str) -> list[Span]:
    place = records.place(index)
    if "entities" not in records.items[index]:
        found = ", ".join(map(str, records.items[index]))
        raise DataError(
            f"{place}: the field 'entities' is missing. Fields there: {found}. "
            "Give a list of {'start', 'end', 'label'}; an empty list where there is no entity."
        )
    entries = as_list(place, "entities", required(records, index, "entities"))
    entities = [_parse_entity(place, entry, text) for entry in entries]
    for one, other in overlapping(entities):
        raise DataError(
            f"{place}: the entities {text[one.start : one.end]!r} ({one.label}, {one.start}-{one.end}) and "
            f"{text[other.start : other.end]!r} ({other.label}, {other.start}-{other.end}) overlap. Keep one of them."
        )
    return sorted(entities)


def _parse_entity(place: str, entry: Any, text: str) -> Span:
    if not isinstance(entry, Mapping) or not {"start", "end", "label"} <= set(entry):
        raise DataError(f"{place}: the entity {entry!r} is not a dict with 'start', 'end' and 'label'.")
    start, end, label = entry["start"], entry["end"], entry["label"]
    if not all(isinstance(offset, Integral) and not isinstance(offset, bool) for offset in (start, end)):
        raise DataError(f"{place}: the entity {entry!r} has offsets that are not whole numbers (characters).")
    start, end = int(start), int(end)
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"{place}: the entity {entry!r} has no label. Name its type, such as 'PER'.")
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{place}: the entity {label} has the span {start}-{end}, but its text has {len(text)} characters. "
            "Needed: 0 <= start < end <= length, in characters, end not included."
        )
    if not text[start:end].strip():
        raise DataError(f"{place}: the entity {label} at {start}-{end} is only white space. Correct its offsets.")
    return Span(start, end, label)


def _set_targets(example: Example, windows: Sequence[Window], outputs: Sequence[str]) -> tuple[int, int]:
    """Write the tags to their positions; how many entities no sub-word shows, and how many change their span."""
    place = {tag: number for number, tag in enumerate(outputs)}
    groups = sorted((first, end) for window in windows for _, first, end in window.words)
    spans: list[Span] = []
    lost = changed = 0
    for start, end, label in example.entities:
        begin, behind = words_inside(example.words, start, end)
        shown = [number for number, (first, _) in enumerate(groups) if begin <= first < behind]
        lost += not shown
        # Two entities inside one word: the word can carry the tag of one of them only.
        if shown and (not spans or spans[-1].end <= shown[0]):
            spans.append(Span(shown[0], shown[-1] + 1, label))
            again = (example.words[groups[shown[0]][0]][0], example.words[groups[shown[-1]][1] - 1][1])
            changed += again != (start, end)
    tags = {first: tag for (first, _), tag in zip(groups, write_tags(spans, len(groups)), strict=True)}
    for window in windows:
        target = [IGNORED] * len(window)
        for position, first, _ in window.words:
            target[position] = place[tags[first]]
        window.targets = {"labels": target}
    return lost, changed


def _decode_example(
    example: Example, scores: Mapping[tuple[int, int], np.ndarray], outputs: Sequence[str], allowed: np.ndarray
) -> list[Entity]:
    """The entities of an example from the scores `(K,)` of its groups of words `(first, end)`."""
    groups = sorted(scores)
    if not groups:
        return []
    logits = np.stack([scores[group] for group in groups]).astype(np.float64)  # (N, K)
    logits -= logits.max(-1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    path = best_tags(log_probabilities, allowed)
    chosen = np.exp(log_probabilities[np.arange(len(path)), path])
    entities = []
    for start, end, label in read_tags([outputs[tag] for tag in path]):
        span = Span(example.words[groups[start][0]][0], example.words[groups[end - 1][1] - 1][1], label)
        entities.append(Entity(span, float(chosen[start:end].mean())))
    return entities
