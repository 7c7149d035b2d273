"""A task on an adaptation: records become features, features predictions, and predictions scores."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.batches import Sizes
from lightadapt.adaptation.history import LastRun
from lightadapt.adaptation.past import Past
from lightadapt.adaptation.prediction import decoded
from lightadapt.adaptation.reader import Reader
from lightadapt.anatomy import family_of, outermost
from lightadapt.base.limits import room_for_text
from lightadapt.base.pooling import pooling_of
from lightadapt.data import Called, Data, Records
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.errors import LightAdaptError, warn
from lightadapt.heads.outputs import LastTokenPooling
from lightadapt.heads.pooling import Pooling
from lightadapt.tasks import Feature, Label, LabelledTask, ModelView, Task
from lightadapt.zero_shot.choosing import ZeroShot
from lightadapt.zero_shot.stand_in import StandIn


@dataclass(frozen=True)
class Prepared:
    """Labelled data, read and checked, and the task as it learns from it."""

    records: Records
    examples: Sequence[Any]
    task: Task
    view: ModelView


class Runner(Reader):
    """Runs a task on an adaptation.

    Attributes:
        adaptation: what is inserted.
        task: the task, with its labels once they are known.
        tokenizer: as the task needs it.
        last_run: what is known of the last training.
        past: what is kept of the steps in which it learned.
    """

    def __init__(self, adaptation: Adaptation, task: Task, tokenizer: Any) -> None:
        self.adaptation = adaptation
        self.task = task
        self.tokenizer = tokenizer
        self.last_run = LastRun()
        self.past = Past()
        self._pooling: tuple[Pooling | None] | None = None
        """How the base makes vectors that can be compared, if it does, once that was looked up."""
        self._zero_shot = ZeroShot(adaptation.base)
        self._shots: Sequence[Any] = ()
        """Labelled examples that are shown with each text as long as nothing was learned."""
        self._told = False
        """Whether it was said that the head has learned nothing."""
        design = adaptation.design
        self.max_length = room_for_text(design.blueprint.anatomy, tokenizer, design.method)
        self.family = family_of(adaptation.model.config)
        self.accepted = _arguments(adaptation.model)
        self._agree_on_padding()
        self._scale_outputs()
        if adaptation.head.has_names_to_adopt and isinstance(task, LabelledTask):
            self._adopt_labels(task)

    @property
    def model(self) -> PreTrainedModel:
        """A transformers model of the task's own class."""
        return self.adaptation.model

    def _agree_on_padding(self) -> None:
        """One padding token for tokenizer and model, and a head that pools by the mask."""
        if self.family == "encoder":
            return
        for config in (self.model.config, self.model.config.get_text_config()):
            config.pad_token_id = self.tokenizer.pad_token_id
        if self.task.auto_classes[self.family].endswith("ForSequenceClassification"):
            LastTokenPooling(self.model, outermost(self.model, self.adaptation.head.parts))

    def _scale_outputs(self) -> None:
        if self.task.output_scale is not None:
            self.adaptation.head.scale(*self.task.output_scale)

    # ---- labels

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None as long as they are not known."""
        if not isinstance(self.task, LabelledTask) or self.task.labels is None:
            return None
        return list(self.task.labels)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs in order; none where the head is the model's own.

        Raises:
            LightAdaptError: the labels are not known yet.
        """
        self.require_labels()
        return self.view_of(self.task).outputs

    def view_of(self, task: Task) -> ModelView:
        """What a form of the task knows of the model, whose head may still have to get its outputs."""
        outputs, known = task.outputs(), self.adaptation.head.outputs
        outputs = known if outputs and set(outputs) == set(known) else outputs  # a head keeps the order it has
        return ModelView(self.tokenizer, self.max_length, self.family, outputs)

    def _adopt_labels(self, task: LabelledTask) -> None:
        """Take over the labels of a head that came trained with the checkpoint, until data says otherwise."""
        labels = task.labels_of(self.adaptation.head.outputs)
        if labels is not None:
            self.task = task.with_labels(labels)
            self.adaptation.head.adopt()

    def settle(self, task: Task) -> None:
        """Take a form of the task for good; the head follows when its outputs are new."""
        before, self.task = self.task, task
        self._zero_shot = ZeroShot(self.adaptation.base)  # what it holds is needed no more, once something is learned
        self.adaptation.head.settle(task.outputs())
        if before.output_scale is None:
            self._scale_outputs()

    # ---- records in

    def prepare(
        self, data: Data, *, columns: Mapping[str, str | int] | None = None, bad: BadRecords | None = None
    ) -> Prepared:
        """Training data, and the task as it learns from it, with its labels unless they are settled before.

        Args:
            bad: takes the records that cannot be used; None: they are refused.

        Raises:
            DataError: naming the record, the field and the remedy.
        """
        bad = bad or BadRecords()
        examples, records = self.task.parse_usable(self.task.read(data, columns=columns, bad=bad), bad)
        bad.check_rest(len(examples))
        task, count = self._task_for(examples), len(examples)
        examples, records = usable(examples, records, task.check_answers, bad)
        examples, records = self.usable(examples, records, bad, targets=True, task=task)
        bad.check_rest(len(examples))
        if len(examples) < count:  # labels and scales are those of what is learned
            task = self._task_for(examples)
        return Prepared(records, examples, task, self.view_of(task))

    def _task_for(self, examples: Sequence[Any]) -> Task:
        """The task as it learns from these examples."""
        task, head = self.task, self.adaptation.head
        if not head.is_settled and isinstance(task, LabelledTask):
            found = task.find_labels(examples)
            if task.labels is None or not set(found) <= set(task.labels):
                task = task.with_labels(found)
        return task.prepare(examples, fresh_head=head.is_fresh)

    def collate(self, features: Sequence[Feature], *, few_widths: bool = False) -> dict[str, torch.Tensor]:
        """The features as one padded batch, whose width is one of a few where that is asked for."""
        view = replace(self.view, few_widths=True) if few_widths else self.view
        return self.task.collate(features, view)

    # ---- predictions out

    def decode(
        self, examples: Sequence[Any], features: Sequence[Feature], task: Task | None = None, *, shared: bool = False
    ) -> list[Any]:
        """What the model predicts for the examples, by the task as it is or with other options.

        Args:
            shared: whether all processes call this together, so that each can do its share.
        """
        sizes = Sizes()
        form = task or self.task
        deque(sizes.noted(features, form), maxlen=0)
        return list(decoded(self.adaptation, form, self.view, examples, features, sizes, shared=shared))

    def answering(self, task: Task) -> Task | StandIn:
        """The task, or a stand-in where the head has learned nothing and there is one."""
        if not self.adaptation.head.is_untouched:
            return task
        return self._zero_shot.stand_in(task, self._shots) or task

    @property
    def zero_shot(self) -> StandIn | None:
        """What stands in for a head that has learned nothing; None where it has, or where nothing can."""
        form = self.answering(self.task)
        return None if isinstance(form, Task) else form

    def with_shots(self, shots: Data | None, *, columns: Mapping[str, str | int] | None = None) -> Runner:
        """The same, where each text is shown with labelled examples as long as nothing was learned.

        Raises:
            DataError: an example cannot be used, or has a label that is none.
            LightAdaptError: something was learned, or the model takes no examples.
        """
        if shots is None:
            return self
        self.require_labels()
        if not self.adaptation.head.is_untouched:
            raise LightAdaptError("shots=…: the head has learned by now, so it needs no examples. Leave them out.")
        self._zero_shot.check_shots(self.task)
        other = copy(self)
        other._shots = list(self.task.read_examples(Called(shots, "shots"), split="train", columns=columns)[0])
        return other

    def _tell_untrained(self) -> None:
        """Warn, once, where what is predicted comes from a head that has learned nothing."""
        if self._told or not self.adaptation.head.is_untouched or self.zero_shot is not None:
            return
        self._told = True
        warn(
            "The head has learned nothing yet, so what it predicts means nothing: "
            f"{self._zero_shot.why_not(self.task)}. Train it with fit(…){self._zero_shot.way_out(self.task)}."
        )

    @property
    def pooling(self) -> Pooling | None:
        """How the base makes vectors that can be compared; None where nothing says that it does."""
        if self._pooling is None:
            self._pooling = (pooling_of(self.adaptation.design.blueprint.source),)
        return self._pooling[0]

    def predict(
        self,
        examples: Sequence[Any],
        records: Records,
        *,
        targets: bool = False,
        task: Task | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Any]:
        """The predictions for examples one by one; the features of many examples are in a file.

        Args:
            records: what the examples were parsed from.
            targets: whether the answers are encoded, too, for scores that need what the model makes of them.
            batch_tokens: tokens of a batch; None: as many as suit the device.

        Raises:
            DataError: a record cannot be encoded; before anything is inferred.
        """
        features, sizes = self.encode_checked(examples, records, targets=targets, task=task)
        return self.predict_encoded(examples, features, sizes, task or self.task, batch_tokens=batch_tokens)

    def predict_encoded(
        self,
        examples: Sequence[Any],
        features: Sequence[Feature],
        sizes: Sizes,
        task: Task,
        *,
        batch_tokens: int | None = None,
    ) -> Iterator[Any]:
        """The predictions for examples one by one, from their features; the arguments are those of `decoded`."""
        return decoded(
            self.adaptation,
            self.answering(task),
            self.view,
            examples,
            features,
            sizes,
            batch_tokens=batch_tokens,
        )

    def encode_checked(
        self, examples: Sequence[Any], records: Records, *, targets: bool = False, task: Task | None = None
    ) -> tuple[Sequence[Feature], Sizes]:
        """As `encode_for_prediction`, with warnings for what the tokenizer cannot read and for a head that is random.

        Raises:
            DataError: a record cannot be encoded.
        """
        features, sizes = self.encode_for_prediction(examples, records, targets=targets, task=task)
        # Of a stream, only the first piece is checked.
        if not (isinstance(records.numbers, range) and records.numbers.start):
            self.check_legible(examples, features)
        self._tell_untrained()
        return features, sizes


def _arguments(model: PreTrainedModel) -> frozenset[str]:
    """The names of the arguments that a model takes, or passes on to its backbone."""
    own = inspect.signature(model.forward).parameters
    passes_on = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in own.values())
    return frozenset(own) | (frozenset(inspect.signature(model.base_model.forward).parameters) if passes_on else set())
