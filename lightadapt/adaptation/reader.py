"""Records as a model reads them: what can be used of them, their features, and what has to be said of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightadapt.adaptation.batches import Sizes
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.data.stored import OnDisk, Stored, pieces, stored_like
from lightadapt.errors import LightAdaptError, RecordError, warn
from lightadapt.tasks import Count, Feature, ModelView, Task
from lightadapt.tasks.encoding.features import as_notes
from lightadapt.tasks.encoding.legibility import check_legible, is_read_whole

if TYPE_CHECKING:
    from lightadapt.zero_shot.stand_in import StandIn

PIECE = 250
"""Examples that are encoded at once: what the tokenizer gives for them takes several times the room of the features."""


class Reader(ABC):
    """What reads records for a task and answers them, by whatever computes.

    Attributes:
        task: the task, with its labels once they are known.
        tokenizer: as the task needs it.
        accepted: the names of the inputs that the model takes.
    """

    task: Task
    tokenizer: Any
    accepted: Collection[str]

    @abstractmethod
    def view_of(self, task: Task) -> ModelView:
        """What a form of the task knows of the model."""

    @abstractmethod
    def predict(
        self,
        examples: Sequence[Any],
        records: Records,
        *,
        targets: bool = False,
        task: Task | None = None,
        batch_tokens: int | None = None,
    ) -> Iterator[Any]:
        """The predictions for examples one by one."""

    def answering(self, task: Task) -> Task | StandIn:
        """What encodes and infers where a form of the task is to be answered: the task, or a stand-in for its head."""
        return task

    def require_labels(self) -> None:
        """Raise when the labels are not known yet.

        Raises:
            LightAdaptError: they are read from data first, or given.
        """
        if not self.task.ready:
            raise LightAdaptError(
                "The labels are not known yet: fit(…) reads them from its data, or give them: adapt(…, labels=[…])."
            )

    @property
    def view(self) -> ModelView:
        """What the task knows of the model.

        Raises:
            LightAdaptError: the labels are not known yet.
        """
        self.require_labels()
        return self.view_of(self.task)

    def read(
        self, data: Data, task: Task, split: str, *, columns: Mapping[str, str | int] | None, bad: BadRecords
    ) -> tuple[Sequence[Any], Records]:
        """Labelled data to score a form of the task on: the checked examples, and their records.

        Args:
            split: the split of a hub data set when its id names none.
            bad: takes the records that cannot be used.

        Raises:
            DataError: naming the record, the field and the remedy.
        """
        examples, records = task.read_examples(data, split=split, columns=columns, bad=bad)
        examples, records = self.usable(examples, records, bad, targets=True, task=self.answering(task))
        bad.check_rest(len(examples))
        return examples, records

    def usable(
        self,
        examples: Sequence[Any],
        records: Records,
        bad: BadRecords,
        *,
        targets: bool,
        task: Task | StandIn | None = None,
    ) -> tuple[Sequence[Any], Records]:
        """The examples that can be encoded, and their records; all, where none may be left out.

        They are encoded to find out, so that what is left out is known before there are warnings about the others.
        """

        def check(examples: Sequence[Any], records: Records) -> None:
            for _ in self._encode(examples, None, targets, task or self.task, []):
                pass

        return usable(examples, records, check, bad) if bad.skips else (examples, records)

    def check_legible(self, examples: Sequence[Any], features: Sequence[Feature] = (), *, refuse: bool = False) -> None:
        """Warn when the tokenizer cannot read much of the examples, or raise where hardly anything is left of them.

        Args:
            features: of the examples, where they have been encoded, which tell of a few plain texts faster.

        Raises:
            LightAdaptError: with `refuse`, nothing could be learned.
        """
        if features and is_read_whole(examples, features, self.tokenizer):
            return
        check_legible(examples, self.task.answer_fields, self.tokenizer, refuse=refuse)

    def encode(
        self,
        examples: Sequence[Any],
        records: Records | None = None,
        *,
        targets: bool,
        task: Task | None = None,
    ) -> Sequence[Feature]:
        """The examples as the model reads them, with a warning for what had to be cut; in a file when they are in one.

        Args:
            records: what the examples were parsed from, so that an error can name file and line.
            task: another form of the task than the present one.

        Raises:
            DataError: a record cannot be encoded.
        """
        return stored_like(examples, self._encode_and_tell(examples, records, targets, task or self.task))

    def encode_for_prediction(
        self, examples: Sequence[Any], records: Records, *, targets: bool = False, task: Task | None = None
    ) -> tuple[Sequence[Feature], Sizes]:
        """As `encode`, but the features of many examples are in a file, with their sizes, so that it is read once.

        Raises:
            DataError: a record cannot be encoded.
        """
        sizes, form = Sizes(), self.answering(task or self.task)
        encoded = sizes.noted(self._encode_and_tell(examples, records, targets, form), form)
        return Stored(encoded) if len(examples) > PIECE else stored_like(examples, encoded), sizes

    def _encode_and_tell(
        self, examples: Sequence[Any], records: Records | None, targets: bool, task: Task | StandIn
    ) -> Iterator[Feature]:
        """The features one by one, and behind the last of them the warnings."""
        counts: list[Count] = []
        yield from self._encode(examples, records, targets, task, counts)
        named = {} if records is None else {"place": records.place}
        for note in as_notes(counts, len(examples), **named):
            warn(note)

    def _encode(
        self,
        examples: Sequence[Any],
        records: Records | None,
        targets: bool,
        task: Task | StandIn,
        counts: list[Count],
    ) -> Iterator[Feature]:
        """The features one by one; `counts` takes what has to be warned of."""
        view = self.view_of(task if isinstance(task, Task) else task.task)
        # An encoder-decoder wants as many end tokens in every text, which is seen of all of them together only.
        whole = view.family == "encoder-decoder" and not isinstance(examples, OnDisk)
        size = max(1, len(examples)) if whole else PIECE
        for number, piece in enumerate(pieces(examples, size)):
            try:
                encoded = task.encode(piece, view, targets=targets)
            except RecordError as error:
                place = error.index + number * size
                raise RecordError(place, error.reason) if records is None else error.at(records.place(place)) from None
            counts += (count.behind(number * size) for count in encoded.counts)
            for feature in encoded.features:
                feature.example += number * size
                if "token_type_ids" not in self.accepted:  # tokenizers say more than some models want to hear
                    feature.inputs.pop("token_type_ids", None)
                yield feature
