"""One forward of the model as an ONNX graph, which onnxruntime computes without torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.damage import reason_of
from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.export.format import Format, computes_exactly
from lightadapt.export.graphs import LARGEST_FILE, Graph, forward_graph, silent, write_graph, write_rounded
from lightadapt.export.merging import merge
from lightadapt.export.proof import Found, Prover
from lightadapt.export.writing import add_writing_facts, check_writing, compare_writing
from lightadapt.export.writing_graphs import writing_graphs
from lightadapt.numbers import check_flags, check_whole
from lightadapt.runtime.model import runner_of
from lightadapt.runtime.onnx_runner import FILES
from lightadapt.runtime.tokenizer import FACTS
from lightadapt.runtime.writer import MODEL


@dataclass(frozen=True, kw_only=True)
class Onnx(Format):
    """An ONNX graph with the tokenizer beside it; `lightadapt.load_onnx` reads it without torch and transformers.

    Batch and length of its inputs are free. Its one output `logits` is what the task decodes: `(B, K)` for a text,
    `(B, T, K)` for its tokens, `(B, T, 2)` for the start and the end of an answer, `(B, C)` for choices. A model that
    writes takes and gives the keys and values of what it has read as well; an encoder-decoder is two graphs. A method
    that can be folded into the weights is; any other is a part of the graph.
    """

    name: ClassVar[str] = "onnx"
    extra: ClassVar[str | None] = "export"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript")
    as_computed: ClassVar[bool] = True

    quantize: str | None = None
    """`"int8"`: the weights of the matrix products in 8 bits, and their inputs rounded as they come."""
    opset: int = 18
    """Version of the operators."""
    greedy: bool = False
    """Whether texts are to be written greedily also where the task asks for beams or samples, which the runtime does
    not do."""

    def __post_init__(self) -> None:
        if self.quantize not in (None, "int8"):
            raise LightAdaptError(
                f"quantize={shown(self.quantize)}: {nearest(self.quantize, ['int8'])}Format {self.name!r} knows 'int8'."
            )
        check_flags(greedy=self.greedy)
        check_whole("opset", self.opset, least=18, wanted="a whole number from 18")

    def check(self, runner: Runner) -> None:
        design = runner.adaptation.design
        if design.quantization is not None:
            raise LightAdaptError(
                f"export({self.name!r}): the base has {design.quantization.name} weights of bitsandbytes, which ONNX "
                "does not know. Load it with quantize='none', and export with quantize='int8' for small weights."
            )
        if not runner.tokenizer.is_fast:
            raise LightAdaptError(
                f"export({self.name!r}): {type(runner.tokenizer).__name__} is no fast tokenizer, so it has no "
                "tokenizer.json that could lie beside the model. Pass tokenizer= with a fast one to adapt or load."
            )
        if _writes(runner):
            check_writing(runner, self.name, greedy=self.greedy)

    def require_packages(self) -> None:
        super().require_packages()
        import onnx

        newest = onnx.defs.onnx_opset_version()
        check_whole("opset", self.opset, least=18, most=newest, wanted=f"a whole number from 18 to {newest}")

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        model = _plain(runner)
        apart = sum(parameter.nbytes for parameter in model.parameters()) > LARGEST_FILE
        with silent():
            for name, graph in _graphs(runner, model).items():
                target = folder / f"{'float32_' if self.quantize else ''}{name}.onnx"
                write_graph(graph, target, runner, self.name, opset=self.opset, apart=apart)
                if self.quantize:
                    write_rounded(target, folder / f"{name}.onnx", apart=apart)
                for file in folder.glob("float32_*"):
                    file.unlink()
        runner.tokenizer.save_pretrained(folder)
        return ["Use: lightadapt.load_onnx({folder!r}).predict([…])"]

    def facts(self, runner: Runner) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "schema": 1,
            "graphs": list(FILES),
            "task": runner.task.as_json(),
            "labels": runner.labels,
            "outputs": list(runner.outputs),
            "max_length": runner.max_length,
            "family": runner.family,
            "tokenizer": {name: getattr(runner.tokenizer, name) for name in FACTS},
        }
        return {"runtime": add_writing_facts(facts, runner) if _writes(runner) else facts}

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        try:
            other = runner_of(folder, self.facts(runner)["runtime"], threads=torch.get_num_threads())
        except Exception as error:  # onnxruntime, OpenVINO and tokenizers raise kinds of their own
            raise LightAdaptError(
                f"export({self.name!r}): what was written cannot be computed here ({reason_of(error)}). Nothing is "
                "kept. Leave opset out, or export to 'merged'."
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is cut, which was said before
            features = other.encode(prover.examples, targets=True)
        theirs, ours = ([(each.inputs, each.targets) for each in side] for side in (features, prover.features))
        if theirs != ours:
            raise LightAdaptError(
                f"export({self.name!r}): tokenizer.json of {type(runner.tokenizer).__name__} gives other tokens "
                "than the tokenizer itself. Nothing is kept. Export to 'merged'."
            )
        inferred = prover.run(runner.model, other.infer)
        return prover.compare(inferred) if runner.task.comparable else compare_writing(prover, other, inferred)

    def tolerance(self, runner: Runner) -> float | None:
        return 1e-4 if computes_exactly(runner) and self.quantize is None else None


def _writes(runner: Runner) -> bool:
    return runner.task.uses_lm_head(runner.family)


def _graphs(runner: Runner, model: PreTrainedModel) -> dict[str, Graph]:
    """What is to be traced, by the names of the files."""
    return writing_graphs(runner, model) if _writes(runner) else {MODEL: forward_graph(runner, model)}


def _plain(runner: Runner) -> PreTrainedModel:
    """A copy of the model in float32 on the CPU, with the adapter in its weights where that can be."""
    try:
        runner.adaptation.adapter.check_foldable(onto_these=True)
        model = merge(runner, base="reload", dtype="float32", max_drift=0.25)
    except NotImplementedError:
        model = deepcopy(runner.model)
    return model.float().cpu().eval()
