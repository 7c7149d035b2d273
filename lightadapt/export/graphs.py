"""What torch traces of a model, as a file for onnxruntime, in 32 bits or in 8."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, shown
from lightadapt.tasks import Feature, Task

LARGEST_FILE = 2**30
"""Bytes of weights above which they lie in a file of their own; one ONNX file holds two GiB at most."""
DIMENSIONS = {2: ("batch", "length"), 3: ("batch", "choices", "length")}
"""What the dimensions of an input may vary in, by their number."""


@dataclass(frozen=True)
class Graph:
    """What is to be traced."""

    module: nn.Module
    inputs: tuple[Any, ...]
    """Arguments of its forward: tensors, and lists of tensors."""
    free: tuple[Any, ...]
    """The same with `{dimension: name}` for each tensor: what may vary, by the name it gets in the graph."""
    names: Sequence[str]
    """Those of the tensors, in order."""
    outputs: Sequence[str]


class _Forward(nn.Module):
    """A model whose inputs have an order, and whose one output is what its task decodes."""

    def __init__(self, model: PreTrainedModel, task: Task, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.task, self.names = model, task, names

    def forward(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        given = self.model(**dict(zip(self.names, values, strict=True)), return_dict=True)
        return self.task.logits_of(given).float()


def forward_graph(runner: Runner, model: PreTrainedModel) -> Graph:
    """One forward, on the task's own samples."""
    samples = runner.task.samples()
    examples = runner.task.parse(runner.task.read([*samples, samples[0]], columns={}))
    features: Sequence[Feature] = runner.encode(examples, targets=False)
    batch = runner.collate(features)
    names = [name for name in batch if name in runner.accepted]
    free = DIMENSIONS[batch["input_ids"].ndim]
    whole = batch["input_ids"].shape  # what has another one, as the anchors of a relation, has a fixed number a text
    shapes = [dict(enumerate(free)) if batch[name].shape == whole else {0: "batch"} for name in names]
    module = _Forward(model, runner.task, names)
    return Graph(module, ([batch[name] for name in names],), (shapes,), names, ["logits"])


def write_graph(graph: Graph, target: Path, runner: Runner, format: str, *, opset: int, apart: bool) -> None:
    """Trace a graph into a file.

    Args:
        format: the name of the format, for errors.
        apart: whether the weights go into a file of their own.

    Raises:
        LightAdaptError: torch cannot trace it.
    """
    try:
        with torch.no_grad():
            torch.onnx.export(
                graph.module.eval(),
                graph.inputs,
                target,
                dynamo=True,
                input_names=list(graph.names),
                output_names=list(graph.outputs),
                dynamic_shapes=graph.free,
                opset_version=opset,
                external_data=apart,
                verbose=False,
            )
    except OSError:
        raise
    except Exception as error:  # of torch's tracer, of onnxscript, or of the model's own code
        raise LightAdaptError(
            f"export({format!r}): torch cannot write {type(runner.model).__name__} of "
            f"{runner.adaptation.design.blueprint.source.name} as a graph ({_reason(error)}). Export to 'merged', or "
            "save the adaptation."
        ) from error


def _reason(error: BaseException) -> str:
    """What torch's exporter stumbled over, which it wraps into advice to its developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {shown(' '.join(str(error).split()), 200)[1:-1]}"


def write_rounded(source: Path, target: Path, *, apart: bool) -> None:
    """Write a graph again with its matrices in 8 bits, a scale for each of their columns."""
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
def silent() -> Iterator[None]:
    """What torch's exporter and onnxruntime say of packages and steps that do not matter here is left out."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
