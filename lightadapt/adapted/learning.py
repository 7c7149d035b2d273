"""What an adapted model does with data that it learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from lightadapt.adaptation.history import History
from lightadapt.adaptation.preview import preview
from lightadapt.adapted.sharing import Sharing
from lightadapt.data import Data, is_collection
from lightadapt.data.skipping import BadRecords, check_on_error
from lightadapt.display import html
from lightadapt.errors import LightAdaptError
from lightadapt.numbers import check_flags, check_whole
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import FIT
from lightadapt.tasks import Label, LabelledTask
from lightadapt.training.checks import check_all
from lightadapt.training.fit import fit
from lightadapt.training.given import as_trainer_knows
from lightadapt.training.settings import SAVE_MINUTES, read_settings


class Learning(Sharing):
    """It learns, and shows and checks what it would learn."""

    @explained(FIT, also=as_trainer_knows)
    def fit(
        self,
        train: Data,
        validation: Data | float | None = None,
        *,
        epochs: float | None = None,
        learning_rate: float | None = None,
        head_learning_rate: float | None = None,
        batch_tokens: int | None = None,
        early_stopping: int | None = None,
        recipe: str | None = None,
        unlabelled: Data | None = None,
        resume: bool = False,
        output_dir: str | Path | None = None,
        optimizer: str | None = None,
        cache: bool | str = "auto",
        base_dropout: bool = False,
        save_minutes: float | None = SAVE_MINUTES,
        callbacks: Sequence[Any] = (),
        args: Mapping[str, Any] | TrainingArguments | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
        summary: bool = True,
        calibrate: bool = False,
    ) -> History:
        """Train, and return the record of the run.

        With validation data, the headline metric is computed every epoch, and the weights of the best epoch are kept.

        Args:
            train: any form of data (see `lightadapt.data.read`).
            validation: likewise; or a share of the training data to hold out, such as 0.1, which has its share of each
                class and goes by the seed of the adaptation. `History.held_out` has the numbers of its records.
            epochs: passes over the data; default: about 1,000 steps, at least 3 and at most 20 epochs.
            learning_rate: of what the method trains; default: the method's own. The head's keeps its ratio to it.
            head_learning_rate: of the head; default: the method's own for it, in its ratio to `learning_rate`.
            batch_tokens: tokens of a batch without padding, in each process; default: the average of 16 records.
            early_stopping: stop after this many evaluations in a row that do not improve the headline metric.
            recipe: `"few-shot"`, for a few records of each class: the rows of the head start at the means of their
                classes, and texts of one class are drawn together (docs/few_labels.md); or `"standard"`. None:
                few-shot for a classification by a sentence encoder with at most 64 records of each class, or 256 in
                all; likewise for several labels of at least ten, and for entities by any encoder.
            unlabelled: texts without labels, for task classification. The model labels them when it has learned the
                others, and learns those it is surest of in a second run.
            resume: go on from the last checkpoint in `output_dir`; without one, start afresh.
            output_dir: keep a checkpoint there every epoch; each is an artifact that `load` reads.
            optimizer: `"adamw"`; `"adamw8bit"`, with its state in 8 bits; or `"paged_adamw8bit"`, whose state moves to
                the memory of the CPU when that of the GPU is full.
            cache: keep the hidden states of the blocks below everything that learns from one epoch to the next, in
                memory or in a file. `"auto"`: where only the time changes; True: raise where it is impossible;
                `"bf16"`: as True, rounded to 16 bits, which halves the space.
            base_dropout: keep dropout on in the frozen part of the model, too.
            save_minutes: with `output_dir`, also save a checkpoint inside an epoch when the last one is this many
                minutes old; None: only at the end of epochs.
            callbacks: of transformers' Trainer.
            args: any other of `transformers.TrainingArguments`, as a dict or as an object.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: what happens to a record that cannot be used. `"raise"`: it is an error; `"skip"`: it is left out,
                and a warning gives the number of such records and the reasons of the first.
            summary: keep vectors of up to 1,000 training records, and counts of the labels, with which `drift` and
                `predict(…, unknown=True)` compare texts. They are saved with the artifact. No text is, but a vector
                says much of what its text was about.
            calibrate: find a temperature on the validation data at the end, so that probabilities are right as often as
                they say (see `calibrate`); `History.settings["calibration"]` has what it did.

        Raises:
            DataError: a record cannot be used; raised before training starts.
            LightAdaptError: the settings contradict each other, or the loss is no longer finite.
        """
        self._several.check_enabled("fit")
        check_on_error(on_error)
        check_flags(summary=summary, calibrate=calibrate)
        settings = read_settings(
            args,
            epochs=epochs,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            batch_tokens=batch_tokens,
            early_stopping=early_stopping,
            recipe=recipe,
            twice=unlabelled is not None,
            resume=resume,
            output_dir=output_dir,
            optimizer=optimizer,
            cache=cache,
            base_dropout=base_dropout,
            save_minutes=save_minutes,
            validates=validation is not None,
        )
        with self._several.computing(self.runner, learning=True) as now:
            return fit(
                now,
                train,
                validation,
                settings,
                unlabelled=unlabelled,
                columns=columns,
                callbacks=callbacks,
                on_error=on_error,
                summary=summary,
                calibrates=calibrate,
            )

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Add labels behind those that the task has; the part of the head for the old ones keeps its values.

        Raises:
            LightAdaptError: the task has no labels, its labels are not known yet, or it has a new one already.
        """
        self._several.check_enabled("add_labels")
        with self._several.computing(self.runner, learning=True) as now:
            if not isinstance(now.task, LabelledTask):
                raise LightAdaptError(f"Task {now.task.name!r} has no labels, so none can be added.")
            now.require_labels()
            if not is_collection(labels) or isinstance(labels, Mapping):
                raise LightAdaptError(f"labels={labels!r}: give a list of names, such as ['warranty'].")
            now.settle(now.task.with_labels([*(now.task.labels or ()), *labels]))

    def preview(
        self, data: Data, n: int = 3, *, columns: Mapping[str, str | int] | None = None, on_error: str = "raise"
    ) -> None:
        """Print what form the data is in, and the first `n` records as the model will see them.

        What is learned of them stands between ⟦ and ⟧; what is cut is said below.

        A notebook shows what is learned in colour.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            n: how many records.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`.

        Raises:
            DataError: a record cannot be used.
        """
        check_whole("n", n, wanted="a whole number above 0")
        bad = BadRecords(on_error)
        with self._several.backbone.lock:
            seen = self.runner.prepare(data, columns=columns, bad=bad)
            bad.tell(len(seen.examples))
            self.runner.check_legible(seen.examples)
            places = [seen.records.place(index) for index in range(min(n, len(seen.records)))]
            shown = preview(seen.task, seen.examples[: len(places)], places, seen.view)
            text = f"{seen.records.described(seen.task.name)}\n{shown}"
        html.show(text, html.marked(text))

    def check(
        self, data: Data | None = None, *, columns: Mapping[str, str | int] | None = None, on_error: str = "raise"
    ) -> list[str]:
        """Try up to eight steps without changing anything, and return what was found to be right, a line each.

        Weights: everything that should be trained is, in float32. Targets: there is something to learn, with the end
        token where text is generated. Gradients: they reach every inserted tensor. Padding: records in a batch give
        what they give alone. `fit` always checks the first three, and the learning rate.

        Args:
            data: records to try it on; None: two short ones that come with the task.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`.

        Raises:
            LightAdaptError: something would fail in silence, with what to do about it; or the labels are not known yet.
        """
        self._several.check_enabled("check")
        bad = BadRecords(on_error)
        with self._several.computing(self.runner, learning=True) as now:
            return check_all(now, data, columns, bad)
