"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from lightadapt import peft_bridge
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.assembly import build, restore
from lightadapt.adaptation.history import History
from lightadapt.adaptation.manifest import describe, save
from lightadapt.adaptation.preview import preview
from lightadapt.adaptation.requests import answer
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.saved import design_of, read_objects, warn_when_other
from lightadapt.anatomy import Layers, family_of
from lightadapt.base.backbone import Backbone
from lightadapt.base.blueprint import draw
from lightadapt.base.design import Design, make_design
from lightadapt.base.source import check_tokenizer, load_tokenizer
from lightadapt.data import Data, is_collection
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.export.merged import merge
from lightadapt.machine.processes import is_sharded, once
from lightadapt.methods import Method, resolve_method
from lightadapt.metrics import format_report
from lightadapt.numbers import check_whole
from lightadapt.tasks import Label, LabelledTask, Task, give_labels, resolve_task
from lightadapt.training.arguments import read_settings
from lightadapt.training.checks import check_all
from lightadapt.training.fit import fit


class Adapted:
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Several adaptations can share the base: `add` and `load(…, onto=…)` make others, `use` says which one is meant.
    """

    def __init__(self, runner: Runner) -> None:
        self._all = {runner.adaptation.name: runner}
        self._backbone = Backbone(runner.adaptation.base)
        self._in_use = runner
        self._of_thread = threading.local()
        """What a thread that called `use` means, when it is not the one that made this object."""
        self._owner = threading.get_ident()
        self._computing = runner
        """The adaptation for which the shared modules are set."""
        self._disabled = 0
        """How many `disable` blocks are open."""
        runner.adaptation.prepare_training()

    @property
    def runner(self) -> Runner:
        """What runs the task in use in this thread: encodes, infers and decodes, without the checks of `predict`."""
        chosen: Runner | None = getattr(self._of_thread, "chosen", None)
        return self._in_use if chosen is None or chosen.adaptation.name not in self._all else chosen

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
        """The names of the classes; None as long as they are not known."""
        return self.runner.labels

    # ---- several adaptations of one base

    @property
    def names(self) -> list[str]:
        """The adaptations that share the base; the first is called `default`."""
        return list(self._all)

    def add(
        self,
        name: str,
        *,
        method: Any = "lora",
        task: str | Task | None = None,
        labels: Sequence[Label] | Data | None = None,
        layers: Layers = None,
    ) -> None:
        """Give the base another adaptation, with a method, a task and a head of its own; `use(name)` switches to it.

        The frozen weights exist once, whatever the number of adaptations.

        Args:
            name: what to call it.
            method: as in `adapt`.
            task: as in `adapt`; None: the task in use, with its labels unless others are given.
            labels: as in `adapt`.
            layers: as in `adapt`.

        Raises:
            LightAdaptError: the name is taken, or a method trains the base itself, which cannot be shared then.
        """
        self._check_enabled("add")
        chosen = self.task if task is None else resolve_task(task)
        if labels is not None:
            chosen = give_labels(chosen, labels)
        blueprint = draw(self._backbone.source, chosen)
        first = next(iter(self._all.values()))
        design = make_design(
            blueprint,
            resolve_method(method),
            layers=layers,
            quantization=self._backbone.quantization,
            dtype=self._backbone.dtype,
            device=self._backbone.device,
            seed=first.adaptation.design.seed,
        )
        check_tokenizer(first.tokenizer, blueprint.source, chosen)
        tokenizer = chosen.fit_tokenizer(first.tokenizer, family_of(blueprint.source.config))
        self._hang_on(name, design, chosen, tokenizer)

    def hang(self, artifact: Artifact, name: str) -> Adapted:
        """Hang a saved adaptation on the base, under a name; see `lightadapt.load(…, onto=…)`.

        Raises:
            ArtifactError: it was trained on other weights, or does not fit this base.
            LightAdaptError: the name is taken, or its method trains the base itself.
        """
        source, quantization = self._backbone.source, self._backbone.quantization
        task, method = read_objects(artifact)
        design = design_of(
            artifact,
            source,
            task,
            method,
            quantization,
            dtype=self._backbone.dtype,
            device=self._backbone.device,
        )
        warn_when_other(artifact, quantization, "Load it by itself")
        self._hang_on(name, design, task, load_tokenizer(source, artifact.path, task), artifact)
        return self

    def _hang_on(self, name: str, design: Design, task: Task, tokenizer: Any, artifact: Artifact | None = None) -> None:
        """Hang another adaptation on the base; what is in use stays so."""
        self._check_enabled("add")
        self._check_name(name)
        for each in (next(iter(self._all.values())).adaptation.design, design):
            if each.plan.unfrozen or each.method.rewrites_base:
                kind = each.method.name
                raise LightAdaptError(f"Method {kind!r} changes the base itself, so the base cannot be shared.")
        config, method = design.plan.config, design.method
        if config is not None and peft_bridge.draws_for_the_whole_model(config):
            raise LightAdaptError(f"Method {method} draws numbers for the model as a whole, which cannot be shared.")
        self._backbone.check_shareable()
        with self._backbone.lock:
            try:
                added = build(design, task, tokenizer, name=name, backbone=self._backbone, artifact=artifact)
                added.adaptation.prepare_training(enabled=False)
                self._all[name] = added
            finally:
                self._computing.adaptation.activate()

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in self._all:
            raise LightAdaptError(
                f"add({name!r}): give a new name of letters, digits, - and _. Taken: {', '.join(self._all)}."
            )
        if any(name in dir(kind) for kind in (nn.ModuleDict, nn.ParameterDict)):
            raise LightAdaptError(f"add({name!r}): torch has a use of its own for this name. Choose another.")

    def _check_enabled(self, what: str) -> None:
        if self._disabled:
            raise LightAdaptError(f"{what}(…) inside `with adapted.disable()`: leave the block first.")

    def _named(self, name: str) -> Runner:
        """The adaptation of that name.

        Raises:
            LightAdaptError: there is none.
        """
        if name not in self._all:
            known = f"There are: {', '.join(self._all)}."
            raise LightAdaptError(f"There is no adaptation {name!r}. {nearest(str(name), self._all)}{known}")
        return self._all[name]

    def use(self, name: str) -> Adapted:
        """Switch to the adaptation of that name: its model, task, labels and history are those of this object now.

        The thread that made this object chooses for all threads that have not chosen for themselves.

        Raises:
            LightAdaptError: there is none.
        """
        self._check_enabled("use")
        runner = self._named(name)
        if threading.get_ident() != self._owner:
            self._of_thread.chosen = runner
            return self
        with self._backbone.lock:
            self._switch(runner)
        return self

    def _switch(self, runner: Runner) -> None:
        """Let this adaptation compute and be trained, unless a thread has chosen another for itself."""
        self._in_use.adaptation.prepare_training(enabled=False)
        self._in_use = self._computing = runner
        runner.adaptation.activate()
        runner.adaptation.prepare_training()
        runner.model.eval()

    def remove(self, name: str) -> None:
        """Take an adaptation off the base, and free what it holds.

        Was it the one in use, the first of the others is from then on.

        Raises:
            LightAdaptError: there is none of that name, or it is the only one.
        """
        self._check_enabled("remove")
        runner = self._named(name)
        if len(self._all) == 1:
            raise LightAdaptError(f"remove({name!r}): it is the only adaptation of this base. Drop the whole object.")
        with self._backbone.lock:
            del self._all[name]
            if runner is self._in_use:
                self._switch(next(iter(self._all.values())))
            runner.adaptation.adapter.remove()
            self._backbone.leave(runner.adaptation.base)

    def rename(self, old: str, new: str) -> None:
        """Give an adaptation another name.

        Raises:
            LightAdaptError: there is none of the old name, or the new one is taken or cannot be used.
        """
        self._check_enabled("rename")
        runner = self._named(old)
        if new == old:
            return
        self._check_name(new)
        with self._backbone.lock:
            runner.adaptation.rename(new)
            self._all = {new if name == old else name: each for name, each in self._all.items()}

    @contextmanager
    def disable(self) -> Iterator[Adapted]:
        """The base model without the adapter, under the same head, for the time of a `with` block."""
        with self._backbone.lock:
            self._disabled += 1
            self._show(enabled=False)
            try:
                yield self
            finally:
                self._disabled -= 1
                self._show(enabled=not self._disabled)

    def _show(self, *, enabled: bool) -> None:
        self._in_use.adaptation.activate(enabled=enabled)
        self._in_use.adaptation.prepare_training(enabled=enabled)

    @contextmanager
    def _set_for(self, runner: Runner) -> Iterator[Runner]:
        """The shared modules as this adaptation needs them, for this thread alone, for the time of a `with` block."""
        with self._backbone.lock:
            before = self._computing
            if self._disabled or runner is before:
                yield runner
                return
            runner.adaptation.activate()
            self._computing = runner
            try:
                yield runner
            finally:
                self._computing = before
                before.adaptation.activate()

    # ---- learning and predicting

    def fit(
        self,
        train: Data,
        validation: Data | None = None,
        *,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_tokens: int | None = None,
        early_stopping: int | None = None,
        resume: bool = False,
        output_dir: str | Path | None = None,
        optimizer: str | None = None,
        cache: bool | str = "auto",
        base_dropout: bool = False,
        callbacks: Sequence[Any] = (),
        args: Mapping[str, Any] | TrainingArguments | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> History:
        """Train, and return the record of the run.

        With validation data the headline metric is computed every epoch and the weights of the best are kept.

        Args:
            train: any form of data (see `lightadapt.data.read`).
            validation: likewise.
            epochs: passes over the data; default: about 1,000 steps, at least 3 and at most 20 epochs.
            learning_rate: of what the method trains; default: the method's own. The head's rate keeps its
                ratio to it.
            batch_tokens: real tokens of a batch, in each process; default: as many as 16 records have on average.
            early_stopping: stop after this many evaluations without a better headline metric.
            resume: go on from the last checkpoint in `output_dir`; without one, start afresh.
            output_dir: keep a checkpoint there every epoch; each is an artifact that `load` reads.
            optimizer: `"adamw"`, or with a state of 8 bits `"adamw8bit"`, and `"paged_adamw8bit"`, whose state moves to
                the memory of the CPU when that of the GPU is full.
            cache: keep the hidden states of the blocks below all that learns over the epochs, in memory or in a file.
                `"auto"`: where that changes nothing but the time; True: raise where it cannot be; `"bf16"`: likewise,
                in half the room, rounded to 16 bits.
            base_dropout: keep dropout on in the frozen part of the model, too.
            callbacks: of transformers' Trainer.
            args: anything else that `transformers.TrainingArguments` knows, as a dict or an object.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: a record cannot be used; before training starts.
            LightAdaptError: the settings contradict each other, or the loss is no longer finite.
        """
        self._check_enabled("fit")
        settings = read_settings(
            args,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            early_stopping=early_stopping,
            resume=resume,
            output_dir=output_dir,
            optimizer=optimizer,
            cache=cache,
            base_dropout=base_dropout,
            validates=validation is not None,
        )
        with self._set_for(self.runner) as now:
            return fit(now, train, validation, settings, columns=columns, callbacks=callbacks)

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Give a task with labels more of them, behind those that it has, whose part of the head keeps its values.

        Raises:
            LightAdaptError: the task has no labels or does not know them yet, or a new one is there already.
        """
        self._check_enabled("add_labels")
        now, task = self.runner, self.task
        if not isinstance(task, LabelledTask):
            raise LightAdaptError(f"Task {task.name!r} has no labels. Leave them out.")
        now.require_labels()
        with self._backbone.lock:
            now.settle(task.with_labels([*(task.labels or ()), *labels]))
            now.adaptation.prepare_training()

    def preview(self, data: Data, n: int = 3, *, columns: Mapping[str, str] | None = None) -> None:
        """Print the first `n` records as the model will see them, what is learned between ⟦ and ⟧, and what is cut.

        Raises:
            DataError: a record cannot be used.
        """
        check_whole("n", n, wanted="a whole number above 0")
        with self._backbone.lock:
            seen = self.runner.prepare(data, columns=columns)
            places = [seen.records.place(index) for index in range(min(n, len(seen.records)))]
            print(preview(seen.task, seen.examples[: len(places)], places, seen.view))

    def check(self, data: Data | None = None, *, columns: Mapping[str, str] | None = None) -> list[str]:
        """Try up to eight steps without changing anything; what was found to be right, a line each.

        Weights: all that should be trained is, in float32. Targets: something is learned, the end token too.
        Gradients: they reach every inserted tensor. Padding: a batch gives what its records give alone. `fit` checks
        the first three by itself, and the learning rate.

        Args:
            data: records to try it on; None: two short ones that come with the task.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            LightAdaptError: what would fail in silence, and how to mend it; or the labels are not known yet.
        """
        self._check_enabled("check")
        with self._set_for(self.runner) as now:
            return check_all(now, data, columns)

    def evaluate(
        self, data: Data, *, report: bool = False, columns: Mapping[str, str] | None = None
    ) -> dict[str, float]:
        """The task's metrics on labelled data, the headline first.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            report: also print precision, recall, F1 and support of each class, for tasks that have classes.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the labels are not known yet.
        """
        with self._set_for(self.runner) as now:
            now.require_labels()
            examples, records = now.task.read_examples(data, split="test", columns=columns)
            predictions = now.decode(examples, now.encode(examples, records, targets=True))
            scores, table = now.task.score(examples, predictions)
        if report and table:
            print(format_report(table))
        return scores

    def predict(
        self,
        inputs: Any,
        *,
        scores: bool = False,
        columns: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        adapter: str | Sequence[str] | None = None,
    ) -> list[Any]:
        """The predictions, as many as inputs and in their order.

        Args:
            inputs: a list of texts, of pairs (classification, QA, multiple choice), of token lists (NER), of lists of
                messages (chat), or of records; or a file, a frame or a data set.
            scores: for the classification kinds, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.
            options: of generation, such as `{"max_new_tokens": 40, "num_beams": 4, "temperature": 0.7}`.

            adapter: the adaptation that answers, or one name for each input; None: the one in use.

        It may be called from many threads at once: one of them computes at a time on a base.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet.
        """
        if adapter is None or isinstance(adapter, str):
            with self._set_for(self.runner if adapter is None else self._named(adapter)) as now:
                return answer(now, inputs, scores=scores, columns=columns, options=options)
        return self._predict_by_name(inputs, list(adapter), scores=scores, columns=columns, options=options)

    def _predict_by_name(self, inputs: Any, names: list[str], **how: Any) -> list[Any]:
        """The predictions where each input names the adaptation that answers: those of one name together."""
        if not is_collection(inputs):
            raise LightAdaptError("predict(…, adapter=[…]) takes a list of inputs, with a name for each.")
        items = list(inputs)
        if len(names) != len(items):
            raise LightAdaptError(
                f"predict: adapter has {len(names)} names for {len(items)} inputs. Give one for each."
            )
        for name in dict.fromkeys(names):
            self._named(name)
        found: dict[int, Any] = {}
        for name in dict.fromkeys(names):
            places = [place for place, each in enumerate(names) if each == name]
            with self._set_for(self._named(name)) as runner:
                answers = answer(runner, [items[place] for place in places], **how)
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(items))]

    def save(self, path: str | Path) -> None:
        """Write the artifact: what was trained, its settings, the tokenizer and a model card.

        The folder is written as a whole or not at all; `lightadapt.load` reads it, and stock PEFT does too. Of several
        adaptations it is the one in use. Of several processes the main one writes, and the others go on when it has.

        Raises:
            ArtifactError: the folder holds other files, or cannot be written.
            LightAdaptError: the labels are not known yet.
        """
        save(self.runner, path, lambda action: once(action, f"save({str(path)!r})"))

    def restore(self, artifact: Artifact) -> None:
        """Write saved tensors into the model, with what the artifact says of its training.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        restore(self.runner, artifact)

    def merge(self, *, base: str = "reload", dtype: Any = "auto", max_drift: float = 0.25) -> PreTrainedModel:
        """A plain transformers model with the adapter folded into its weights; this one stays as it is.

        Args:
            base: what a quantized base is folded into. `"reload"`: the weights as they were before they were quantized,
                loaded again. `"dequantize"`: the values that the quantized weights stand for, which the adapter was
                trained on. `"quantized"`: the quantized weights, whose rounding takes part of the adapter away.
            dtype: of the result; `"auto"` is float32 for a regression, bfloat16 for a quantized base, else as it is.
            max_drift: for a quantized base, how far the outputs for a probe batch may be from those before, as
                |after - before| / |before|.

        Raises:
            LightAdaptError: the method is no change of weights, so it cannot be folded; the outputs differ by
                more than `max_drift`; or the model is in parts, one in each process.
        """
        if is_sharded(self.model):
            raise LightAdaptError(
                "merge(): the model is in parts, one in each process. Save it, and merge what load gives."
            )
        with self._set_for(self.runner) as now:
            merged = merge(now, base=base, dtype=dtype, max_drift=max_drift)
        return merged.requires_grad_(base != "quantized" or self._backbone.quantization is None).eval()

    def __str__(self) -> str:
        own = self.runner.adaptation.name
        others = [name for name in self._all if name != own]
        shown = describe(self.runner)
        return f"{shown}\n{'in use':<10} {own}; also {', '.join(others)}" if others else shown

    __repr__ = __str__
