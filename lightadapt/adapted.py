"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

from lightadapt import checkpoint, peft_bridge
from lightadapt.anatomy import Layers, outermost
from lightadapt.data import CONLL_SUFFIXES, TABLE_SUFFIXES, Data, is_collection
from lightadapt.description import as_rows, brief, describe_labels, describe_parameters
from lightadapt.errors import ArtifactError, DataError, LightAdaptError
from lightadapt.head import has_named_outputs, output_names, renew_head
from lightadapt.loading import Base, max_length
from lightadapt.methods import Method, Plan
from lightadapt.metrics import format_report
from lightadapt.model_card import write_card
from lightadapt.tasks import Task
from lightadapt.tasks.task import Feature, Label
from lightadapt.training.arguments import read_settings
from lightadapt.training.history import History
from lightadapt.training.inference import run_model
from lightadapt.training.run import Run


class Adapted:
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Attributes:
        model: a transformers model of the task's own class, for `pipeline`, `Trainer` or a forward of your own.
        tokenizer: its tokenizer.
        task: the task, with its labels once they are known.
        method: the method.
        history: the record of the last `fit`; None before.
    """

    def __init__(self, base: Base, method: Method, plan: Plan, tokenizer: Any, *, layers: Layers, seed: int) -> None:
        """`plan` is what the method does to this base in these `layers`."""
        self.model: PreTrainedModel = base.model
        self.tokenizer = tokenizer
        self.task: Task = base.blueprint.task
        self.method = method
        self.history: History | None = None
        self._base = base
        self._layers = layers if layers is None or isinstance(layers, str) else list(layers)
        self._plan = plan
        self._seed = seed
        self._metrics: dict[str, float] = {}
        self._training: dict[str, Any] = {}
        self._labels_settled = self.task.labels is not None
        self._trained = base.head | plan.unfrozen
        """Parameters of the model itself that are trained."""
        self._modules = outermost(self.model, self._trained)
        self._max_length = max_length(self.model, tokenizer)
        self._insert(plan.config)
        if not self._labels_settled and base.trained_head:
            self._adopt_labels()

    def _insert(self, config: PeftConfig | None) -> None:
        """Insert the adapter, freeze the rest, and keep what is trained in float32."""
        if config is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed)
                peft_bridge.insert(self.model, config)
        self.model.requires_grad_(False)
        trained = self._trained | peft_bridge.adapter_parameters(self.model)
        # A model built from an instance shares its tensors; what is trained must not change the instance.
        shared = self._base.blueprint.source.instance is not None and self._base.blueprint.ready is None
        for name, parameter in self.model.named_parameters():
            if name in trained:
                parameter.data = parameter.data.clone() if shared else parameter.data
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
        self.model.eval()

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
        return output_names(self.model.config)

    def _adopt_labels(self) -> None:
        """Take over the labels of a head that came trained with the checkpoint, until data says otherwise."""
        labels = self.task.labels_of(output_names(self.model.config))
        if labels is not None and has_named_outputs(self.model.config):
            self.task = self.task.with_labels(labels)

    def _task_of(self, examples: Sequence[Any]) -> Task:
        """The task with the labels of the first training data, unless they are given or settled before."""
        if self._labels_settled:
            return self.task
        found = self.task.find_labels(examples)
        if self.task.labels is not None and set(found) <= set(self.task.labels):
            return self.task
        return self.task.with_labels(found)

    def _settle(self, task: Task) -> None:
        """Take these labels for good; the head follows when they are new."""
        if task is not self.task:
            keep = self.task.labels is None  # of a head with other labels nothing is kept
            head = self._base.blueprint.anatomy.head
            self.task = task
            renew_head(self.model, head, task.outputs(), seed=self._seed, keep=keep)
        self._labels_settled = True

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
        settings = read_settings(
            args,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_tokens=batch_tokens,
            early_stopping=early_stopping,
            resume=resume,
            output_dir=output_dir,
            validates=validation is not None,
        )
        if not all(p.isfinite().all() for p in self.model.parameters() if p.requires_grad):
            raise LightAdaptError(
                "The trained weights are not finite: an earlier run diverged. Start again from adapt(…) or load(…)."
            )
        self._metrics = {}
        records = self.task.read(train, split="train", columns=columns)
        examples = self.task.parse(records)
        task = self._task_of(examples)
        task.check_labels(examples, records)
        checked = None if validation is None else self._examples(validation, "validation", columns, task)
        self._settle(task)
        run = Run(
            model=self.model,
            features=self._encode(examples, targets=True),
            collate=self._collate,
            settings=settings,
            title=f"{self.task.name}, {self.method.name}",
            head=self._base.head,
            default_rates=(self.method.learning_rate, self.method.head_learning_rate),
            score=None if checked is None else self._scorer(checked),
            headline=self.task.headline,
            save=self.save,
            load=self._go_back,
            seed=self._seed,
        )
        self._training = {**run.facts, "records": len(examples)}
        self.history = run.train([callbacks] if isinstance(callbacks, TrainerCallback) else callbacks or ())
        self._training |= {"steps": self.history.steps, "seconds": round(self.history.seconds, 1)}
        self._metrics = self.history.best_scores
        return self.history

    def _examples(self, data: Data, split: str, columns: Mapping[str, str] | None, task: Task) -> list[Any]:
        """The checked examples of the data, whose labels the task knows."""
        records = task.read(data, split=split, columns=columns)
        examples = task.parse(records)
        task.check_labels(examples, records)
        return examples

    def _encode(self, examples: Sequence[Any], *, targets: bool) -> list[Feature]:
        encoded = self.task.encode(examples, self.tokenizer, self._max_length, self._outputs() if targets else None)
        for note in encoded.notes:
            warnings.warn(note, stacklevel=3)
        return encoded.features

    def _collate(self, features: Sequence[Feature]) -> dict[str, torch.Tensor]:
        return self.task.collate(features, self.tokenizer)

    def _scorer(self, examples: Sequence[Any]) -> Callable[[], dict[str, float]]:
        """A function that scores these examples; they are encoded once."""
        features = self._encode(examples, targets=False)

        def score() -> dict[str, float]:
            self._metrics, _ = self.task.score(examples, self._decode(examples, features))
            return self._metrics

        return score

    def evaluate(
        self, data: Data, *, report: bool = False, columns: Mapping[str, str] | None = None
    ) -> dict[str, float]:
        """The task's metrics on labelled data, the headline first.

        Args:
            data: any form of data (see `lightadapt.data.read`).
            report: also print precision, recall, F1 and support of each class.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: a record cannot be used, or has a label that the model does not know.
            LightAdaptError: the labels are not known yet.
        """
        self._outputs()
        examples = self._examples(data, "test", columns, self.task)
        scores, table = self.task.score(examples, self._decode(examples, self._encode(examples, targets=True)))
        if report:
            print(format_report(table))
        return scores

    def predict(self, inputs: Any, *, scores: bool = False, columns: Mapping[str, str] | None = None) -> list[Any]:
        """The predictions, as many as inputs and in their order.

        Args:
            inputs: a list of texts, of pairs (classification), of token lists (NER), or of records; or a file,
                a frame or a data set.
            scores: for the classification kinds, give `{label: probability}`.
            columns: `{field: column}` for fields that have another name in the data.

        Raises:
            DataError: an input cannot be used.
            LightAdaptError: the labels are not known yet.
        """
        self._outputs()
        if isinstance(inputs, str) and Path(inputs).suffix.lower() not in TABLE_SUFFIXES + CONLL_SUFFIXES:
            raise DataError(f"predict takes a list of inputs. Write predict([{inputs[:40]!r}]).")
        if is_collection(inputs):
            inputs = list(inputs)
            if not inputs:
                return []
            plain = not all(isinstance(item, Mapping) for item in inputs)
            columns = {} if plain else columns  # a bare text has no columns
            inputs = [self.task.as_record(item) for item in inputs]
        records = self.task.read(inputs, split="test", columns=columns, labelled=False)
        examples = self.task.parse(records, labelled=False)
        predictions = self._decode(examples, self._encode(examples, targets=False))
        return [
            self.task.present(example, prediction, scores=scores)
            for example, prediction in zip(examples, predictions, strict=True)
        ]

    def _decode(self, examples: Sequence[Any], features: Sequence[Feature]) -> list[Any]:
        logits = run_model(self.model, features, self._collate)
        return self.task.decode(examples, features, logits, self._outputs())

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
            tensors=checkpoint.trained_tensors(self.model, self._trained, self._modules),
            write_config=lambda file: peft_bridge.write_config(
                file, self.model, self._modules, base["id"], base["revision"]
            ),
            write_tokenizer=self.tokenizer.save_pretrained,
            card=write_card(manifest, str(self), self.task.pipeline),
        )

    def restore(self, artifact: checkpoint.Artifact) -> None:
        """Write saved tensors into the model, with what the artifact says of its training.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        checkpoint.restore(self.model, self._trained, self._modules, artifact.tensors, artifact.path)
        self._training, self._metrics = dict(artifact.manifest["training"]), dict(artifact.manifest["metrics"])

    def _go_back(self, path: Path) -> None:
        """Take the trained tensors from one of this run's checkpoints."""
        artifact = checkpoint.read_artifact(path)
        now, then = self._manifest(), artifact.manifest
        pairs = {name: (then[name], now[name]) for name in ("labels", "method", "layers", "seed")}
        pairs["base"] = (then["base"]["fingerprint"], now["base"]["fingerprint"])
        pairs["number of records"] = (then["training"].get("records"), now["training"].get("records"))
        for name, (before, after) in pairs.items():
            if json.loads(json.dumps(before)) != json.loads(json.dumps(after)):
                raise ArtifactError(
                    f"{path} is of another run: its {name} was {brief(before)}, now {brief(after)}. "
                    "Resume with the same model, method and data, or start afresh in another folder."
                )
        checkpoint.restore(self.model, self._trained, self._modules, artifact.tensors, artifact.path)

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
            "layers": self._layers,
            "quantize": None,
            "head": sorted(self._base.head),
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
        blueprint = self._base.blueprint
        inserted = len(peft_bridge.adapted_modules(self.model))
        blocks = f"{len(self._plan.blocks)} of {len(blueprint.anatomy.blocks)} blocks"
        if inserted:
            adapted = f"{blocks}, {inserted} modules"
        else:
            adapted = blocks if self._trained - self._base.head else "the head alone"
        facts = {
            "base": f"{blueprint.source.name} ({type(self.model).__name__})",
            "task": f"{self.task.name}, {describe_labels(self.labels)}",
            "method": str(self.method),
            "adapted": adapted,
        }
        return as_rows(facts | describe_parameters(self.model, self._base.head))

    __repr__ = __str__
