"""One of several given answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, shown, warn
from lightadapt.metrics import Counted, Report, Tally, classification_scores
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.probabilities import softmax
from lightadapt.tasks.decoding.temperature import find_temperature, temper
from lightadapt.tasks.encoding.choices import ChoiceExample, continuations, pairs, read_answer, targets_of
from lightadapt.tasks.encoding.features import IGNORED, Encoded, Feature, filler, pad
from lightadapt.tasks.encoding.fields import as_list, check_characters, optional_text, required
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.texts import CUTS, Cut, check_overflow, count_cut
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.losses.objective import Objective, Weigher
from lightadapt.tasks.task import Task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Choices(Feature):
    """The question with each of the choices; every input is a list of rows."""

    def __len__(self) -> int:
        return len(self.inputs["input_ids"]) * max(map(len, self.inputs["input_ids"]))


@dataclass(frozen=True)
class MultipleChoice(Task):
    """One right choice a record: `question` (or `premise`, `context`), `choices` (texts), `answer` (index or letter).

    An encoder scores each choice with a head. A decoder or an encoder-decoder takes the choice whose tokens it finds
    most likely on average after the question, and is trained on just that, so it has no fresh head at all. A
    prediction is the index; with `scores=True` it is `{index: probability}`.

    >>> MultipleChoice().headline
    'accuracy'
    """

    name: ClassVar[str] = "multiple-choice"
    auto_classes: ClassVar = {
        "encoder": "AutoModelForMultipleChoice",
        "decoder": "AutoModelForCausalLM",
        "encoder-decoder": "AutoModelForSeq2SeqLM",
    }
    fields: ClassVar[tuple[str, ...]] = ("context", "premise", "question", "choices", "answer")
    answer_fields: ClassVar[tuple[str, ...]] = ("answer",)
    headline: ClassVar[str] = "accuracy"
    pipeline: ClassVar[str] = "multiple-choice"
    group_fields: ClassVar[tuple[str, ...]] = ("context",)

    overflow: Cut = field(default="truncate", kw_only=True)
    """What happens to a question too long for the model: its start is left out, or the record is refused."""

    def __post_init__(self) -> None:
        check_overflow(self.overflow, CUTS)

    def as_record(self, item: Any) -> Any:
        """A pair stands for `{"question": …, "choices": […]}`."""
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return {"question": item[0], "choices": item[1]}
        return item

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields that count: a record needs one of question, premise and context only."""
        asked, first = ("context", "premise", "question"), records.items[0]
        known = super().known_fields(records, labelled=labelled)
        if all(first.get(name) is None or (isinstance(first[name], str) and not first[name]) for name in asked):
            return known
        return [name for name in known if name in first or name not in asked]

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> ChoiceExample:
        place = records.place(index)
        parts = [optional_text(records, index, name) for name in ("context", "premise", "question")]
        question = " ".join(part for part in parts if part)
        if not question:
            required(records, index, "question")
        choices = as_list(place, "choices", required(records, index, "choices"))
        for choice in choices:
            if not isinstance(choice, str) or not choice.strip():
                raise DataError(
                    f"{place}: the choice {shown(choice)} is empty or not a text. Give choices as a list of texts."
                )
            check_characters(place, "choices", choice)
        if len(choices) < 2:
            raise DataError(f"{place}: choices holds {len(choices)}. Give two or more.")
        return ChoiceExample(question, choices, read_answer(records, index, choices) if labelled else None)

    def check_answers(self, examples: Sequence[ChoiceExample], records: Records) -> None:
        """Warn of right choices that stand among the choices a second time."""
        twice = [
            index
            for index, (_, choices, answer) in enumerate(examples)
            if answer is not None and choices.count(choices[answer]) > 1
        ]
        if twice:
            example = examples[twice[0]]
            warn(
                f"{records.place(twice[0])}: the right choice {shown(example.choices[example.answer or 0])} stands "
                f"twice among the choices; so in {len(twice)} of {len(examples)} records. Two readings: either of them "
                "is right, or just the one that answer names. It is read as the second one; remove the other choice."
            )

    def samples(self) -> list[Record]:
        return [
            {"question": "Where is it?", "choices": ["in Rome", "on a Monday morning"], "answer": 0},
            {"question": "It is late. Why?", "choices": ["Maria wrote it.", "It was sent late."], "answer": 1},
        ]

    def show(self, feature: Choices, view: ModelView) -> list[str]:
        lines = []
        for number, ids in enumerate(feature.inputs["input_ids"]):
            labels = feature.inputs["labels"][number] if "labels" in feature.inputs else [IGNORED] * len(ids)
            right = "right" if number == feature.targets["answer"] else "wrong"
            if view.family == "encoder-decoder":
                text = show_tokens([*ids, *labels], [False] * len(ids) + [True] * len(labels), view.tokenizer)
            else:
                text = show_tokens(ids, [label != IGNORED for label in labels], view.tokenizer)
            lines.append(f"{number} ({right}): {text}")
        return lines

    def encode(self, examples: Sequence[ChoiceExample], view: ModelView, *, targets: bool) -> Encoded:
        rows_of = {"encoder": pairs, "decoder": continuations, "encoder-decoder": targets_of}[view.family]
        features: list[Choices] = []
        cut: dict[int, str] = {}
        for index, example in enumerate(examples):
            rows, lost = rows_of(example, view)
            inputs = {name: [row[name] for row in rows] for name in rows[0]}
            features.append(Choices(inputs, index, {"answer": example.answer} if targets else {}))
            if lost:
                cut[index] = lost
        return Encoded(features, count_cut(cut, view, self.overflow))

    def arrays(self, features: Sequence[Choices], view: ModelView) -> dict[str, np.ndarray]:
        """A batch: of an encoder `(B, C, T)`, where a choice that a record lacks is one padding token; else one row a
        choice, with `labels` that mark its tokens. Where records have different numbers of choices, `choices` `(B,)`
        holds them.
        """
        counts = [len(feature.inputs["input_ids"]) for feature in features]
        most = max(counts)
        flat = view.family != "encoder"
        batch = {}
        for name in features[0].inputs:
            padding = filler(name, view.tokenizer)
            empty = [[1 if name == "attention_mask" else padding]]
            rows = [
                feature.inputs[name] + empty * (0 if flat else most - len(feature.inputs[name])) for feature in features
            ]
            padded = pad(list(chain.from_iterable(rows)), padding, view.width)
            batch[name] = padded if flat else padded.reshape(len(features), most, -1)
        if flat or min(counts) < most:
            batch["choices"] = np.array(counts, dtype=np.int64)
        if features[0].targets:
            batch["answer" if flat else "labels"] = np.array(
                [each.targets["answer"] for each in features], dtype=np.int64
            )
        return batch

    def objective(self, examples: Sequence[ChoiceExample], view: ModelView) -> Objective | None:
        from torch.nn.functional import cross_entropy

        answers = "labels" if view.family == "encoder" else "answer"

        def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            rest = {name: value for name, value in batch.items() if name != answers}
            return cross_entropy(_scores(model, rest, view), batch[answers])

        return loss

    def weigher(self, examples: Sequence[ChoiceExample], view: ModelView) -> Weigher:
        answers = "labels" if view.family == "encoder" else "answer"
        return lambda batch: batch[answers].new_tensor(len(batch[answers]))

    def infer(self, model: PreTrainedModel, features: Sequence[Choices], view: ModelView) -> list[np.ndarray]:
        """The score of each choice `(C,)`."""
        batch = self.collate([Choices(feature.inputs, feature.example) for feature in features], view)
        scores = _scores(model, {name: value.to(model.device) for name, value in batch.items()}, view)
        return self.rows(scores.cpu().numpy(), features)

    def rows(self, logits: np.ndarray, features: Sequence[Choices]) -> list[np.ndarray]:
        """The scores of each feature, without those of choices that it lacks."""
        return [row[: len(feature.inputs["input_ids"])].copy() for row, feature in zip(logits, features, strict=True)]

    def decode(
        self,
        examples: Sequence[ChoiceExample],
        features: Sequence[Any],
        inferred: Sequence[np.ndarray],
        view: ModelView,
    ) -> list[np.ndarray]:
        return self.calibrated([softmax(scores) for scores in inferred])

    def score(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[np.ndarray]
    ) -> tuple[dict[str, float], Report]:
        gold = [int(example.answer or 0) for example in examples]
        scores, _ = classification_scores(gold, [int(prediction.argmax()) for prediction in predictions])
        return {"accuracy": scores["accuracy"]}, {}

    def tally(self, examples: Sequence[ChoiceExample], predictions: Sequence[np.ndarray]) -> Tally:
        right = [[1, each] for _, each in self.certainties(examples, predictions)]
        return Counted.of(right, lambda sums: {"accuracy": sums[:, 1] / sums[:, 0]})

    def guesses(self, examples: Sequence[ChoiceExample]) -> list[Any] | None:
        """The place at which the right choice stands most often in these, or the last one where there are fewer."""
        place, _ = Counter(int(example.answer or 0) for example in examples).most_common(1)[0]
        return [np.eye(len(each.choices))[min(place, len(each.choices) - 1)] for each in examples]

    def temperature_for(self, examples: Sequence[ChoiceExample], predictions: Sequence[np.ndarray]) -> float | None:
        return find_temperature(predictions, [int(example.answer or 0) for example in examples])

    def tempered(self, predictions: Sequence[np.ndarray], temperature: float) -> list[np.ndarray]:
        return [temper(each, temperature) for each in predictions]

    def present(self, example: ChoiceExample, prediction: np.ndarray, *, scores: bool) -> Any:
        return dict(enumerate(map(float, prediction))) if scores else int(prediction.argmax())

    def text_of(self, record: Record) -> str:
        asked = [record.get(name) for name in ("context", "premise", "question")]
        choices = [f"({number}) {choice}" for number, choice in enumerate(record["choices"])]
        return "\n".join([*(part for part in asked if isinstance(part, str) and part), *choices])

    def judge(self, example: ChoiceExample, prediction: np.ndarray) -> Judgement | None:
        given = int(prediction.argmax())
        return None if given == example.answer else Judgement(given, example.answer, float(prediction[given]))

    def certainties(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[np.ndarray]
    ) -> list[tuple[float, bool]]:
        return [
            (float(each.max()), int(each.argmax()) == example.answer)
            for example, each in zip(examples, predictions, strict=True)
        ]


def _scores(model: PreTrainedModel, batch: dict[str, torch.Tensor], view: ModelView) -> torch.Tensor:
    """`(B, C)`: the head's score of each choice, or the mean log probability of its tokens (Brown et al., 2020)."""
    import torch

    counts = batch.get("choices")
    inputs = {name: value for name, value in batch.items() if name != "choices"}
    if view.family == "encoder":
        scores: torch.Tensor = model(**inputs).logits.float()
        if counts is None:
            return scores
    else:
        from lightadapt.tasks.losses.likelihoods import log_likelihoods

        assert counts is not None
        total, tokens = log_likelihoods(model, inputs, shifted=view.family == "decoder")
        rows = torch.split(total / tokens.clamp(min=1), counts.tolist())
        scores = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    absent = torch.arange(scores.shape[1], device=scores.device) >= counts.to(scores.device)[:, None]
    return scores.masked_fill(absent, float("-inf"))
