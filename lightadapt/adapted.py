"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.history import History
from lightadapt.adaptation.preview import preview
from lightadapt.anatomy import Layers, family_of
from lightadapt.base.backbone import share_backbone
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.base.source import check_tokenizer
from lightadapt.base.weights import check_room, draw, load_base, plan_for
from lightadapt.data import CONLL_SUFFIXES, TABLE_SUFFIXES, Data, is_collection
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.export.merged import merge
from lightadapt.machine.processes import is_sharded, once
from lightadapt.methods import Method, resolve_method
from lightadapt.metrics import format_report
from lightadapt.tasks import Label, Task, give_labels, resolve_task
from lightadapt.training.arguments import read_settings
from lightadapt.training.checks import (
    GradientWatch,
    check_gradients,
    check_learning_rate,
    check_padding,
    check_targets,
    check_weights,
)
from lightadapt.training.frozen import FrozenBase
from lightadapt.training.job import Job, Validation
from lightadapt.training.run import Run


class Adapted:
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Several adaptations can share the base: `add` makes another one, `use` says which one is meant from then on.
    """

    def __init__(self, adaptation: Adaptation) -> None:
        self._all = {adaptation.name: adaptation}
        self._now = adaptation
        self._disabled = 0
        """How many `disable` blocks are open."""

    @property
    def model(self) -> PreTrainedModel:
        """A transformers model of the task's own class, for `pipeline`, `Trainer` or a forward of your own."""
        return self._now.model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the base."""
        return self._now.tokenizer

    @property
    def task(self) -> Task:
        """The task, with its labels once they are known."""
        return self._now.task

    @property
    def method(self) -> Method:
        """The method."""
        return self._now.method

    @property
    def history(self) -> History | None:
        """The record of the last `fit`; None before."""
        return self._now.history

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None as long as they are not known."""
        return self._now.labels

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
        self._check_name(name)
        chosen = self.task if task is None else resolve_task(task)
        if labels is not None:
            chosen = give_labels(chosen, labels)
        how, first = resolve_method(method), self._all[next(iter(self._all))]
        source = first.base.blueprint.source
        blueprint = draw(source, chosen)
        plan = plan_for(blueprint, how, layers)
        for each, unfrozen in ((first.method, first.plan.unfrozen), (how, plan.unfrozen)):
            if unfrozen or each.rewrites_base:
                raise LightAdaptError(f"Method {each.name!r} changes the base itself, so the base cannot be shared.")
        if plan.config is not None and peft_bridge.draws_for_the_whole_model(plan.config):
            raise LightAdaptError(f"Method {how} draws numbers for the model as a whole, which cannot be shared.")
        if first.base.blueprint.ready is not None:
            raise LightAdaptError(
                f"The {type(first.model).__name__} given to adapt(…) carries its own head and is used in place. To "
                "share a base, give adapt(…) its name, its folder or its bare backbone."
            )
        check_tokenizer(first.tokenizer, source, chosen)
        tokenizer = chosen.fit_tokenizer(first.tokenizer, family_of(source.config))
        check_room(source.config, first.tokenizer, how)
        device, quantization = first.model.device, first.base.quantization
        check_quantization(blueprint.anatomy, how, plan, quantization, device)
        base = load_base(blueprint, dtype=first.base.dtype, seed=first.seed, device=device, quantization=quantization)
        share_backbone(base, first.base)
        try:
            added = Adaptation(base, how, plan, tokenizer, name=name, layers=layers, seed=first.seed)
            how.start(added.model, added.tokenizer)
            self._all[name] = added
        finally:
            self._now.activate()

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

    def use(self, name: str) -> Adapted:
        """Switch to the adaptation of that name: its model, task, labels and history are those of this object now.

        Raises:
            LightAdaptError: there is none.
        """
        self._check_enabled("use")
        if name not in self._all:
            raise LightAdaptError(f"There is no adaptation {name!r}. {nearest(str(name), self._all)}{self._known}")
        self._now = self._all[name]
        self._now.activate()
        return self

    @property
    def _known(self) -> str:
        return f"There are: {', '.join(self._all)}."

    @contextmanager
    def disable(self) -> Iterator[Adapted]:
        """The base model without the adapter, under the same head, for the time of a `with` block."""
        self._disabled += 1
        self._now.activate(enabled=False)
        try:
            yield self
        finally:
            self._disabled -= 1
            self._now.activate(enabled=not self._disabled)

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
        now = self._now
        check_weights(now)
        check_learning_rate(settings.learning_rate, self.method.learning_rate, self.method.name)
        records = self.task.read(train, split="train", columns=columns)
        examples = self.task.parse(records)
        task = now.task_of(examples)
        task.check_answers(examples, records)
        checked = None if validation is None else task.read_examples(validation, split="validation", columns=columns)
        view = now.view_with(task.outputs())
        features = now.encode(examples, records, targets=True, task=task)
        check_targets(now, features, task)
        frozen = FrozenBase(now, dropout=base_dropout)
        job = Job(
            model=self.model,
            blocks=now.blocks,
            first_stack=now.first_stack,
            trains_base=bool(now.plan.unfrozen),
            head=now.base.head,
            features=features,
            collate=now.collate,
            objective=task.objective(examples, view),
            weigh=task.weigher(examples, view),
            validation=None
            if checked is None
            else Validation(
                score=now.scorer(*checked, task), headline=task.headline, greater_is_better=task.greater_is_better
            ),
            rest=frozen.rest,
            before_step=GradientWatch(now).look,
            save=now.save,
            load=now.go_back,
        )
        run = Run(
            job=job,
            settings=settings,
            title=f"{task.name}, {self.method.name}",
            default_rates=(self.method.learning_rate, self.method.head_learning_rate),
            seed=now.seed,
        )
        run.check()  # from here on the model changes
        now.settle(task)
        now.metrics = {}
        now.training = {
            **run.facts,
            "records": len(examples),
            "sequences": len(features),
            "tokens": job.tokens,
        }
        now.start_head(examples)
        now.fresh_head = False
        with frozen:
            history = run.train([callbacks] if isinstance(callbacks, TrainerCallback) else callbacks or ())
        now.training |= {"steps": history.steps, "seconds": round(history.seconds, 1)}
        now.metrics, now.history = history.best_scores, history
        if checked is not None:
            now.tune(*checked)
        return history

    def preview(self, data: Data, n: int = 3, *, columns: Mapping[str, str] | None = None) -> None:
        """Print the first `n` records as the model will see them, what is learned between ⟦ and ⟧, and what is cut.

        Raises:
            DataError: a record cannot be used.
        """
        now = self._now
        if type(n) is not int or n < 1:
            raise LightAdaptError(f"n={n!r}: give a whole number above 0.")
        records = self.task.read(data, columns=columns)
        examples = self.task.parse(records)
        task = now.task_of(examples)
        task.check_answers(examples, records)
        view = now.view if self.task.ready else now.view_with(task.outputs())
        count = min(n, len(records))
        print(preview(task, examples[:count], [records.place(index) for index in range(count)], view))

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
        now, task = self._now, self.task
        now.require_labels()
        if data is None:
            data, columns = task.samples(), {}
        examples, records = task.read_examples(data, split="train", columns=columns)
        features = now.encode(examples, records, targets=True)
        few, plain = features[:8], now.encode(examples[:8], records, targets=False)[:8]
        with torch.random.fork_rng():  # dropout draws
            found = [
                check_weights(now),
                check_targets(now, features, task),
                check_gradients(now, now.collate(few), task.objective(examples, now.view)),
                check_padding(now, plain),
            ]
        return [line for line in found if line]

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
        now = self._now
        now.require_labels()
        examples, records = self.task.read_examples(data, split="test", columns=columns)
        scores, table = self.task.score(examples, now.decode(examples, now.encode(examples, records, targets=True)))
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
    ) -> list[Any]:
        """The predictions, as many as inputs and in their order.

        Args:
            inputs: a list of texts, of pairs (classification, QA, multiple choice), of token lists (NER), of lists of
                messages (chat), or of records; or a file, a frame or a data set.
            scores: for the classification kinds, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.
            options: of generation, such as `{"max_new_tokens": 40, "num_beams": 4, "temperature": 0.7}`.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet.
        """
        now = self._now
        now.require_labels()
        if isinstance(inputs, str) and Path(inputs).suffix.lower() not in TABLE_SUFFIXES + CONLL_SUFFIXES:
            raise DataError(f"predict takes a list of inputs. Write predict([{inputs[:40]!r}]).")
        if isinstance(inputs, Mapping):
            raise DataError("predict takes a list of inputs. Write predict([{…}]).")
        if is_collection(inputs):
            inputs = list(inputs)
            if not inputs:
                return []
            plain = not all(isinstance(item, Mapping) for item in inputs)
            columns = {} if plain else columns  # a bare text has no columns
            inputs = [self.task.as_record(item) for item in inputs]
        records = self.task.read(inputs, split="test", columns=columns, labelled=False)
        examples = self.task.parse(records, labelled=False)
        task = self.task if options is None else self.task.with_options(options)
        predictions = now.decode(examples, now.encode(examples, records, targets=False, task=task), task)
        return [
            task.present(example, prediction, scores=scores)
            for example, prediction in zip(examples, predictions, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write the artifact: what was trained, its settings, the tokenizer and a model card.

        The folder is written as a whole or not at all; `lightadapt.load` reads it, and stock PEFT does too. Of several
        adaptations it is the one in use. Of several processes the main one writes, and the others go on when it has.

        Raises:
            ArtifactError: the folder holds other files, or cannot be written.
            LightAdaptError: the labels are not known yet.
        """
        self._now.save(path, lambda action: once(action, f"save({str(path)!r})"))

    def restore(self, artifact: Artifact) -> None:
        """Write saved tensors into the model, with what the artifact says of its training.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        now = self._now
        now.restore(artifact)
        now.training, now.metrics = dict(artifact.manifest["training"]), dict(artifact.manifest["metrics"])

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
        merged = merge(self._now, base=base, dtype=dtype, max_drift=max_drift)
        return merged.requires_grad_(base != "quantized" or self._now.base.quantization is None).eval()

    def __str__(self) -> str:
        others = [name for name in self._all if name != self._now.name]
        return f"{self._now}\n{'in use':<10} {self._now.name}; also {', '.join(others)}" if others else str(self._now)

    __repr__ = __str__
