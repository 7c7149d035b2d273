"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import PreTrainedModel, TrainingArguments

from lightadapt.adaptation.adding import add, hang
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.by_name import answer_all, answer_by_name
from lightadapt.adaptation.history import History
from lightadapt.adaptation.manifest import describe, save
from lightadapt.adaptation.on_hub import check_pushed, push
from lightadapt.adaptation.past import forget_memory
from lightadapt.adaptation.preview import preview
from lightadapt.adaptation.requests import Request, answer, evaluate, stream
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.several import Several
from lightadapt.adaptation.slots import Known, Slot
from lightadapt.anatomy import Layers
from lightadapt.continual.extending import Extension, extend, steps_of
from lightadapt.continual.keeping import keep_records
from lightadapt.continual.steps import Steps
from lightadapt.data import Data, Record, is_collection
from lightadapt.data.skipping import BadRecords, check_on_error
from lightadapt.display import html
from lightadapt.errors import LightAdaptError, listed
from lightadapt.evaluation.scores import Scores
from lightadapt.export import Exported, Format, export
from lightadapt.export.merging import check_learned, merge
from lightadapt.labelling import Choices, Suspects, choose, find_suspects
from lightadapt.machine.processes import is_sharded, once
from lightadapt.methods import Method, Plan
from lightadapt.numbers import check_whole
from lightadapt.stream.drift import find_drift
from lightadapt.stream.findings import Drift
from lightadapt.stream.unknown import answer_known
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import ADAPT, EVALUATE, FIT, PREDICT, SAVE
from lightadapt.tasks import Label, LabelledTask, Task
from lightadapt.training.checks import check_all
from lightadapt.training.fit import fit
from lightadapt.training.given import as_trainer_knows
from lightadapt.training.settings import SAVE_MINUTES, read_settings


class Adapted:
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Several adaptations can share the base: `add` and `load(…, onto=…)` make others, `use` says which one is meant.
    """

    def __init__(self, runner: Runner) -> None:
        self._several = Several(runner)

    @property
    def runner(self) -> Runner:
        """What runs the task in use in this thread: it encodes, infers and decodes, without the checks of `predict`."""
        return self._several.in_use

    @property
    def model(self) -> PreTrainedModel:
        """A transformers model of the task's own class, for `pipeline`, `Trainer` or a forward of your own."""
        return self.runner.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the base."""
        return self.runner.tokenizer

    @property
    def task(self) -> Task:
        """The task, with its labels once they are known."""
        return self.runner.task

    @property
    def method(self) -> Method:
        """The method."""
        return self.runner.adaptation.design.method

    @property
    def history(self) -> History | None:
        """The record of the last `fit`; None before."""
        return self.runner.last_run.history

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None until they are known."""
        return self.runner.labels

    # ---- several adaptations of one base

    @property
    def names(self) -> list[str]:
        """The adaptations that share the base; the first is called `default`."""
        return self._several.names

    @explained(ADAPT)
    def add(
        self,
        name: str,
        *,
        method: Any = "lora",
        task: str | Task | None = None,
        labels: Sequence[Label] | Mapping[str, str | Sequence[str]] | Data | None = None,
        layers: Layers = None,
    ) -> None:
        """Give the base another adaptation, with a method, a task and a head of its own; `use(name)` switches to it.

        All adaptations share the frozen weights.

        Args:
            name: the name of the new adaptation.
            method: as in `adapt`.
            task: as in `adapt`; None: the task in use, with its labels unless others are given.
            labels: as in `adapt`.
            layers: as in `adapt`.

        Raises:
            LightAdaptError: the name is taken, or a method trains the base itself, which then cannot be shared.
        """
        add(self._several, name, method=method, task=task, labels=labels, layers=layers)

    def hang(self, artifact: Artifact, name: str) -> Adapted:
        """Attach a saved adaptation to the base, under a name; see `lightadapt.load(…, onto=…)`.

        Raises:
            ArtifactError: it was trained on other weights, or does not fit this base.
            LightAdaptError: the name is taken, or its method trains the base itself.
        """
        hang(self._several, artifact, name)
        return self

    def slot(self, name: str, known: Known) -> Slot:
        """The place of an adaptation that was loaded from an artifact, for others of its kind.

        Raises:
            LightAdaptError: there is none of that name.
        """
        return Slot(self._several, name, known)

    def check_shareable(self, method: Method, plan: Plan) -> None:
        """Raise where an adaptation with a method cannot hang on this base beside those that are there.

        Raises:
            LightAdaptError: why.
        """
        self._several.check_shareable(method, plan)

    def check_name(self, name: str) -> None:
        """Raise for a name that no further adaptation can have.

        Raises:
            LightAdaptError: it is taken, or cannot be used.
        """
        self._several.check_new_name(name, f"name={name!r}")

    def use(self, name: str) -> Adapted:
        """Switch to the adaptation of that name: model, task, labels and history are its own from now on.

        The thread that made this object chooses for all threads that have not chosen for themselves.

        Raises:
            LightAdaptError: there is none.
        """
        self._several.use(name)
        return self

    def remove(self, name: str) -> None:
        """Take an adaptation off the base, and free what it holds.

        If it was in use, the first of the others takes its place.

        Raises:
            LightAdaptError: there is none of that name, or no other.
        """
        self._several.remove(name)

    def rename(self, old: str, new: str) -> None:
        """Give an adaptation another name.

        Raises:
            LightAdaptError: there is none of the old name, or the new one is taken or cannot be used.
        """
        self._several.rename(old, new)

    @contextmanager
    def disable(self) -> Iterator[Adapted]:
        """The base model without the adapter, under the same head, inside a `with` block."""
        with self._several.disabled():
            yield self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Other threads wait with whatever they would do on the base, inside a `with` block."""
        with self._several.backbone.lock:
            yield

    def dedicate(self) -> None:
        """Let calls leave the model as the last of them needed it: it is for `predict` and the like alone from now on.

        A forward pass of one's own, `adapted.model(…)`, may then compute with another adaptation than the one in use.
        """
        self._several.switches_back = False

    @contextmanager
    def computing(self, name: str) -> Iterator[Runner]:
        """The runner of an adaptation, for a forward pass of your own, inside a `with` block.

        Inside it the shared modules compute with that adaptation, and other threads wait.

        Raises:
            LightAdaptError: there is none of that name.
        """
        with self._several.computing(self._several.named(name)) as runner:
            yield runner

    # ---- learning and predicting

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
                few-shot for a classification by a sentence encoder with at most 64 records of each class.
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

        Raises:
            DataError: a record cannot be used; raised before training starts.
            LightAdaptError: the settings contradict each other, or the loss is no longer finite.
        """
        self._several.check_enabled("fit")
        check_on_error(on_error)
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
            )

    def extend(
        self,
        data: Data,
        *,
        memory: int = 5,
        validation: Data | float | None = None,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_tokens: int | None = None,
        keep_weights: bool = True,
        callbacks: Sequence[Any] = (),
        args: Mapping[str, Any] | TrainingArguments | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
    ) -> Extension:
        """Learn from more data, for the classes that there are and for new ones, and keep what was learned before.

        `fit` learns what is in its data, and may lose what is not. This takes a step of its own: labels that the data
        has and the task lacks come behind the others, whose order stays; their rows in the head start at the means of
        their classes; and old classes are protected (docs/continual.md). A classification by a sentence encoder goes by
        the means of all classes from then on, and its adapter stays as the first step left it. Any other task goes on
        by gradients: records that are kept are learned again among the new ones, and the answers of the model as it was
        are held on to. On a model that has learned nothing it is the first step.

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
            keep_weights: whether the weights from before this step are kept, so that `load(path, step=…)` gives them.
            callbacks: of transformers' Trainer.
            args: any other of `transformers.TrainingArguments`, as a dict or as an object.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`.

        Raises:
            DataError: a record cannot be used, or a new label is a known one in another spelling; before training.
            LightAdaptError: the memory would be too large, or the settings contradict each other; or the loss is no
                longer finite.
        """
        self._several.check_enabled("extend")
        check_on_error(on_error)
        settings = read_settings(
            args,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            early_stopping=None,
            resume=False,
            output_dir=None,
            optimizer=None,
            cache="auto",
            base_dropout=False,
            validates=False,
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

    @explained(EVALUATE)
    def evaluate(
        self,
        data: Data,
        *,
        report: bool = False,
        threshold: float | None = None,
        shots: Data | None = None,
        columns: Mapping[str, str | int] | None = None,
        on_error: str = "raise",
    ) -> Scores:
        """The task's metrics on labelled data, the headline first.

        The result is a dict that also has `.report`, `.confusion`, `.plot()` and `.errors(n)`, for which it keeps the
        records and predictions.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            report: also print precision, recall, F1 and support of each class, for tasks that have classes.
            threshold: for task multilabel, the probability from which a label is predicted, in place of its own.
            shots: as in `predict`.
            columns: `{field: column}` for fields that have another name in the data.
            on_error: as in `fit`; with `"skip"` the metrics are those of the other records.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the labels are not known yet.
        """
        bad = BadRecords(on_error)
        with self._several.computing(self.runner) as now:
            now = now.with_shots(shots, columns=columns)
            scores = evaluate(now, data, threshold=threshold, columns=columns, bad=bad)
        if report and scores.report:
            print(scores.report)
        return scores

    @explained(PREDICT)
    def predict(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        options: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        batch_tokens: int | None = None,
        shots: Data | None = None,
        adapter: str | Sequence[str] | None = None,
        on_error: str = "raise",
        unknown: bool = False,
    ) -> list[Any]:
        """The predictions, one for each input, in the same order.

        It may be called from many threads at once, of which one computes at a time.

        Args:
            inputs: a list of texts, of pairs (classification, QA, multiple choice), of token lists (NER), of lists of
                messages (chat), or of records; or a file, a frame or a data set.
            scores: for tasks that classify, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.
            options: of generation, such as `{"max_new_tokens": 40, "num_beams": 4, "temperature": 0.7}`.
            threshold: for task multilabel, the probability from which a label is predicted, in place of its own.
            batch_tokens: tokens of a batch, padding included; None: 512 for each thread of a CPU, 4,096 on a GPU.
            shots: for task classification on a language model, as long as it has learned nothing: labelled examples
                that are shown to it with each text (in-context learning), in any form of data.
            adapter: the adaptation that answers, or one name for each input; None: the one in use.
            on_error: what happens to an input that cannot be used. `"raise"`: it is an error; `"skip"`: its answer is
                None, and a warning gives the number of such inputs and the reasons of the first.
            unknown: for tasks with one class a record, give None for a text that belongs to none of the classes; with
                `scores=True` a score `"unknown"`, which is 0.5 at the limit. On texts of known classes one in twenty is
                given None, by the validation data of `fit`.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet; or with `unknown` there is nothing to tell by.
        """
        bad = BadRecords(on_error)
        request = Request(
            scores=scores, columns=columns, options=options, threshold=threshold, batch_tokens=batch_tokens
        )
        if unknown:
            self._several.check_enabled("predict")
        if adapter is None or isinstance(adapter, str):
            with self._several.computing(self.runner if adapter is None else self._several.named(adapter)) as now:
                asked = now.with_shots(shots, columns=columns)
                found = answer_known(now, inputs, request, bad) if unknown else answer(asked, inputs, request, bad)
        elif unknown:
            raise LightAdaptError("predict(…, unknown=True) asks one adaptation: give adapter=… one name.")
        elif is_collection(adapter) and shots is not None:
            raise LightAdaptError(
                "predict(…, shots=…, adapter=[…]): shots are for one adaptation. Give its name alone."
            )
        elif is_collection(adapter):
            found = answer_by_name(self._several, inputs, list(adapter), request, bad)
        else:
            raise LightAdaptError(f"adapter={adapter!r}: give a name, or a list with a name for each input.")
        bad.tell(len(found) - bad.count)
        return found

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

    def predict_all(
        self,
        inputs: Any,
        adapters: Sequence[str] | None = None,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        batch_tokens: int | None = None,
        on_error: str = "raise",
    ) -> dict[str, list[Any]]:
        """The predictions of several adaptations for the same inputs, by their names; in one pass where possible.

        Blocks that none of them adapts are computed once for all (as in AdapterDrop, Rücklé et al. 2021).

        Args:
            inputs: as in `predict`, in a form that each of the tasks takes.
            adapters: the adaptations that answer; None: all.
            scores: as in `predict`.
            columns: as in `predict`.
            batch_tokens: as in `predict`.
            on_error: as in `predict`; an input is left out where it cannot be used.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: there is no such adaptation, or the labels of one are not known yet.
        """
        names = self.names if adapters is None else adapters
        if not is_collection(names) or isinstance(names, Mapping) or not list(names):
            raise LightAdaptError(
                f"adapters={adapters!r}: give a list of names, or None for all: {listed(self.names)}."
            )
        request = Request(scores=scores, columns=columns, batch_tokens=batch_tokens)
        return answer_all(self._several, inputs, list(names), request, on_error)

    @explained(PREDICT)
    def predict_stream(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str | int] | None = None,
        options: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        batch_tokens: int | None = None,
        shots: Data | None = None,
        adapter: str | None = None,
        at_once: int = 1_000,
        on_error: str = "raise",
    ) -> Iterator[Any]:
        """The predictions of `predict`, one by one as they are made, for more inputs than fit into memory.

        Inputs can come from an iterator, a data set that is streamed, or a large file of lines, which is read once to
        check it, and again as its records are answered.

        Args:
            inputs: as in `predict`.
            scores: as in `predict`.
            columns: as in `predict`.
            options: as in `predict`.
            threshold: as in `predict`.
            batch_tokens: as in `predict`.
            shots: as in `predict`.
            adapter: the adaptation that answers; None: the one that is in use when this is called.
            at_once: how many inputs are taken, and held in memory, before the first of them is answered.
            on_error: as in `predict`; the warning comes with the last answer.

        Raises:
            DataError: an input cannot be used; those of earlier pieces have been answered by then.
            LightAdaptError: the labels are not known yet.
        """
        check_whole("at_once", at_once, wanted="a whole number above 0")
        chosen, bad = self.runner if adapter is None else self._several.named(adapter), BadRecords(on_error)
        request = Request(scores=scores, options=options, threshold=threshold, batch_tokens=batch_tokens)

        shown = chosen.with_shots(shots, columns=columns)

        def answers(items: Any, columns: Mapping[str, str | int] | None, numbers: range) -> list[Any]:
            with self._several.computing(chosen):
                return answer(shown, items, replace(request, columns=columns), bad, numbers=numbers)

        return stream(chosen, inputs, answers, bad, columns=columns, at_once=at_once)

    # ---- labels

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
        bad = BadRecords(on_error)
        with self._several.computing(self.runner):
            return find_suspects(self._several, data, folds=folds, thorough=thorough, columns=columns, bad=bad)

    @explained(SAVE)
    def save(self, path: str | Path) -> None:
        """Write the artifact: what was trained, its settings, the tokenizer and a model card.

        The folder is written as a whole or not at all; `lightadapt.load` reads it, and so does stock PEFT. Of several
        adaptations, the one in use is saved. Of several processes, the main one writes and the others wait for it.

        Raises:
            ArtifactError: the folder holds other files, or cannot be written.
            LightAdaptError: the labels are not known yet.
        """
        with self._several.backbone.lock:  # not in the middle of a step of another thread
            save(self.runner, path, lambda action: once(action, f"save({str(path)!r})"))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Saved by lightadapt",
    ) -> str:
        """Save the artifact to a repository on the hub, from which `load(repo_id)` reads it, and return its address.

        The hub's own client uploads it, with the token of `hf auth login` or `HF_TOKEN`.

        Args:
            repo_id: `"owner/name"`, or a name alone for your own account; the repository is created if need be.
            private: whether a new repository is private; None: the account's default.
            revision: the branch to save to; None: the main one.
            message: the message of the commit.

        Raises:
            ArtifactError: the hub refuses it, or cannot be reached.
            LightAdaptError: the labels are not known yet.
        """
        check_pushed(repo_id, self.runner.adaptation.design.blueprint.source.id)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "artifact"
            self.save(folder)
            address: list[str] = []
            once(
                lambda: address.append(push(folder, repo_id, private=private, revision=revision, message=message)),
                f"push_to_hub({repo_id!r})",
            )
        return address[0] if address else repo_id

    def merge(self, *, base: str = "reload", dtype: Any = "auto", max_drift: float = 0.25) -> PreTrainedModel:
        """A plain transformers model with the adapter folded into its weights; the adapted model stays as it is.

        Args:
            base: what the adapter of a quantized base is folded into. `"reload"`: the weights from before quantization,
                loaded again. `"dequantize"`: the values that the quantized weights stand for, which the adapter was
                trained on. `"quantized"`: the quantized weights, whose rounding loses part of the adapter.
            dtype: of the result. `"auto"`: float32 for a regression, bfloat16 for a quantized base, else that of the
                base, with the head in float32. The result's `config.dtype` says which, and its saved files are loaded
                in it. 16 bits round the adapter together with the weights; `"float32"` keeps all of it.
            max_drift: for a quantized base, how far the outputs for a probe batch may move, as
                |after - before| / |before|.

        Raises:
            LightAdaptError: the head has learned nothing; the method does not change weights, so it cannot be folded;
                the outputs differ by more than `max_drift`; or the model is split over several processes.
        """
        if is_sharded(self.model):
            raise LightAdaptError(
                "merge(): the model is split over several processes. Save it, and merge what load returns."
            )
        self._several.check_enabled("merge")
        with self._several.computing(self.runner) as now:
            check_learned(now)
            merged = merge(now, base=base, dtype=dtype, max_drift=max_drift)
        return merged.requires_grad_(base != "quantized" or self._several.backbone.quantization is None).eval()

    def export(
        self,
        path: str | Path,
        format: str | Format,
        *,
        quantize: str | None = None,
        check: Data | None = None,
        max_loss: float | None = None,
        columns: Mapping[str, str | int] | None = None,
    ) -> Exported:
        """Write the adaptation in use in a form that others read, and compare what that gives with what this gives.

        What is written is loaded again by the means of whoever will use it. The folder appears as a whole or not at
        all; it holds `lightadapt_export.json`, which says what the comparison found.

        Args:
            path: the folder to write; an earlier export there is replaced.
            format: a name, such as `"merged"` or `"onnx"`, or for its options a value: `lightadapt.export.Onnx(…)`.
            quantize: for formats that can hold rounded weights, in which form: `"int8"`, for instance.
            check: labelled data to compare on, which also gives the scores before and after; None: two short records
                that come with the task.
            max_loss: how much of the headline metric on `check` may be lost; None: any loss is warned of.
            columns: `{field: column}` for fields that have another name in `check`.

        Raises:
            LightAdaptError: the format is unknown, a package for it is missing, it cannot hold this method or task, or
                what it gives is not what this gives; nothing is written then.
            ArtifactError: the folder holds other files, or cannot be written.
        """
        if is_sharded(self.model):
            raise LightAdaptError(
                "export(): the model is in parts, one in each process. Save it, and export what load gives."
            )
        self._several.check_enabled("export")
        with self._several.computing(self.runner) as now:
            return export(now, path, format, quantize=quantize, check=check, max_loss=max_loss, columns=columns)

    def __str__(self) -> str:
        own = self.runner.adaptation.name
        others = [name for name in self.names if name != own]
        shown = describe(self.runner)
        return f"{shown}\n{'in use':<10} {own}; also {', '.join(others)}" if others else shown

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: the facts of `print` as a table."""
        return html.facts(str(self))
