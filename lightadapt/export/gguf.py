"""A decoder as one GGUF file, or its adapter as another, which llama.cpp and what builds on it run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from lightadapt import peft_bridge
from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.export.format import Format
from lightadapt.export.llama_cpp import (
    FILE_TYPES,
    convert,
    convert_adapter,
    quantize,
    require_quantizer,
    write_texts,
)
from lightadapt.export.merging import check_folds, merge, on_plain_base
from lightadapt.export.plain_lora import check_updates, choose_rank, updates_of
from lightadapt.export.proof import Found, Prover
from lightadapt.machine.quiet import quiet
from lightadapt.numbers import check_flags, check_number

WEIGHTS = ("f16", "bf16", "f32", "q8_0", *FILE_TYPES)
OF_ADAPTERS = ("f16", "f32")
FILE, ADAPTER = "model.gguf", "adapter.gguf"
HIGHEST_RANK = 256
MOST_RECORDS = 20
"""Records on which llama.cpp writes beside torch; it writes one text at a time here."""


@dataclass(frozen=True, kw_only=True)
class Gguf(Format):
    """The merged model as GGUF, by llama.cpp's own converter; or the adapter alone, as LoRA for the GGUF of its base.

    The converter knows architectures and tokenizers by name: of one that it does not know it says so.
    """

    name: ClassVar[str] = "gguf"
    aliases: ClassVar = {"llama.cpp": {}, "lora-gguf": {"adapter_only": True}}
    extra: ClassVar[str | None] = "gguf"
    packages: ClassVar[tuple[str, ...]] = ("convert_hf_to_gguf", "sentencepiece", "xllamacpp")

    quantize: str = "f16"
    """Form of the weights: `"f16"`, `"bf16"`, `"f32"`, in 8 bits `"q8_0"`, or in fewer, by llama.cpp's quantizer:
    `"q4_k_m"`, `"q5_k_m"`, `"q6_k"`. Of an adapter: `"f16"` or `"f32"`."""
    adapter_only: bool = False
    """Whether only the adapter is written, as LoRA for the GGUF of its base."""
    max_error: float = 0.01
    """How much of the updates of another method than LoRA an adapter may leave out, as |left out| / |all|."""

    def __post_init__(self) -> None:
        if self.quantize not in WEIGHTS:
            raise LightAdaptError(
                f"quantize={shown(self.quantize)}: {nearest(self.quantize, WEIGHTS)}Format 'gguf' knows "
                f"{', '.join(WEIGHTS)}."
            )
        check_flags(adapter_only=self.adapter_only)
        check_number("max_error", self.max_error, least=0, below=1)
        if self.adapter_only and self.quantize not in OF_ADAPTERS:
            raise LightAdaptError(
                f"export({self.called!r}): the form {self.quantize!r} is for models, and an adapter alone is written "
                "in 'f16' or 'f32'. Quantize the base, and compute with the adapter on that."
            )

    @property
    def called(self) -> str:
        return "lora-gguf" if self.adapter_only else self.name

    def check(self, runner: Runner) -> None:
        if runner.family != "decoder" or not runner.task.uses_lm_head(runner.family) or runner.task.comparable:
            raise LightAdaptError(
                f"export({self.called!r}): it is for decoders that write text, and task {runner.task.name!r} on a "
                f"model of the kind {runner.family} is not that. Export to 'onnx' or 'merged'."
            )
        if self.adapter_only and runner.adaptation.trained:
            raise LightAdaptError(
                f"export({self.called!r}): {sorted(runner.adaptation.trained)[0]} is trained as a whole, and an "
                "adapter for llama.cpp holds products alone. Leave adapter_only out."
            )
        if self.adapter_only:
            check_updates(runner, self.called)
        else:
            check_folds(runner)

    def require_packages(self) -> None:
        super().require_packages()
        if self.quantize in FILE_TYPES:
            require_quantizer()

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        if self.adapter_only:
            return self._write_adapter(runner, folder)
        plain = folder / "plain"
        with quiet():
            merge(runner, base="reload", dtype="auto", max_drift=0.25).save_pretrained(plain)
        runner.tokenizer.save_pretrained(plain)
        smaller = self.quantize in FILE_TYPES
        whole = "whole.gguf" if smaller else FILE
        convert(runner, folder, plain.name, whole, "f16" if smaller else self.quantize)
        shutil.rmtree(plain)
        if smaller:
            quantize(folder / whole, folder / FILE, self.quantize, torch.get_num_threads())
            (folder / whole).unlink()
        return [f"Use: llama-cli -m {{folder!q}}/{FILE}"]

    def _write_adapter(self, runner: Runner, folder: Path) -> Sequence[str]:
        updates = updates_of(runner, self.called)
        least = max((each.exact.rank for each in updates.values() if each.exact is not None), default=1)
        ranks = range(least, max(HIGHEST_RANK, least) + 1)
        rank, error = choose_rank(updates, ranks, self.max_error, self.called)
        plain = folder / "plain"
        plain.mkdir()
        changes = {}
        for path, update in updates.items():
            factors = update.factors(rank)
            change = (factors.up.float() @ factors.down.float()).cpu()
            changes[f"{path}.weight"] = (change.T if _is_conv1d(runner, path) else change).contiguous()
        save_file(changes, plain / "model.safetensors", metadata={"format": "pt"})
        config = copy(runner.model.config)
        config.architectures = [type(runner.model).__name__]  # of an instance that was never saved it has none
        config.save_pretrained(plain)
        convert_adapter(runner, folder, plain.name, ADAPTER, self.quantize, rank)
        shutil.rmtree(plain)
        return [
            f"Rank {rank}, which leaves out {error:.2%} of the updates.",
            f"Use: llama-cli -m base.gguf --lora {{folder!q}}/{ADAPTER}",
        ]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        if (runner.task.settings().get("options") or {}) != {}:
            return Found()  # what is sampled is never equal
        features: Sequence[Any] = prover.features  # of generation, with prompts
        asked = [feature for feature in features if feature.prompt][:MOST_RECORDS]
        prompts = [feature.prompt for feature in asked]
        if self.adapter_only:
            file = _write_base(runner, folder, self.quantize)
            written = write_texts(file, runner, prompts, adapter=folder / ADAPTER)
            shutil.rmtree(file.parent)
        else:
            written = write_texts(folder / FILE, runner, prompts)
        ours = [(prover.predictions[feature.example].text or "").strip() for feature in asked]
        same = [one == other.strip() for one, other in zip(ours, written, strict=True)]
        return Found(equal=sum(same) / len(same)) if same else Found()


def _is_conv1d(runner: Runner, path: str) -> bool:
    """Whether the weight of a layer is (inputs, outputs)."""
    layer: Any = runner.model.get_submodule(path)
    return isinstance(getattr(layer, "base_layer", None), Conv1D)


def _write_base(runner: Runner, folder: Path, kind: str) -> Path:
    """The base alone as GGUF in a folder of its own, for the adapter to be tried on."""
    place = folder / "base"
    quantized = runner.adaptation.design.quantization is not None
    model = on_plain_base(runner, "reload", torch.bfloat16).model if quantized else runner.model
    with quiet():
        peft_bridge.without_adapters(model).save_pretrained(place / "plain")
    runner.tokenizer.save_pretrained(place / "plain")
    convert(runner, place, "plain", FILE, kind)
    return place / FILE
