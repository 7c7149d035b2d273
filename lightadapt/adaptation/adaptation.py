"""One method and one task on a base model: what is inserted, trained, encoded, decoded and saved."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation import artifact as checkpoint
from lightadapt.adaptation.history import History
from lightadapt.adaptation.model_card import write_card
from lightadapt.adaptation.prediction import run_model
from lightadapt.anatomy import Layers, family_of, outermost
from lightadapt.base.description import as_rows, brief, describe_labels, describe_parameters
from lightadapt.base.fingerprint import same_base
from lightadapt.base.memory import Memory, memory_of
from lightadapt.base.quantization import is_quantized
from lightadapt.base.weights import Base, max_length
from lightadapt.data import Records
from lightadapt.data.stored import Stored, pieces, stored_like
from lightadapt.errors import ArtifactError, LightAdaptError, RecordError
from lightadapt.heads.outputs import (
    LastTokenPooling,
    OutputScale,
    has_named_outputs,
    output_names,
    renew_head,
    start_outputs_at,
)
from lightadapt.machine.processes import Gate, is_sharded, meet
from lightadapt.methods import Method, Plan
from lightadapt.tasks import Count, Feature, Label, LabelledTask, ModelView, Task
from lightadapt.tasks.encoding.features import as_notes

PIECE = 1_000
"""Examples that are encoded at once: what the tokenizer gives for them takes several times the room of the features."""
SAME_WHEN_RESUMED = {
    "number of records": "records",
    "number of sequences": "sequences",
    "number of tokens": "tokens",
    "order": "seed",
    "learning rate": "learning_rate",
    "batch_tokens": "batch_tokens",
    "number of batches a step": "gradient_accumulation_steps",
    "number of processes": "processes",
    "optimizer": "optimizer",
}
"""Facts of a run that say where in an epoch a step is, and what the state of the optimizer is of."""


class Adaptation:
    """A method inserted into a base model under a name, with the head of a task.

    Attributes:
        name: the adapter's name in the model.
        model: a transformers model of the task's own class.
        trained: parameters of the model itself that are trained; the adapter's own come on top.
        modules: the fewest modules that hold them.
        training: the settings of the last run.
        metrics: the validation metrics of the last run.
    """

    def __init__(
        self, base: Base, method: Method, plan: Plan, tokenizer: Any, *, name: str, layers: Layers, seed: int
    ) -> None:
        """Insert the method.

        Args:
            plan: what the method does to this base in these `layers`.
        """
        self.name = name
        self.model: PreTrainedModel = base.model
        self.tokenizer = tokenizer
        self.task: Task = base.blueprint.task
        self.method = method
        self.base = base
        self.plan = plan
        self.layers = layers if layers is None or isinstance(layers, str) else list(layers)
        self.seed = seed
        self.history: History | None = None
        self.metrics: dict[str, float] = {}
        self.training: dict[str, Any] = {}
        self._settled = self.task.ready
        self.fresh_head = not base.trained_head
        """Whether the head has not been trained yet."""
        self.trained = base.head | plan.unfrozen
        self.modules = outermost(self.model, self.trained)
        self.max_length = max_length(self.model, tokenizer) - method.extra_tokens
        self._accepted = _arguments(self.model)
        self._insert()
        self.activate()
        self._agree_on_padding()
        self._scale_outputs()
        if not self._settled and base.trained_head:
            self._adopt_labels()

    def _insert(self) -> None:
        """Insert the adapter; what is trained gets tensors of its own in float32."""
        # A model built from an instance shares its tensors; what is trained must not change the instance.
        blueprint = self.base.blueprint
        shared = blueprint.source.instance is not None and blueprint.ready is None
        if shared and self.method.rewrites_base:
            for parameter in self.model.parameters():
                parameter.data = parameter.data.clone()
        if self.plan.config is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                peft_bridge.insert(self.model, self.plan.config, self.name)
        trained = self.all_trained
        for name, parameter in self.model.named_parameters():
            if name in trained:
                parameter.data = parameter.data.clone() if shared else parameter.data
                parameter.data = parameter.data.float()

    def _agree_on_padding(self) -> None:
        """One padding token for tokenizer and model, and a head that pools by the mask."""
        if family_of(self.model.config) == "encoder":
            return
        for config in (self.model.config, self.model.config.get_text_config()):
            config.pad_token_id = self.tokenizer.pad_token_id
        if self.task.auto_classes[family_of(self.model.config)].endswith("ForSequenceClassification"):
            LastTokenPooling(self.model, outermost(self.model, self.base.blueprint.anatomy.head))

    @property
    def all_trained(self) -> frozenset[str]:
        """Every parameter that is trained, as in `model.named_parameters()`."""
        own = frozenset(peft_bridge.original_name(name) for name in self.trained)
        names = {name for name, _ in self.model.named_parameters() if peft_bridge.original_name(name) in own}
        return frozenset(names | peft_bridge.adapter_parameters(self.model, self.name))

    def activate(self, *, enabled: bool = True) -> None:
        """Let the model use this adapter and no other, and let this adaptation alone be trained."""
        peft_bridge.use(self.model, self.name if enabled else None)
        trained = self.all_trained if enabled else frozenset()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in trained)
        self.model.eval()

    # ---- labels

    @property
    def labels(self) -> list[Label] | None:
        """The names of the classes; None as long as they are not known."""
        if not isinstance(self.task, LabelledTask) or self.task.labels is None:
            return None
        return list(self.task.labels)

    @property
    def view(self) -> ModelView:
        """What the task knows of the model.

        Raises:
            LightAdaptError: the labels are not known yet.
        """
        return self.view_with(self.outputs)

    def view_with(self, outputs: tuple[str, ...]) -> ModelView:
        """What a task would know of the model if its head had these outputs."""
        return ModelView(self.tokenizer, self.max_length, family_of(self.model.config), outputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs in order; none where the head is the model's own.

        Raises:
            LightAdaptError: the labels are not known yet.
        """
        if not self.task.ready:
            raise LightAdaptError(
                "The labels are not known yet: fit(…) reads them from its data, or give them: adapt(…, labels=[…])."
            )
        return output_names(self.model.config) if self.task.outputs() else ()

    def require_labels(self) -> None:
        """Raise when the labels are not known yet."""
        _ = self.outputs

    def _adopt_labels(self) -> None:
        """Take over the labels of a head that came trained with the checkpoint, until data says otherwise."""
        assert isinstance(self.task, LabelledTask)
        labels = self.task.labels_of(output_names(self.model.config))
        if labels is not None and has_named_outputs(self.model.config):
            self.task = self.task.with_labels(labels)

    def task_of(self, examples: Sequence[Any]) -> Task:
        """The task as it learns from these examples, with their labels unless they are given or settled before."""
        task = self.task
        if not self._settled and isinstance(task, LabelledTask):
            found = task.find_labels(examples)
            if task.labels is None or not set(found) <= set(task.labels):
                task = task.with_labels(found)
        return task.prepare(examples, fresh_head=self.fresh_head)

    def settle(self, task: Task) -> None:
        """Take these labels for good; the head follows when they are new."""
        before, self.task = self.task, task
        if task.outputs() != before.outputs():
            keep = not before.ready  # of a head with other labels nothing is kept
            head = self.base.blueprint.anatomy.head
            renew_head(self.model, head, task.outputs(), seed=self.seed, keep=keep)
        if before.output_scale is None:
            self._scale_outputs()
        self._settled = True

    def start_head(self, examples: Sequence[Any]) -> None:
        """Let a head that has not been trained start where the task thinks best."""
        values = self.task.first_outputs(examples, self.view) if self.fresh_head else None
        if values is not None:
            start_outputs_at(self._head_modules, values)

    def _scale_outputs(self) -> None:
        if self.task.output_scale is not None:
            OutputScale(self._head_modules, *self.task.output_scale)

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules of all transformer blocks; a block can be several."""
        blocks = self.base.blueprint.anatomy.blocks
        return [self.model.get_submodule(path) for block in blocks for path in block.paths]

    @property
    def first_stack(self) -> list[nn.Module] | None:
        """The blocks of the first stack in the order in which they run; None when a block is several modules."""
        anatomy = self.base.blueprint.anatomy
        blocks = [block for block in anatomy.blocks if block.stack == anatomy.stacks[0]]
        if any(len(block.paths) > 1 for block in blocks):
            return None
        return [self.model.get_submodule(block.path) for block in blocks]

    @property
    def _head_modules(self) -> list[nn.Module]:
        paths = outermost(self.model, self.base.blueprint.anatomy.head)
        return [self.model.get_submodule(path) for path in paths]

    # ---- records in, predictions out

    def encode(
        self, examples: Sequence[Any], records: Records | None = None, *, targets: bool, task: Task | None = None
    ) -> Sequence[Feature]:
        """The examples as the model reads them, with a warning for what had to be cut; in a file when they are in one.

        Args:
            records: what the examples were parsed from, so that an error can name file and line.
            task: another form of the task than the present one.

        Raises:
            DataError: a record cannot be encoded.
        """
        counts: list[Count] = []
        # The task may have labels that the head is to get yet.
        view = self.view if task is None else self.view_with(task.outputs())
        encoded = self._encode(examples, records, targets, task or self.task, view, counts)
        features = stored_like(examples, encoded)
        for note in as_notes(counts, len(examples)):
            warnings.warn(note, stacklevel=3)
        return features

    def _encode(
        self,
        examples: Sequence[Any],
        records: Records | None,
        targets: bool,
        task: Task,
        view: ModelView,
        counts: list[Count],
    ) -> Iterator[Feature]:
        """The features one by one; what is to be said of them is added to `counts`."""
        # An encoder-decoder wants as many end tokens in every text, which is seen of all of them together only.
        whole = view.family == "encoder-decoder" and not isinstance(examples, Stored)
        size = max(1, len(examples)) if whole else PIECE
        for number, piece in enumerate(pieces(examples, size)):
            try:
                encoded = task.encode(piece, view, targets=targets)
            except RecordError as error:
                place = error.index + number * size
                raise RecordError(place, error.reason) if records is None else error.at(records.place(place)) from None
            counts += encoded.counts
            for feature in encoded.features:
                feature.example += number * size
                if "token_type_ids" not in self._accepted:  # tokenizers say more than some models want to hear
                    feature.inputs.pop("token_type_ids", None)
                yield feature

    def collate(self, features: Sequence[Feature]) -> dict[str, torch.Tensor]:
        """The features as one padded batch."""
        return self.task.collate(features, self.view)

    def decode(
        self, examples: Sequence[Any], features: Sequence[Feature], task: Task | None = None, *, shared: bool = False
    ) -> list[Any]:
        """What the model predicts for the examples, by the task as it is or with other options.

        Args:
            shared: whether all processes call this together, so that each can do its share.
        """
        task, view = task or self.task, self.view
        costs = [task.cost(feature) for feature in features]
        with peft_bridge.folded_if_it_pays(self.model, self.name, sum(costs)):
            inferred = run_model(
                self.model, features, costs, lambda batch: task.infer(self.model, batch, view), shared=shared
            )
        return task.decode(examples, features, inferred, view)

    def scorer(self, examples: Sequence[Any], records: Records, task: Task) -> Callable[[], dict[str, float]]:
        """A function that scores these examples, which are encoded once; all processes of a run call it together.

        Args:
            task: the one that is settled before the function is called.
        """
        features = task.validation_features(self.encode(examples, records, targets=True, task=task))

        def score() -> dict[str, float]:
            predictions = self.decode(examples, features, shared=True)
            task = self.task.tune_on_validation(examples, predictions) if self.task.tunes else self.task
            self.metrics, _ = task.score(examples, predictions)
            return self.metrics

        return score

    def tune(self, examples: Sequence[Any], records: Records) -> None:
        """Tune on validation examples what the task does not learn by gradient."""
        if not self.task.tunes:
            return
        predictions = self.decode(examples, self.encode(examples, records, targets=False))
        tuned = self.task.tune_on_validation(examples, predictions)
        if tuned != self.task:
            self.task = tuned
            self.metrics, _ = tuned.score(examples, predictions)

    # ---- keeping it

    def save(self, path: str | Path, write: Gate = lambda action: action()) -> None:
        """Write the artifact.

        Args:
            write: decides whether this process is to write.
        """
        manifest, tensors = self.manifest(), self._tensors()
        base = manifest["base"]
        write(
            lambda: checkpoint.write_artifact(
                path,
                manifest=manifest,
                tensors=tensors,
                write_config=lambda file: peft_bridge.write_config(
                    file, self.model, self.name, self.modules, base["id"], base["revision"]
                ),
                write_tokenizer=self.tokenizer.save_pretrained,
                card=write_card(manifest, str(self), self.task.pipeline),
            )
        )

    def _tensors(self) -> dict[str, torch.Tensor]:
        if is_sharded(self.model):
            meet("save")
        return checkpoint.trained_tensors(self.model, self.trained, self.modules, self.name)

    def restore(self, artifact: checkpoint.Artifact) -> None:
        """Write saved tensors into the model.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        checkpoint.restore(self.model, self.trained, self.modules, artifact.tensors, artifact.path, self.name)
        self.fresh_head = False

    def go_back(self, path: Path) -> None:
        """Take the trained tensors from one of this run's checkpoints."""
        artifact = checkpoint.read_artifact(path)
        now, then = self.manifest(), artifact.manifest
        pairs = {name: (then[name], now[name]) for name in ("labels", "method", "layers", "seed", "quantize")}
        pairs["task"] = (then["task"]["name"], now["task"]["name"])
        for name, value in now["task"]["settings"].items():
            pairs[f"{now['task']['name']} option {name}"] = (then["task"]["settings"].get(name), value)
        if same_base(then["base"]["fingerprint"], now["base"]["fingerprint"]) is False:
            pairs["base"] = (then["base"]["id"], f"another ({now['base']['id']})")
        for name, known in SAME_WHEN_RESUMED.items():
            pairs[name] = (then["training"].get(known), now["training"].get(known))
        for name, (before, after) in pairs.items():
            if json.loads(json.dumps(before)) != json.loads(json.dumps(after)):
                raise ArtifactError(
                    f"{path} is of another run: its {name} was {brief(before)}, now {brief(after)}. "
                    "Resume with the same model, method and data, or start afresh in another folder."
                )
        self.restore(artifact)

    def manifest(self) -> dict[str, Any]:
        """What lightadapt.json says, without the facts about the files."""
        source = self.base.blueprint.source
        return {
            "base": {
                "id": source.id,
                "revision": source.revision,
                "class": type(self.model).__name__,
                "fingerprint": self.base.fingerprint,
            },
            "task": self.task.as_json(),
            "labels": self.labels,
            "outputs": list(self.outputs),
            "method": self.method.as_json(),
            "layers": self.layers,
            "quantize": None if self.base.quantization is None else self.base.quantization.as_json(),
            "head": sorted(self.base.head),
            "seed": self.seed,
            "training": self.training,
            "metrics": self.metrics,
            "versions": {name: version(name) for name in ("lightadapt", "torch", "transformers", "peft")},
        }

    def __str__(self) -> str:
        blueprint = self.base.blueprint
        inserted = len(peft_bridge.adapted_modules(self.model, self.name))
        blocks = f"{len(self.plan.blocks)} of {len(blueprint.anatomy.blocks)} blocks"
        if inserted:
            adapted = f"{blocks}, {inserted} modules"
        else:
            adapted = blocks if self.trained - self.base.head else "the head alone"
        labelled = isinstance(self.task, LabelledTask)
        facts = {
            "base": f"{blueprint.source.name} ({type(self.model).__name__})",
            "task": f"{self.task.name}, {describe_labels(self.labels)}" if labelled else self.task.name,
            "method": str(self.method),
            "adapted": adapted,
        }
        if self.base.quantization is not None:
            facts["quantize"] = str(self.base.quantization)
        facts["trainable"] = describe_parameters(self._sizes(), self.base.head, self.all_trained)
        return as_rows(facts | self.memory.rows())

    def _sizes(self) -> dict[str, int]:
        """The number of values of every parameter; what is quantized has fewer elements, which hold several each."""
        shapes = self.base.blueprint.anatomy.parameters
        packed = {id(module.weight) for module in self.model.modules() if is_quantized(module)}
        return {
            name: prod(shapes[peft_bridge.original_name(name)]) if id(parameter) in packed else parameter.numel()
            for name, parameter in self.model.named_parameters()
        }

    @property
    def memory(self) -> Memory:
        """What the weights take, and training them."""
        return memory_of(self.model, self.base.head, self.all_trained)


def _arguments(model: PreTrainedModel) -> frozenset[str]:
    """The names of the arguments that a model takes, or passes on to its backbone."""
    own = inspect.signature(model.forward).parameters
    passes_on = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in own.values())
    return frozenset(own) | (frozenset(inspect.signature(model.base_model.forward).parameters) if passes_on else set())
