"""A LoRA as vLLM accepts it, and the line that serves it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from safetensors import safe_open

from lightadapt import peft_bridge
from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError
from lightadapt.export.format import Format
from lightadapt.export.plain_lora import choose_rank, prove_lora, updates_of, write_lora
from lightadapt.export.proof import Found, Prover
from lightadapt.numbers import check_number

FOLDER = "{folder!q}"
"""What stands for the folder of the export in a command; see `Format.write`."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for `--max-lora-rank`."""
TENSOR = re.compile(r"base_model\.model\..+\.lora_[AB]\.weight")
"""The names of tensors that vLLM reads."""
REFUSED: dict[str, tuple[Any, ...]] = {
    "modules_to_save": (None,),
    "use_dora": (False, None),
    "bias": ("none",),
    "rank_pattern": ({}, None),
}
"""Fields of a LoRA's config that vLLM refuses, or passes over, unless they have one of these values."""


@dataclass(frozen=True, kw_only=True)
class Vllm(Format):
    """A LoRA for vLLM: its rank is rounded up by rows of zeros, and what vLLM does not read is converted or refused.

    For decoders that write text. Anything else vLLM serves as a plain model: the format `merged`.
    """

    name: ClassVar[str] = "vllm"

    max_error: float = 0.01
    """How much of the updates of another method than LoRA may be left out, as |left out| / |all|."""

    def __post_init__(self) -> None:
        check_number("max_error", self.max_error, least=0, below=1)

    def check(self, runner: Runner) -> None:
        if runner.family != "decoder" or not runner.task.uses_lm_head(runner.family):
            raise LightAdaptError(
                f"export('vllm'): task {runner.task.name!r} on a model of the kind {runner.family} has a head or an "
                "encoder, and vLLM reads LoRA for decoders that write text alone. Export to 'merged'; vLLM serves the "
                "classes that it knows from that folder."
            )
        if runner.adaptation.trained:
            raise LightAdaptError(
                f"export('vllm'): {sorted(runner.adaptation.trained)[0]} is trained as a whole, and vLLM reads no "
                "modules_to_save. Export to 'merged', and serve that folder."
            )

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        updates = updates_of(runner, self.name)
        rank, error = choose_rank(updates, RANKS, self.max_error, self.name)
        write_lora(runner, folder, updates, rank)
        config = folder / peft_bridge.CONFIG_NAME
        content = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps({**content, "modules_to_save": None}, indent=2) + "\n", encoding="utf-8")
        design = runner.adaptation.design
        source = design.blueprint.source
        line = ["vllm", "serve", source.id or "path/to/the/base", "--tokenizer", FOLDER, "--enable-lora"]
        line += ["--revision", source.revision] if source.revision else []
        line += ["--max-lora-rank", str(rank), "--lora-modules", f"adapted={FOLDER}"]
        line += ["--dtype", str(design.dtype).removeprefix("torch.")]
        line += ["--quantization", "bitsandbytes"] if design.quantization is not None else []
        # What stands for the folder stays bare: its braces alone would have it quoted, and it is replaced in the end.
        quoted = " ".join(word if FOLDER in word else shlex.quote(word) for word in line)
        return [f"Rank {rank}, which leaves out {error:.2%} of the updates.", quoted]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        check_layout(folder)
        return prove_lora(runner, folder, prover)


def check_layout(folder: Path) -> None:
    """Raise for a folder that vLLM would refuse, or read otherwise, by its documented rules.

    Raises:
        LightAdaptError: with the first thing that is so.
    """
    content = json.loads((folder / peft_bridge.CONFIG_NAME).read_text(encoding="utf-8"))
    wrong = [f"{name}={content.get(name)!r}" for name, allowed in REFUSED.items() if content.get(name) not in allowed]
    wrong += [] if content["r"] in RANKS else [f"r={content['r']}"]
    wrong += [] if isinstance(content["lora_alpha"], int) else [f"lora_alpha={content['lora_alpha']}"]
    with safe_open(folder / peft_bridge.WEIGHTS_NAME, "pt") as tensors:
        wrong += [name for name in tensors.keys() if not TENSOR.fullmatch(name)]  # noqa: SIM118, it is no dict
    if wrong:
        raise LightAdaptError(f"export('vllm'): vLLM would not read {wrong[0]}. Export to 'merged'.")
