"""What every task is: records are encoded into features, and the model's outputs are decoded and scored."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.data import Data, Record, Records, is_collection
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError, shown
from lightadapt.registry import Registry
from lightadapt.tasks.encoding.features import Encoded, filler, pad, unpad
from lightadapt.tasks.encoding.parsing import parse_usable, read_examples, read_records
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.fitted import Fitted
from lightadapt.tasks.judging import Judging
from lightadapt.tasks.losses.objective import Objective, Weigher, count_targets

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lightadapt.anatomy import Family

EVERY_FAMILY: tuple[Family, ...] = ("encoder", "decoder", "encoder-decoder")


@dataclass(frozen=True)
class Task(Judging):
    """A kind of problem. Its methods form one line: `parse`, `encode`, `infer`, `decode`, `score`.

    A class that derives from it is known to `adapt` and `load` by its `name` from its definition on.
    """

    name: ClassVar[str]
    """The name to call it by, under which it is saved."""
    auto_classes: ClassVar[Mapping[Family, str]]
    """For each family that can serve the task, the transformers Auto class for it, or a name made like theirs."""
    fields: ClassVar[tuple[str, ...]]
    """The fields that a record may have."""
    answer_fields: ClassVar[tuple[str, ...]]
    """Those of them that `predict` does not need."""
    pipeline: ClassVar[str]
    """The name of the task on the hub."""
    problem_type: ClassVar[str | None] = None
    """What transformers' heads for texts call their loss; without it they guess from the type of the labels."""
    comparable: ClassVar[bool] = True
    """Whether what is inferred is an array that a record alone must give again in a batch."""
    numeric: ClassVar[bool] = False
    """Whether the answer is a number."""
    one_answer: ClassVar[bool] = False
    """Whether a record has a single answer, which the head reads off one vector."""
    needs_offsets: ClassVar[bool] = False
    """Whether the tokenizer must know where its tokens lie in the text."""
    looks_back: ClassVar[bool] = False
    """Whether `remarks` are to be made on the validation data when a training has ended."""
    group_fields: ClassVar[tuple[str, ...]] = ()
    """Fields whose records with one value are of one piece, such as questions about one context."""

    columns: Mapping[str, str | int] | None = field(default=None, kw_only=True)
    """`{field: column}` for fields that have another name in the data; a number counts those of a CoNLL file."""
    fitted: Fitted = field(default=Fitted(), kw_only=True, repr=False)
    """What the task has learned from data; `fit` sets it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        KNOWN_TASKS.add(cls)

    def settings(self) -> dict[str, Any]:
        """What the caller chose of the task, as JSON values; labels and what is learned are no settings."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("labels", "fitted")}

    def as_json(self) -> dict[str, Any]:
        """What `task_of_json` makes the task of again, with its labels, which are kept apart."""
        return {"name": self.name, "settings": self.settings(), "fitted": self.fitted.as_json()}

    # ---- records

    def as_record(self, item: Any) -> Any:
        """The record that an input of `predict` stands for: a text stands for `{"text": …}`."""
        return {"text": item} if isinstance(item, str) else item

    def read(
        self,
        source: Data | Records,
        *,
        split: str = "train",
        columns: Mapping[str, str | int] | None = None,
        labelled: bool = True,
        bad: BadRecords | None = None,
    ) -> Records:
        """The records of any form of data, with this task's column names applied; `bad` takes what is no record."""
        columns = (self.columns if columns is None else columns) or {}
        return read_records(self, source, split=split, columns=columns, labelled=labelled, bad=bad)

    def parse(self, records: Records, *, labelled: bool = True) -> Sequence[Any]:
        """The checked examples of the records; `labelled` says whether the answer must be there.

        Raises:
            DataError: naming the record, the field and the remedy.
        """
        return self.parse_usable(records, BadRecords(), labelled=labelled)[0]

    def parse_usable(
        self, records: Records, bad: BadRecords, *, labelled: bool = True
    ) -> tuple[Sequence[Any], Records]:
        """The checked examples, and the records that they are of; `bad` takes those that cannot be used.

        Raises:
            DataError: a record cannot be used, and none may be left out; or a column is misspelt.
        """
        return parse_usable(self, records, bad, labelled=labelled)

    def read_examples(
        self, source: Data, *, split: str, columns: Mapping[str, str | int] | None, bad: BadRecords | None = None
    ) -> tuple[Sequence[Any], Records]:
        """The checked examples of labelled data, whose answers the task can learn, and the records behind them.

        Args:
            bad: takes the records that cannot be used; None: they are refused.

        Raises:
            DataError: naming the record, the field and the remedy.
        """
        return read_examples(self, source, split=split, columns=columns, bad=bad or BadRecords())

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields that count for these records; a column with nearly such a name is taken for a slip."""
        return [name for name in self.fields if labelled or name not in self.answer_fields]

    @abstractmethod
    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Any:
        """The checked example of one record."""

    def check_answers(self, examples: Sequence[Any], records: Records) -> None:
        """Raise a DataError that names the first record whose answer this task cannot learn."""

    def classes_of(self, examples: Sequence[Any]) -> list[Sequence[Hashable]]:
        """The classes of each example, of which each part of divided data is to have its share; most often none."""
        return [()] * len(examples)

    def prepare(self, examples: Sequence[Any], *, fresh_head: bool) -> Task:
        """The task as it learns from these examples; `fresh_head` says whether its head has learned nothing yet."""
        return self.uncalibrated()

    @property
    def output_scale(self) -> tuple[float, float] | None:
        """The mean and the spread of what the head is to give, when it would take it long to get there; else None."""
        return None

    @property
    def tunes(self) -> bool:
        """Whether anything is to be tuned on validation data."""
        return False

    def tune_on_validation(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Task:
        """The task with what can be tuned on validation examples after training, from their predictions."""
        return self

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, family: Family) -> PreTrainedTokenizerBase:
        """The tokenizer as the task needs it: as it is, or a copy with something set.

        Raises:
            LightAdaptError: it cannot serve the task.
        """
        return tokenizer

    def end_tokens(self, view: ModelView) -> frozenset[int]:
        """The tokens of which a sequence must learn one, so that what is generated ends; none where nothing is."""
        return frozenset()

    def with_options(self, options: Mapping[str, Any]) -> Task:
        """The task with these options of generation.

        Raises:
            LightAdaptError: it generates nothing, or there is no such option.
        """
        raise LightAdaptError(f"Task {self.name!r} generates no text, so it takes no options. Leave them out.")

    def with_threshold(self, threshold: float) -> Task:
        """The task with this threshold for its predictions.

        Raises:
            LightAdaptError: it predicts by none, or it is none.
        """
        raise LightAdaptError(
            f"threshold={shown(threshold)} is for task 'multilabel', not {self.name!r}. Leave it out."
        )

    def with_temperature(self, temperature: float | None) -> Task:
        """The task with another temperature for its probabilities; None: with raw ones."""
        return replace(self, fitted=replace(self.fitted, temperature=temperature))

    def uncalibrated(self) -> Task:
        """The task with raw probabilities."""
        return self if self.fitted.temperature is None else self.with_temperature(None)

    # ---- the head

    @property
    def ready(self) -> bool:
        """Whether the outputs of the head are known."""
        return True

    def uses_lm_head(self, family: Family) -> bool:
        """Whether models of this family do the task with the output layer of a language model, so without a head."""
        return self.auto_classes.get(family, "").endswith(("ForCausalLM", "ForSeq2SeqLM"))

    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs, in order; none where the head is the model's own."""
        return ()

    # ---- records to features, outputs to predictions

    @abstractmethod
    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        """The features of the examples, with targets or without."""

    def arrays(self, features: Sequence[Any], view: ModelView) -> dict[str, np.ndarray]:
        """The features as one batch: `(B, T)` for what is a list, padded on the right, and `(B,)` for numbers."""
        first = features[0]
        batch = {name: [feature.inputs[name] for feature in features] for name in first.inputs}
        batch |= {name: [feature.targets[name] for feature in features] for name in first.targets}
        return {name: pad(values, filler(name, view.tokenizer), view.width) for name, values in batch.items()}

    def collate(self, features: Sequence[Any], view: ModelView) -> dict[str, torch.Tensor]:
        """The features as one batch of tensors, as `arrays` makes it."""
        import torch

        return {name: torch.from_numpy(array) for name, array in self.arrays(features, view).items()}

    def first_outputs(self, examples: Sequence[Any], view: ModelView) -> np.ndarray | None:
        """The outputs `(K,)` that an untrained head should start with for these examples; None: as they come."""
        return None

    def objective(self, examples: Sequence[Any], view: ModelView) -> Objective | None:
        """The loss to train with on these examples; None: the model's own."""
        return None

    def cost(self, feature: Any) -> int:
        """The tokens that inferring from a feature goes through, by which batches are formed."""
        return len(feature)

    def weigher(self, examples: Sequence[Any], view: ModelView) -> Weigher:
        """What the losses of batches weigh by where several make one step: their targets, as if in one batch."""
        return count_targets

    def infer(self, model: PreTrainedModel, features: Sequence[Any], view: ModelView) -> list[Any]:
        """What the model gives for a batch of features, one each: logits `(K,)`, or `(T, K)` for one row a token."""
        batch = self.collate([replace(feature, targets={}) for feature in features], view)
        given = model(**{name: value.to(model.device) for name, value in batch.items()})
        return self.rows(self.logits_of(given).float().cpu().numpy(), features)

    def rows(self, logits: np.ndarray, features: Sequence[Any]) -> list[np.ndarray]:
        """The logits of each feature of a batch, without those of padding."""
        return unpad(logits, features)

    def logits_of(self, given: Any) -> torch.Tensor:
        """The logits in what the model returns: `(B, K)`, or `(B, T, K)`."""
        return given.logits  # type: ignore[no-any-return]

    def validation_features(self, features: Sequence[Any]) -> list[Any]:
        """The features as they are scored after each epoch: what the headline does not need may be left out."""
        return list(features)

    @abstractmethod
    def decode(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Any]:
        """The predictions, one an example, from what was inferred, one a feature."""

    def show(self, feature: Any, view: ModelView) -> list[str]:
        """A feature with its target in lines for people: the text, and below it what is to be learned."""
        ids = feature.inputs["input_ids"]
        return [show_tokens(ids, [False] * len(ids), view.tokenizer), f"label: {self.show_target(feature, view)}"]

    def show_target(self, feature: Any, view: ModelView) -> str:
        """What a sequence as a whole is to give: the name of an output, or what is learned as it is."""
        target = feature.targets["labels"]
        return view.outputs[target] if isinstance(target, int) else str(target)

    @abstractmethod
    def samples(self) -> list[Record]:
        """Two short records of this task, with answers, to try a model on."""

    def present(self, example: Any, prediction: Any, *, scores: bool) -> Any:
        """A prediction as the user sees it; `scores` asks for the probability of each answer, where there are any."""
        return prediction

    def text_of(self, record: Record) -> str:
        """What a record asks, as people read it: its texts that are no answer."""
        asked = (record.get(name) for name in self.fields if name not in self.answer_fields)
        parts: Iterable[Any] = (part if is_collection(part) else [part] for part in asked)
        return "\n".join(filter(None, (" ".join(each for each in part if isinstance(each, str)) for part in parts)))


KNOWN_TASKS: Registry[Task] = Registry("task", "lightadapt.tasks")
"""Every task of this process by the name that it declares."""
