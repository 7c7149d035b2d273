"""What an adapted model does as data keeps coming: more classes, doubtful labels, other texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from lightadapt.adaptation.past import forget_memory
from lightadapt.adapted.sharing import Sharing
from lightadapt.continual.extending import Extension, extend, steps_of
from lightadapt.continual.keeping import keep_records
from lightadapt.continual.steps import Steps
from lightadapt.data import Data, Record
from lightadapt.data.skipping import BadRecords, check_on_error
from lightadapt.labelling import Choices, Suspects, choose, find_suspects
from lightadapt.numbers import check_flags
from lightadapt.stream.drift import find_drift
from lightadapt.stream.findings import Drift
from lightadapt.training.settings import read_settings


class Growing(Sharing):
    """It goes along with data that keeps coming."""

    def extend(
        self,
        data: Data,
        *,
        memory: int = 5,
        validation: Data | float | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_tokens: int | None = None,
        resume: bool = False,
        output_dir: str | Path | None = None,
        keep_weights: bool = True,
        callbacks: Sequence[Any] = (),
        args: Mapping[str, Any] | TrainingArguments | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
        summary: bool = True,
    ) -> Extension:
        """Learn from more data, for the classes that there are and for new ones, and keep what was learned before.

        `fit` learns what is in its data, and may lose what is not. This takes a step of its own: labels that the data
        has and the task lacks come behind the others, whose order stays; their rows in the head start at the means of
        their classes; and old classes are protected (docs/continual.md). A classification by a sentence encoder goes by
        the means of all classes from then on, and its adapter stays as the first step left it. Any other task goes on
        by gradients: records that are kept are learned again among the new ones, and the answers of the model as it was
        are held on to. On a model that has learned nothing it is the first step. One that fails or is interrupted
        leaves the model as it was.

        **Records that are kept are your data**: `save` and `push_to_hub` write them into the artifact, as
        `memory.jsonl`. `memory=0` keeps none, and `forget_memory()` drops them.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            memory: the records of each class that are kept for later steps; of a class that a `fit` of this process has
                learned, too. A task without classes keeps 20 times as many of each step.
            validation: records to score the step on, of old classes, too, so that it is seen what is lost; or a share
                of the data, such as 0.1, for which only classes of the data count. No weights are chosen by it.
            epochs: passes over the data; default: as many as make about 200 steps, in the first step as in `fit`.
            learning_rate: of what the method trains; default: the method's own.
            batch_tokens: as in `fit`.
            resume: as in `fit`, of a step that goes by gradients.
            output_dir: as in `fit`; where a step goes by the vectors there is nothing to keep of it.
            keep_weights: whether the weights from before this step are kept, so that `load(path, step=…)` gives them.
            callbacks: of transformers' Trainer.
            args: any other of `transformers.TrainingArguments`, as a dict or as an object.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`.
            summary: as in `fit`, of all that was learned by then; without one of what was learned before, none is kept.

        Raises:
            DataError: a record cannot be used, or a new label is a known one in another spelling; before training.
            LightAdaptError: the memory would be too large, or the settings contradict each other; or the loss is no
                longer finite.
        """
        self._several.check_enabled("extend")
        check_on_error(on_error)
        check_flags(keep_weights=keep_weights, summary=summary)
        settings = read_settings(
            args,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            resume=resume,
            output_dir=output_dir,
        )
        with self._several.computing(self.runner, learning=True) as now:
            return extend(
                now,
                data,
                validation,
                settings,
                memory=memory,
                keep_weights=keep_weights,
                columns=columns,
                callbacks=callbacks,
                on_error=on_error,
                summary=summary,
            )

    @property
    def steps(self) -> Steps:
        """The steps in which it has learned by `extend`, with their scores; they print as a table, and `.plot()`."""
        return steps_of(self.runner)

    @property
    def remembered(self) -> list[Record]:
        """The records that are kept for later steps, and written into the artifact."""
        return [each.record for each in self.runner.past.memory]

    def remember(
        self, data: Data, memory: int = 5, *, columns: Mapping[str, str | int] | None = None, on_error: str = "raise"
    ) -> None:
        """Keep records of classes that it has, so many of each, for later steps; they take the place of those kept.

        This is for classes that were learned in another process. The records go into the artifact, as in `extend`.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the memory would be too large, or nothing has been learned yet.
        """
        bad = BadRecords(on_error)
        with self._several.computing(self.runner) as now:
            keep_records(now, data, memory, columns, bad)

    def forget_memory(self) -> None:
        """Drop the records that are kept; an artifact that is saved from now on holds none."""
        with self._several.backbone.lock:
            self.runner.past = forget_memory(self.runner.past)

    def choose(
        self,
        texts: Any,
        n: int,
        *,
        labelled: Any = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
    ) -> Choices:
        """The `n` records that are worth labelling next, the best first, each with the reason.

        They stand for many: each of the other records is to be near one of them, by the vectors of the base (facility
        location; Wei, Iyer and Bilmes 2015). Once the adaptation has learned, records of which it is unsure count
        more: of two labels nearly as probable as each other (`classification`, `relation`), of a label near its
        threshold (`multilabel`), or of the tag of a word (`ner`). For `regression`, `qa` and generated text, doubt is
        not asked. Of records that are nearly the same, one is chosen. The same call gives the same records.

        Args:
            texts: inputs without labels, as in `predict`.
            n: how many.
            labelled: inputs that have labels already, whose like is not needed again; labels in them are not read.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `predict`; an input that is left out is not chosen.

        Returns:
            A list that prints as a table, of objects with `index`, `text`, `reason` and `doubt`; fewer than `n`, with a
            warning, where the other records are nearly the same as these.

        Raises:
            DataError: an input cannot be used, or there are fewer than `n`.
            LightAdaptError: `n` is no whole number above 0, or the task is `multiple-choice`.
        """
        self._several.check_enabled("choose")
        bad = BadRecords(on_error)
        with self._several.computing(self.runner) as now:
            return choose(now, texts, n, labelled=labelled, columns=columns, bad=bad)

    def suspects(
        self,
        data: Data,
        *,
        folds: int = 5,
        thorough: bool = False,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
    ) -> Suspects:
        """The labelled records whose label is probably wrong, the most suspicious first.

        Each record is judged by a model that has learned from others, not from it (confident learning; Northcutt, Jiang
        and Chuang 2021), and is returned if another label is at least five times as probable. The model is a logistic
        regression on vectors of the base, without the adapter: that may have learned the wrong labels by heart. For
        `classification`, `relation` and `multilabel`, where each label of a record is judged. Labels of a single record
        are not judged, with a warning.

        Args:
            data: any form of data (see `lightadapt.data.read`), with labels.
            folds: in how many parts the records are judged.
            thorough: fine-tune an adaptation of this kind for each fold in place of the logistic regression: slower by
                far, and better where that is no match for it.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`; a record that is left out is not judged.

        Returns:
            A list that prints as a table, of objects with `index`, `place`, `text`, `given`, `suggested` and
            `probability`, that of the given label.

        Raises:
            DataError: a record cannot be used or has no label, or no two labels have two records each.
            LightAdaptError: the task has no labels of whole records, or the model is split over several processes.
        """
        self._several.check_enabled("suspects")
        check_flags(thorough=thorough)
        bad = BadRecords(on_error)
        with self._several.computing(self.runner):
            return find_suspects(self._several, data, folds=folds, thorough=thorough, columns=columns, bad=bad)

    def drift(
        self,
        texts: Any,
        *,
        reference: Data | None = None,
        columns: Mapping[str, str | int] | None = None,
        level: float = 0.05,
        on_error: str = "raise",
    ) -> Drift:
        """Whether texts have moved away from the data of the last `fit`; what is new, and which labels come more often.

        The result prints as sentences; `.drifted` is the answer in a word. It compares vectors of the base that `fit`
        kept, and for tasks with labels how often each is predicted.

        Args:
            texts: at least 20 of those that come now, in any form that `predict` takes.
            reference: data to compare with in place of the training data; at least 50 records, which need no answers.
            columns: `{field: column}` for fields that have another name in the texts or in `reference`.
            level: how often an alarm is to be raised where nothing has changed.
            on_error: as in `predict`.

        Raises:
            DataError: a text cannot be used, or there are too few.
            LightAdaptError: nothing is kept of the training data, and there is no `reference`.
        """
        self._several.check_enabled("drift")
        bad = BadRecords(on_error)
        with self._several.computing(self.runner) as now:
            found = find_drift(now, texts, reference=reference, columns=columns, level=level, bad=bad)
        bad.tell(found.texts)
        return found
