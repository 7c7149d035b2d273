"""One forward of the model as an ONNX graph, which onnxruntime computes without torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.export.format import Format, computes_exactly
from lightadapt.export.merged import merge
from lightadapt.export.proof import Found, Prover
from lightadapt.numbers import check_whole
from lightadapt.runtime.model import SCHEMA
from lightadapt.runtime.tokenizer import FACTS
from lightadapt.tasks import Feature, Task

LARGEST_FILE = 2**30
"""Bytes of weights above which they lie in a file of their own; one ONNX file holds two GiB at most."""
DIMENSIONS = {2: ("batch", "length"), 3: ("batch", "choices", "length")}
"""What the dimensions of an input may vary in, by their number."""


@dataclass(frozen=True, kw_only=True)
class Onnx(Format):
    """An ONNX graph with the tokenizer beside it; `lightadapt.load_onnx` reads it without torch and transformers.

    Batch and length of its inputs are free. Its one output `logits` is what the task decodes: `(B, K)` for a text,
    `(B, T, K)` for its tokens, `(B, T, 2)` for the start and the end of an answer, `(B, C)` for choices. A method that
    can be folded into the weights is; any other is a part of the graph.
    """

    name: ClassVar[str] = "onnx"
    extra: ClassVar[str | None] = "export"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript")

    quantize: str | None = None
    """`"int8"`: the weights of the matrix products in 8 bits, and their inputs rounded as they come."""
    opset: int = 18
    """Version of the operators."""

    def __post_init__(self) -> None:
        if self.quantize not in (None, "int8"):
            raise LightAdaptError(
                f"quantize={shown(self.quantize)}: {nearest(self.quantize, ['int8'])}Format 'onnx' knows 'int8'."
            )
        check_whole("opset", self.opset, least=18, wanted="a whole number from 18")

    def check(self, runner: Runner) -> None:
        design = runner.adaptation.design
        if design.quantization is not None:
            raise LightAdaptError(
                f"export('onnx'): the base has {design.quantization.name} weights of bitsandbytes, which ONNX does not "
                "know. Load it with quantize='none', and export with quantize='int8' for small weights."
            )
        if runner.task.uses_lm_head(runner.family):
            raise LightAdaptError(
                f"export('onnx'): task {runner.task.name!r} on a model of the kind {runner.family} is answered token "
                "by token, and what is written here is one forward of a model. Export to 'merged', 'vllm' or 'gguf'."
            )
        if not runner.tokenizer.is_fast:
            raise LightAdaptError(
                f"export('onnx'): {type(runner.tokenizer).__name__} is no fast tokenizer, so it has no tokenizer.json "
                "that could lie beside the model. Pass tokenizer= with a fast one to adapt or load."
            )

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        from lightadapt.runtime.onnx_runner import MODEL

        model = _plain(runner)
        rounded = self.quantize == "int8"
        target = folder / ("float32.onnx" if rounded else MODEL)
        large = sum(parameter.nbytes for parameter in model.parameters()) > LARGEST_FILE
        with _silent():
            _write_graph(runner, model, target, opset=self.opset, apart=large)
            if rounded:
                _round(target, folder / MODEL, apart=large)
        for file in folder.glob("float32.onnx*"):
            file.unlink()
        runner.tokenizer.save_pretrained(folder)
        return ['Use: lightadapt.load_onnx("{folder}").predict([…])']

    def facts(self, runner: Runner) -> dict[str, Any]:
        return {
            "runtime": {
                "schema": SCHEMA,
                "task": runner.task.as_json(),
                "labels": runner.labels,
                "outputs": list(runner.outputs),
                "max_length": runner.max_length,
                "family": runner.family,
                "tokenizer": {name: getattr(runner.tokenizer, name) for name in FACTS},
            }
        }

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        from lightadapt.runtime.onnx_runner import OnnxRunner

        other = OnnxRunner(folder, self.facts(runner)["runtime"], threads=torch.get_num_threads())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is cut, which was said before
            features = other.encode(prover.examples, targets=True)
        if [each.inputs for each in features] != [each.inputs for each in prover.features]:
            raise LightAdaptError(
                f"export('onnx'): tokenizer.json of {type(runner.tokenizer).__name__} gives other tokens than the "
                "tokenizer itself. Nothing is kept. Export to 'merged'."
            )
        return prover.compare(prover.run(runner.model, other.infer))

    def tolerance(self, runner: Runner) -> float | None:
        return 1e-4 if computes_exactly(runner) and self.quantize is None else None


class _Graph(nn.Module):
    """A model whose inputs have an order, and whose one output is what its task decodes."""

    def __init__(self, model: PreTrainedModel, task: Task, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.task, self.names = model, task, names

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        given = self.model(**dict(zip(self.names, values, strict=True)), return_dict=True)
        return self.task.logits_of(given).float()


def _plain(runner: Runner) -> PreTrainedModel:
    """A copy of the model in float32 on the CPU, with the adapter in its weights where that can be."""
    try:
        runner.adaptation.adapter.check_foldable(onto_these=True)
        model = merge(runner, base="reload", dtype="float32", max_drift=0.25)
    except NotImplementedError:
        model = deepcopy(runner.model)
    return model.float().cpu().eval()


def _write_graph(runner: Runner, model: PreTrainedModel, target: Path, *, opset: int, apart: bool) -> None:
    """Trace one forward on the task's own samples.

    Raises:
        LightAdaptError: torch cannot trace it.
    """
    samples = runner.task.samples()
    examples = runner.task.parse(runner.task.read([*samples, samples[0]], columns={}))
    features: Sequence[Feature] = runner.encode(examples, targets=False)
    batch = runner.collate(features)
    names = [name for name in batch if name in runner.accepted]
    free = DIMENSIONS[batch["input_ids"].ndim]
    whole = batch["input_ids"].shape  # what has another one, as the anchors of a relation, has a fixed number a text
    shapes = tuple(dict(enumerate(free)) if batch[name].shape == whole else {0: "batch"} for name in names)
    try:
        with torch.no_grad():
            torch.onnx.export(
                _Graph(model, runner.task, names),
                tuple(batch[name] for name in names),
                target,
                dynamo=True,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(shapes,),
                opset_version=opset,
                external_data=apart,
                verbose=False,
            )
    except Exception as error:  # of torch's tracer, of onnxscript, or of the model's own code
        raise LightAdaptError(
            f"export('onnx'): torch cannot write {type(model).__name__} of "
            f"{runner.adaptation.design.blueprint.source.name} as a graph ({_reason(error)}). Export to 'merged', or "
            "save the adaptation."
        ) from error


def _reason(error: BaseException) -> str:
    """What torch's exporter stumbled over, which it wraps into advice to its developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {shown(' '.join(str(error).split()), 200)[1:-1]}"


def _round(source: Path, target: Path, *, apart: bool) -> None:
    """Write the graph with its matrices in 8 bits, a scale for each of their columns."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        nodes_to_exclude=_not_matrices(source),
        use_external_data_format=apart,
    )


def _not_matrices(source: Path) -> list[str]:
    """The products with several constant matrices at once, which onnxruntime has in 8 bits with one scale only."""
    import onnx

    graph = onnx.load(source, load_external_data=False).graph
    stacked = {tensor.name for tensor in graph.initializer if len(tensor.dims) != 2}
    return [node.name for node in graph.node if node.op_type == "MatMul" and stacked.intersection(node.input)]


@contextmanager
def _silent() -> Iterator[None]:
    """What torch's exporter and onnxruntime say of packages and steps that do not matter here is left out."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
