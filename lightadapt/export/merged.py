"""A plain model of transformers, with the adapter in its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import transformers
from transformers import AutoTokenizer, PreTrainedModel

from lightadapt.adaptation.damage import reason_of
from lightadapt.adaptation.manifest import stock_class_of
from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError
from lightadapt.export.format import Format, computes_exactly
from lightadapt.export.merging import merge
from lightadapt.export.proof import Found, Prover
from lightadapt.machine.quiet import quiet
from lightadapt.tasks.encoding.legibility import sample_texts

PIPELINES = ("text-classification", "token-classification", "text-generation")
"""Pipelines of transformers that take a text."""


@dataclass(frozen=True, kw_only=True)
class Merged(Format):
    """A plain transformers model with its tokenizer, generation config, chat template and the names of its labels."""

    name: ClassVar[str] = "merged"
    aliases: ClassVar = {"transformers": {}, "safetensors": {}}

    base: str = "reload"
    """What a quantized base is folded into, as in `Adapted.merge`."""
    dtype: str = "auto"
    """Number format of the weights, as in `Adapted.merge`."""

    def check(self, runner: Runner) -> None:
        if stock_class_of(runner) is None:
            raise LightAdaptError(
                f"export('merged'): {type(runner.model).__name__}, with which task {runner.task.name!r} is done here, "
                "is a class of lightadapt that transformers cannot load. Export to 'onnx', or save the adaptation."
            )

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        merged = merge(runner, base=self.base, dtype=self.dtype, max_drift=0.25)
        with quiet():
            merged.save_pretrained(folder)
        runner.tokenizer.save_pretrained(folder)
        return [f"AutoModel: {stock_class_of(runner)}.from_pretrained({{folder!r}})"]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        with quiet():
            model = getattr(transformers, stock_class_of(runner) or "").from_pretrained(folder, dtype="auto")
        found = prover.compare_model(model)
        _try_pipeline(runner, model, folder, prover)
        return found

    def tolerance(self, runner: Runner) -> float | None:
        return 1e-4 if computes_exactly(runner) and self.dtype in ("auto", "float32") else None


def _try_pipeline(runner: Runner, model: PreTrainedModel, folder: Path, prover: Prover) -> None:
    """Ask transformers' own pipeline once, where there is one that takes a text.

    Raises:
        LightAdaptError: it fails on the folder.
    """
    name = runner.task.pipeline
    if name not in PIPELINES:
        return
    text = next(iter(sample_texts(prover.examples, runner.task.answer_fields)), "a")
    try:
        options = {"max_new_tokens": 2} if name == "text-generation" else {}
        transformers.pipeline(name, model=model, tokenizer=AutoTokenizer.from_pretrained(folder))(text, **options)
    except Exception as error:  # whatever goes wrong there would go wrong for the user
        raise LightAdaptError(
            f"export('merged'): transformers' pipeline {name!r} fails on what was written ({reason_of(error)}). "
            "Nothing is kept."
        ) from error
