"""Named entities: spans of a text, or of its tokens, with a type each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.data.conll import TAG
from lightadapt.data.formats.guessing import columns_for
from lightadapt.data.spans import Span, transitions
from lightadapt.errors import DataError, LightAdaptError, listed, nearest, shown
from lightadapt.metrics import (
    Confusion,
    LabelConfusion,
    Report,
    Tally,
    confusion_of_spans,
    entity_scores,
    entity_tally,
)
from lightadapt.tasks.decoding.doubt import Doubt, doubt_between
from lightadapt.tasks.decoding.entities import Entity, decode_entities
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.probabilities import softmax
from lightadapt.tasks.decoding.temperature import find_power
from lightadapt.tasks.encoding.alignment import WordWindow, tokenize_windows, words_inside
from lightadapt.tasks.encoding.entities import (
    EntityExample,
    read_entities,
    read_tokens,
    set_tags,
    warn_of_mixed_schemes,
)
from lightadapt.tasks.encoding.features import IGNORED, Count, Encoded
from lightadapt.tasks.encoding.fields import rename, text_field
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.fitted import Fitted
from lightadapt.tasks.labels import Label, LabelledTask
from lightadapt.tasks.task import EVERY_FAMILY

LOST = (
    "{count} of {total} entities have no sub-word of their own in this tokenizer: they are not learned, and count as "
    "missed in scores."
)
CHANGED = (
    "{count} of {total} entities begin or end where this tokenizer cannot: they are learned up to the next border that "
    "it has, and their exact span counts in scores."
)


@dataclass(frozen=True)
class FittedWords(Fitted):
    """Which sub-words of a token have learned its tag."""

    split: bool = False
    """Whether those of all its words, as its text has them ("U.S." has four), so that tokens and texts give the same.
    False: one of each token, as version 0.1.0 learned it and most heads from elsewhere have."""


@dataclass(frozen=True)
class NER(LabelledTask):
    """Entities: records are `tokens` + `tags` (BIO, IOB1, BIOES), or `text` + `entities`.

    An entity of a `text` is `{"start", "end", "label"}` in characters, end not included. `labels` are entity
    types (`PER`); tags (`B-PER`) are understood too. One sub-word of a word carries its tag, and the words of a token
    are those that it has in a text; sentences longer than the model takes are split over overlapping windows.

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

    fitted: FittedWords = field(default=FittedWords(), kw_only=True)

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        labels = super().clean_labels(labels)
        if not all(isinstance(label, str) for label in labels):
            raise LightAdaptError(f"labels={shown(list(labels))}: entity types are names, such as 'PER'.")
        # A list of tags has the tag O; without it, a hyphen is part of a name such as 'E-MAIL'.
        if "O" not in labels:
            _check_no_tags(labels)
            return labels
        wrong = [label for label in labels if not TAG.fullmatch(str(label))]
        if wrong:
            raise LightAdaptError(
                f"labels holds 'O' and {shown(wrong[0])}. Two readings: tags, of which 'O' is that of no entity, or "
                "names of types, of which one is 'O'. Give the types, without 'O'; a tag is O, or a prefix of B I E S, "
                "a hyphen and a type."
            )
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

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> EntityExample:
        item, place = records.items[index], records.place(index)
        if item.get("tokens") is not None:
            return read_tokens(records, index, labelled=labelled)
        if item.get("text") is None:
            hint = nearest("tokens", item, 0.75) or nearest("text", item, 0.75)
            name = next((name for name in ("tokens", "text") if columns_for(name, self.fields, item)), None)
            how = rename(records, item, name) if name else "columns={…} renames fields."
            raise DataError(
                f"{place}: there is neither 'tokens' nor 'text'. Fields there: {listed(item)}. {hint}"
                f"Give tokens + tags, or text + entities. {how}"
            )
        text = text_field(records, index, "text")
        entities = read_entities(records, index, text) if labelled else []
        return EntityExample(text, entities, None)

    def samples(self) -> list[Record]:
        label = next(iter(self.labels or ("",)))
        found = [{"start": 0, "end": 5, "label": label}]
        return [{"text": "Maria came.", "entities": found}, {"text": "It is late, and it is broken.", "entities": []}]

    def show(self, feature: Any, view: ModelView) -> list[str]:
        ids, target = feature.inputs["input_ids"], feature.targets["labels"]
        shown = []
        for number, tag in zip(ids, target, strict=True):
            text, name = show_tokens([number], [False], view.tokenizer), "" if tag == IGNORED else view.outputs[tag]
            shown.append(f"{text}/{name}" if name == "O" else f"⟦{text}/{name}⟧" if name else text)
        return [" ".join(shown)]

    def find_labels(self, examples: Sequence[EntityExample]) -> tuple[Label, ...]:
        found = tuple(sorted({entity.label for example in examples for entity in example.entities}))
        if not found:
            raise DataError(
                "The data holds no entity at all, so there is nothing to learn. Check the tags, or columns={…}."
            )
        _check_no_tags(found)
        return found

    def check_answers(self, examples: Sequence[EntityExample], records: Records) -> None:
        known = set(self.labels or ())
        for index, example in enumerate(examples):
            for entity in example.entities:
                if entity.label not in known:
                    raise self._unknown_type(records.place(index), example, entity)
        warn_of_mixed_schemes(examples, records)

    def _unknown_type(self, place: str, example: EntityExample, entity: Span) -> DataError:
        known, field = self.labels or (), "entities" if example.tokens is None else "tags"
        return DataError(
            f"{place}, {field}: the entity {shown(example.text[entity.start : entity.end])} has the type "
            f"{shown(entity.label)}, which is not among the labels. {nearest(entity.label, known)}Labels: "
            f"{listed(known, 20)}. Correct the record, or adapt with labels=[…] that include it."
        )

    def prepare(self, examples: Sequence[EntityExample], *, fresh_head: bool) -> NER:
        return replace(self, fitted=FittedWords(split=True))

    def outputs(self) -> tuple[str, ...]:
        return ("O", *(f"{prefix}-{label}" for label in self.labels for prefix in "BI")) if self.labels else ()

    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        types = sorted({name[2:] for name in outputs if name != "O"})
        complete = {"O", *(f"{prefix}-{label}" for label in types for prefix in "BI")}
        return tuple(types) if types and complete == set(outputs) else None

    def encode(self, examples: Sequence[EntityExample], view: ModelView, *, targets: bool) -> Encoded:
        words = [example.words(split=self.fitted.split) for example in examples]
        windows = tokenize_windows([example.text for example in examples], words, view)
        lost = changed = 0
        if targets:
            for example, own, mine in zip(examples, words, windows, strict=True):
                one_lost, one_changed = set_tags(example, own, mine, view.outputs)
                lost, changed = lost + one_lost, changed + one_changed
        total = sum(len(example.entities) for example in examples)
        return Encoded(
            [window for mine in windows for window in mine], [Count(LOST, lost, total), Count(CHANGED, changed, total)]
        )

    def decode(
        self,
        examples: Sequence[EntityExample],
        features: Sequence[WordWindow],
        inferred: Sequence[np.ndarray],
        view: ModelView,
    ) -> list[list[Entity]]:
        allowed = transitions(view.outputs)
        parts: list[list[tuple[WordWindow, np.ndarray]]] = [[] for _ in examples]
        for feature, scores in zip(features, inferred, strict=True):  # scores: (T, K)
            parts[feature.example].append((feature, scores))
        found = []
        for example, mine in zip(examples, parts, strict=True):
            words = example.words(split=self.fitted.split)
            groups = {(first, end): row[place] for part, row in mine for place, first, end in part.words}
            found.append(decode_entities(words, example.borders, groups, view.outputs, allowed))
        return self.calibrated(found)

    def doubts(
        self,
        examples: Sequence[EntityExample],
        features: Sequence[WordWindow],
        inferred: Sequence[np.ndarray],
        view: ModelView,
    ) -> list[Doubt]:
        """By the word whose tag is least sure."""
        found = [Doubt(0.0, "no word")] * len(examples)
        for feature, scores in zip(features, inferred, strict=True):  # scores: (T, K)
            example = examples[feature.example]
            words = example.words(split=self.fitted.split)
            for place, first, end in feature.words:
                doubt = doubt_between(dict(zip(view.outputs, softmax(scores[place]), strict=True)))
                if doubt.value > found[feature.example].value:
                    text = example.text[words[first][0] : words[end - 1][1]]
                    found[feature.example] = Doubt(float(doubt.value), f"{shown(text, 40)} {doubt.reason}")
        return found

    def score(
        self, examples: Sequence[EntityExample], predictions: Sequence[Sequence[Entity]]
    ) -> tuple[dict[str, float], Report]:
        return entity_scores(
            [example.entities for example in examples],
            [[entity.span for entity in entities] for entities in predictions],
        )

    def tally(self, examples: Sequence[EntityExample], predictions: Sequence[Sequence[Entity]]) -> Tally:
        return entity_tally(
            [example.entities for example in examples],
            [[entity.span for entity in entities] for entities in predictions],
        )

    def guesses(self, examples: Sequence[EntityExample]) -> list[Any] | None:
        """No entity anywhere."""
        return [[]] * len(examples)

    def certainties(
        self, examples: Sequence[EntityExample], predictions: Sequence[Sequence[Entity]]
    ) -> list[tuple[float, bool]]:
        """The score of each predicted entity, and whether there is such a one."""
        return [
            (entity.score, entity.span in set(example.entities))
            for example, entities in zip(examples, predictions, strict=True)
            for entity in entities
        ]

    def temperature_for(
        self, examples: Sequence[EntityExample], predictions: Sequence[Sequence[Entity]]
    ) -> float | None:
        """The power of the scores, which are what is shown of the probabilities of tags."""
        found = self.certainties(examples, predictions)
        return find_power(*zip(*found, strict=True)) if found else None

    def tempered(self, predictions: Sequence[Sequence[Entity]], temperature: float) -> list[list[Entity]]:
        return [[each._replace(score=each.score**temperature) for each in entities] for entities in predictions]

    def present(self, example: EntityExample, prediction: Sequence[Entity], *, scores: bool) -> list[dict[str, Any]]:
        """The entities as dicts, in tokens where the record came as tokens; a score is always there."""
        shown, borders = [], example.borders
        once: dict[str, str] = {}  # a text that is found many times is kept once
        for (start, end, label), score in prediction:
            text = example.text[start:end]
            if borders is not None:
                start, end = words_inside(borders, start, end)
            text, label = once.setdefault(text, text), once.setdefault(label, label)
            shown.append({"start": start, "end": end, "label": label, "text": text, "score": score})
        return shown

    def judge(self, example: EntityExample, prediction: Sequence[Entity]) -> Judgement | None:
        """Entities that are too many come first, by their probability; then those that were missed."""
        true = set(example.entities)
        spurious = [entity.score for entity in prediction if entity.span not in true]
        wrong = len(spurious) + len(true - {entity.span for entity in prediction})
        if not wrong:
            return None
        expected = self.present(example, [Entity(span, 1.0) for span in example.entities], scores=False)
        for entity in expected:
            del entity["score"]
        confidence = max(spurious, default=None)
        given = self.present(example, prediction, scores=False)
        return Judgement(given, expected, confidence, rank=(confidence or 0.0, wrong))

    def confusion_of(
        self, examples: Sequence[EntityExample], predictions: Sequence[Sequence[Entity]]
    ) -> Confusion | LabelConfusion | None:
        return confusion_of_spans(
            [example.entities for example in examples],
            [[entity.span for entity in entities] for entities in predictions],
            self.labels or (),
        )


def _check_no_tags(types: Sequence[Label]) -> None:
    """Refuse types two of which are the begin and the inside of one."""
    inside = next((each for each in map(str, types) if each.startswith("I-") and f"B-{each[2:]}" in types), None)
    if inside is not None:
        raise DataError(
            f"The labels of entities are tags: {shown('B-' + inside[2:])} and {shown(inside)}. Two readings: two "
            "types, or the begin and the inside of one. Give each entity once, from its start to its end, with its "
            f"type {shown(inside[2:])}; or give tokens + tags."
        )
