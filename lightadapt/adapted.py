"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments

from lightadapt import checkpoint, peft_bridge
from lightadapt.anatomy import Block, outermost
from lightadapt.data import Data, Records
from lightadapt.errors import ArtifactError, DataError, LightAdaptError
from lightadapt.loading import Base, max_length, resize_head
from lightadapt.methods import Method
from lightadapt.metrics import format_report
from lightadapt.model_card import write_card
from lightadapt.tasks import Task
from lightadapt.tasks.task import Encoded, Feature, Label
from lightadapt.training.arguments import RECORDS_PER_STEP, default_epochs, training_arguments, user_arguments
from lightadapt.training.callbacks import PeakMemory, ProgressBar, StopWhenNotFinite
from lightadapt.training.history import History
from lightadapt.training.inference import run_model
from lightadapt.training.trainer import AdaptTrainer, last_checkpoint


class Adapted:
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Attributes:
        model: a transformers model of the task's own class, for `pipeline`, `Trainer` or a forward of your own.
        tokenizer: its tokenizer.
        task: the task, with its labels once they are known.
        method: the method.
        history: the record of the last `fit`; None before.
    """

    def __init__(
        self,
        base: Base,
        method: Method,
        tokenizer: Any,
        *,
        layers: Any,
        blocks: Sequence[Block],
        config: PeftConfig | None,
        seed: int,
    ) -> None:
        self.model: PreTrainedModel = base.model
        self.tokenizer = tokenizer
        self.task: Task = base.blueprint.task
        self.method = method
        self.history: History | None = None
        self._base = base
        self._layers = layers
        self._blocks = tuple(blocks)
        self._seed = seed
        self._metrics: dict[str, float] = {}
        self._training: dict[str, Any] = {}
        self._labels_given = self.task.labels is not None
        self._unfrozen = method.unfrozen(base.blueprint.anatomy, blocks)
        self._modules = outermost(self.model, base.head | self._unfrozen)
        self._max_length = max_length(self.model, tokenizer)
        self._insert(config)
        if not self._labels_given and base.trained_head:
            self._adopt_labels()

    def _insert(self, config: PeftConfig | None) -> None:
        """Insert the adapter, freeze the rest, and keep what is trained in float32."""
        if config is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed)
                peft_bridge.insert(self.model, config)
        self.model.requires_grad_(False)
        trained = self._base.head | self._unfrozen | peft_bridge.adapter_parameters(self.model)
        borrowed = self._base.blueprint.source.instance is not None and self._base.blueprint.ready is None
        for name, parameter in self.model.named_parameters():
            if name in trained:
                if borrowed and name in self._unfrozen:  # the tensors are the instance's own, which stays as it is
                    parameter.data = parameter.data.clone()
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
        self.model.eval()

    # ---- labels

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None as long as they are not known."""
        return None if self.task.labels is None else list(self.task.labels)

    def _outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs in order.

        Raises:
            LightAdaptError: the labels are not known yet.
        """
        if self.task.labels is None:
            raise LightAdaptError(
                "The labels are not known yet: fit(…) reads them from its data, or give them: adapt(…, labels=[…])."
            )
        return tuple(self.model.config.id2label[number] for number in range(self.model.config.num_labels))

    def _adopt_labels(self) -> None:
        """Take over the labels of a head that came trained with the checkpoint, until data says otherwise."""
        names = [str(name) for name in self.model.config.id2label.values()]
        if all(name == f"LABEL_{number}" for number, name in enumerate(names)):
            return
        labels = self.task.labels_of(names)
        if labels is not None:
            self.task = self.task.with_labels(labels)

    def _settle_labels(self, examples: Sequence[Any]) -> None:
        """Read the labels from the first training data, unless they are given; then they stay."""
        if self._labels_given:
            return
        found = self.task.find_labels(examples)
        if self.task.labels is None or not set(found) <= set(self.task.labels):
            self.task = self.task.with_labels(found)
            resize_head(self.model, self._base.blueprint.anatomy.head, self.task.outputs(), self._seed)
        self._labels_given = True

    # ---- training

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
            batch_tokens: real tokens a step; default: as many as 16 records have on average.
            early_stopping: stop after this many evaluations without a better headline metric.
            resume: go on from the last checkpoint in `output_dir`; without one, start afresh.
            output_dir: keep a checkpoint there every epoch; each is an artifact that `load` reads.
            callbacks: of transformers' Trainer.
            args: anything else that `transformers.TrainingArguments` knows, as a dict or an object.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: a record cannot be used; before training starts.
            LightAdaptError: the settings contradict each other, or the loss is no longer finite.
        """
        start = time.perf_counter()
        given = _merge_arguments(args, epochs=epochs, learning_rate=learning_rate, output_dir=output_dir)
        folder = given.pop("output_dir", None)
        checkpoint_path = _check_run(folder, resume=resume, early_stopping=early_stopping, validation=validation)
        examples = self._examples(train, "train", columns, settle=True)
        checked = self._examples(validation, "validation", columns) if validation is not None else None
        features = self._encode(examples, targets=True).features
        tokens = sum(map(len, features))
        budget = self._budget(batch_tokens, given.pop("per_device_train_batch_size", None), tokens, len(features))
        rate = given.pop("learning_rate", self.method.learning_rate)
        head_rate = rate * self.method.head_learning_rate / self.method.learning_rate
        passes = given.pop("num_train_epochs", None) or default_epochs(max(1, round(tokens / budget)))
        temporary = tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))
        with temporary as directory:
            arguments = training_arguments(
                given,
                output_dir=directory,
                epochs=passes,
                learning_rate=rate,
                validates=checked is not None,
                keeps_checkpoints=folder is not None,
                headline=self.task.headline,
                device=self.model.device,
                mixed_precision=self._mixed_precision(),
                seed=self._seed,
            )
            memory = PeakMemory()
            trainer = AdaptTrainer(
                self.model,
                arguments,
                features=features,
                collate=self._collate,
                batch_tokens=budget,
                head=self._base.head,
                head_rate=head_rate,
                evaluate=self._scorer(checked) if checked is not None else None,
                save=self.save,
                load=self._restore_checkpoint,
                callbacks=[
                    ProgressBar(f"{self.task.name}, {self.method.name}"),
                    memory,
                    StopWhenNotFinite(),
                    *([EarlyStoppingCallback(early_stopping)] if early_stopping else []),
                    *callbacks,
                ],
            )
            self._training = {
                "epochs": float(passes),
                "learning_rate": rate,
                "head_learning_rate": head_rate,
                "batch_tokens": budget,
                "seed": arguments.seed,
                "records": len(examples),
            }
            try:
                trainer.train(resume_from_checkpoint=str(checkpoint_path) if checkpoint_path else None)
            finally:
                self.model.eval()
        self.history = trainer.history(
            memory=memory.bytes, seconds=time.perf_counter() - start, settings=self._training
        )
        self._note_training(self.history)
        return self.history

    def _examples(
        self, data: Data, split: str, columns: Mapping[str, str] | None, *, settle: bool = False
    ) -> list[Any]:
        """The checked, labelled examples of the data."""
        records = self.task.read(data, split=split, columns=columns)
        examples = self.task.parse(records)
        if settle:
            self._settle_labels(examples)
        self._outputs()
        self.task.check_labels(examples, records)
        return examples

    def _encode(self, examples: Sequence[Any], *, targets: bool) -> Encoded:
        encoded = self.task.encode(examples, self.tokenizer, self._max_length, self._outputs() if targets else None)
        for note in encoded.notes:
            warnings.warn(note, stacklevel=3)
        return encoded

    def _collate(self, features: Sequence[Feature]) -> dict[str, torch.Tensor]:
        return self.task.collate(features, self.tokenizer)

    def _budget(self, batch_tokens: int | None, records: int | None, tokens: int, count: int) -> int:
        if batch_tokens is not None:
            if batch_tokens < 1:
                raise LightAdaptError(f"batch_tokens={batch_tokens}: give at least 1, such as 512.")
            return int(batch_tokens)
        return max(1, round((records or RECORDS_PER_STEP) * tokens / count))

    def _mixed_precision(self) -> bool:
        return self.model.device.type == "cuda" and self.model.dtype == torch.float32 and torch.cuda.is_bf16_supported()

    def _scorer(self, examples: Sequence[Any]) -> Callable[[], dict[str, float]]:
        """A function that scores these examples; they are encoded once."""
        features = self._encode(examples, targets=False).features

        def score() -> dict[str, float]:
            scores, _ = self.task.score(examples, self._decode(examples, features))
            self._metrics = scores
            return scores

        return score

    def _note_training(self, history: History) -> None:
        self._training |= {"steps": history.steps, "seconds": round(history.seconds, 1)}
        self._metrics = {name: value for name, value in (history.best or {}).items() if name not in ("epoch", "step")}

    def restore(self, artifact: checkpoint.Artifact) -> None:
        """Write saved tensors into the model, with what the artifact says of its training.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        checkpoint.restore(self.model, self._trained(), self._modules, artifact.tensors, artifact.path)
        self._training, self._metrics = dict(artifact.manifest["training"]), dict(artifact.manifest["metrics"])

    def _restore_checkpoint(self, path: Path) -> None:
        """Go back to one of this run's checkpoints."""
        artifact = checkpoint.read_artifact(path)
        if artifact.manifest["labels"] != self.labels:
            raise ArtifactError(
                f"{path} was trained with the labels {artifact.manifest['labels']}, but the data now has {self.labels}. "
                "Resume with the same data, or start afresh in another folder."
            )
        self.restore(artifact)

    # ---- use

    def evaluate(
        self, data: Data, *, report: bool = False, columns: Mapping[str, str] | None = None
    ) -> dict[str, float]:
        """The task's metrics on labelled data, the headline first.

        Args:
            report: also print precision, recall, F1 and support of each class.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the labels are not known yet.
        """
        self._outputs()
        examples = self._examples(data, "test", columns)
        features = self._encode(examples, targets=True).features
        scores, table = self.task.score(examples, self._decode(examples, features))
        if report:
            print(format_report(table))
        return scores

    def predict(self, inputs: Any, *, scores: bool = False, columns: Mapping[str, str] | None = None) -> list[Any]:
        """The predictions, as many as inputs and in their order.

        Args:
            inputs: a list of texts, of pairs (classification), of token lists (NER), or of records; or any
                other form of data.
            scores: for the classification kinds, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet.
        """
        self._outputs()
        if isinstance(inputs, str) and not Path(inputs).is_file():
            raise DataError(f"predict takes a list of inputs. Write predict([{inputs[:40]!r}]).")
        if isinstance(inputs, (list, tuple)):
            if not inputs:
                return []
            inputs = [self.task.as_record(item) for item in inputs]
        records: Records = self.task.read(inputs, split="test", columns=columns)
        examples = self.task.parse(records, labelled=False)
        predictions = self._decode(examples, self._encode(examples, targets=False).features)
        return [
            self.task.present(example, prediction, scores=scores)
            for example, prediction in zip(examples, predictions, strict=True)
        ]

    def _decode(self, examples: Sequence[Any], features: Sequence[Feature]) -> list[Any]:
        logits = run_model(self.model, features, self._collate)
        return self.task.decode(examples, features, logits, self._outputs())

    # ---- keeping

    def save(self, path: str | Path) -> None:
        """Write the artifact: what was trained, its settings, the tokenizer and a model card.

        The folder is written as a whole or not at all; `lightadapt.load` reads it, and stock PEFT does too.

        Raises:
            ArtifactError: the folder holds other files, or cannot be written.
            LightAdaptError: the labels are not known yet.
        """
        manifest = self._manifest()
        base = manifest["base"]
        checkpoint.write_artifact(
            path,
            manifest=manifest,
            tensors=checkpoint.trained_tensors(self.model, self._trained(), self._modules),
            write_config=lambda file: peft_bridge.write_config(
                file, self.model, self._modules, base["id"], base["revision"]
            ),
            write_tokenizer=self.tokenizer.save_pretrained,
            card=write_card(manifest, str(self), self.task.pipeline),
        )

    def _trained(self) -> frozenset[str]:
        return self._base.head | self._unfrozen

    def _manifest(self) -> dict[str, Any]:
        outputs = self._outputs()
        source = self._base.blueprint.source
        return {
            "base": {
                "id": source.id,
                "revision": source.revision,
                "class": type(self.model).__name__,
                "fingerprint": self._base.fingerprint,
            },
            "task": {"name": self.task.name, "settings": self.task.settings()},
            "labels": self.labels,
            "outputs": list(outputs),
            "method": {"name": self.method.name, "settings": self.method.settings()},
            "layers": self._layers if self._layers is None or isinstance(self._layers, str) else list(self._layers),
            "quantize": None,
            "trained": sorted(self._trained()),
            "modules": list(self._modules),
            "seed": self._seed,
            "training": self._training,
            "metrics": self._metrics,
            "versions": {name: version(name) for name in ("lightadapt", "torch", "transformers", "peft")},
        }

    def merge(self) -> PreTrainedModel:
        """A plain transformers model with the adapter folded into its weights; this one stays as it is.

        Raises:
            LightAdaptError: the method is no change of weights, so it cannot be folded.
        """
        merged = deepcopy(self.model)
        try:
            peft_bridge.fold(merged)
        except NotImplementedError as error:
            raise LightAdaptError(
                f"Method {self.method.name!r} cannot be folded into the weights ({error}). Ship the artifact instead."
            ) from error
        return merged.requires_grad_(True).eval()

    def __str__(self) -> str:
        parameters = list(self.model.named_parameters())
        total = sum(parameter.numel() for _, parameter in parameters)
        trained = sum(parameter.numel() for _, parameter in parameters if parameter.requires_grad)
        head = sum(parameter.numel() for name, parameter in parameters if name in self._base.head)
        sizes: dict[str, int] = {}
        for _, parameter in parameters:
            kind = str(parameter.dtype).removeprefix("torch.")
            sizes[kind] = sizes.get(kind, 0) + parameter.numel() * parameter.element_size()
        labels = "not known yet" if self.labels is None else f"{len(self.labels)}: {_shorten(self.labels)}"
        source = self._base.blueprint.source
        adapted = len(peft_bridge.adapted_modules(self.model))
        rows = {
            "base": f"{source.name} ({type(self.model).__name__})",
            "task": f"{self.task.name}, labels {labels}",
            "method": f"{self.method}",
            "adapted": f"{len(self._blocks)} of {len(self._base.blueprint.anatomy.blocks)} blocks, {adapted} modules",
            "trainable": f"{trained:,} of {total:,} parameters ({trained / total:.2%}), {head:,} of them in the head",
            "memory": ", ".join(f"{size / 2**20:,.1f} MiB {kind}" for kind, size in sizes.items()),
        }
        return "\n".join(f"{name:<10} {value}" for name, value in rows.items())

    __repr__ = __str__


def _shorten(labels: Sequence[Label]) -> str:
    shown = ", ".join(map(str, labels[:8]))
    return f"{shown}, …" if len(labels) > 8 else shown


def _merge_arguments(args: Any, **explicit: Any) -> dict[str, Any]:
    """The user's arguments for Trainer, with fit's own under Trainer's names; a value said twice is refused."""
    given = user_arguments(args)
    names = {"epochs": "num_train_epochs"}
    for name, value in explicit.items():
        other = names.get(name, name)
        if value is None:
            continue
        if other in given and given[other] != value:
            raise LightAdaptError(
                f"{name}={value!r} and args[{other!r}]={given[other]!r} contradict. Give one of them."
            )
        given[other] = value
    for name in ("num_train_epochs", "learning_rate"):
        if name in given and not given[name] > 0:
            raise LightAdaptError(f"{name}={given[name]!r}: give a number above 0.")
    return given


def _check_run(folder: str | Path | None, *, resume: bool, early_stopping: int | None, validation: Any) -> Path | None:
    """The checkpoint to resume from, once the settings are found to fit together."""
    if early_stopping is not None:
        if validation is None:
            raise LightAdaptError("early_stopping needs validation data: fit(train, validation=…, early_stopping=…).")
        if early_stopping < 1:
            raise LightAdaptError(f"early_stopping={early_stopping}: give the evaluations to wait, at least 1.")
    if folder is None:
        if resume:
            raise LightAdaptError("resume=True needs output_dir=…, the folder with the checkpoints.")
        return None
    found = last_checkpoint(folder)
    if found and not resume:
        raise LightAdaptError(
            f"output_dir {folder} holds checkpoints of an earlier run ({found.name}). Pass resume=True to go on from "
            "there, or choose another folder."
        )
    return found
