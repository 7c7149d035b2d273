"""A decoder as one GGUF file, which llama.cpp and what builds on it run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.export.format import Format
from lightadapt.export.merged import merge
from lightadapt.export.proof import Found, Prover
from lightadapt.machine.quiet import quiet

WEIGHTS = ("f16", "bf16", "f32", "q8_0")
FILE = "model.gguf"
MOST_RECORDS = 20
"""Records on which llama.cpp writes beside torch; it writes one text at a time here."""


@dataclass(frozen=True, kw_only=True)
class Gguf(Format):
    """The merged model as GGUF, by llama.cpp's own converter.

    The converter knows architectures and tokenizers by name: of one that it does not know it says so.
    """

    name: ClassVar[str] = "gguf"
    aliases: ClassVar = {"llama.cpp": {}}
    extra: ClassVar[str | None] = "gguf"
    packages: ClassVar[tuple[str, ...]] = ("convert_hf_to_gguf", "sentencepiece", "xllamacpp")

    quantize: str = "f16"
    """Form of the weights: `"f16"`, `"bf16"`, `"f32"`, or in 8 bits `"q8_0"`."""

    def __post_init__(self) -> None:
        if self.quantize not in WEIGHTS:
            raise LightAdaptError(
                f"quantize={shown(self.quantize)}: {nearest(self.quantize, WEIGHTS)}Format 'gguf' knows "
                f"{', '.join(WEIGHTS)}."
            )

    def check(self, runner: Runner) -> None:
        if runner.family != "decoder" or not runner.task.uses_lm_head(runner.family) or runner.task.comparable:
            raise LightAdaptError(
                f"export('gguf'): it is for decoders that write text, and task {runner.task.name!r} on a model of the "
                f"kind {runner.family} is not that. Export to 'onnx' or 'merged'."
            )

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        plain = folder / "plain"
        with quiet():
            merge(runner, base="reload", dtype="auto", max_drift=0.25).save_pretrained(plain)
        runner.tokenizer.save_pretrained(plain)
        words = [sys.executable, "-m", "convert_hf_to_gguf", "plain", "--outfile", FILE, "--outtype", self.quantize]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        if done.returncode or not (folder / FILE).is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
            raise LightAdaptError(
                f"export('gguf'): llama.cpp's converter does not take {type(runner.model).__name__} with "
                f"{type(runner.tokenizer).__name__} ({shown(lines[-1], 300)[1:-1]}). Nothing is kept. Export to "
                "'merged'."
            )
        shutil.rmtree(plain)
        return [f"Use: llama-cli -m {{folder}}/{FILE}"]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        if (runner.task.settings().get("options") or {}) != {}:
            return Found()  # what is sampled is never equal
        features: Sequence[Any] = prover.features  # of generation, with prompts
        asked = [feature for feature in features if feature.prompt][:MOST_RECORDS]
        written = _write_with_llama(folder / FILE, runner, [feature.prompt for feature in asked])
        ours = [(prover.predictions[feature.example].text or "").strip() for feature in asked]
        same = [one == other.strip() for one, other in zip(ours, written, strict=True)]
        return Found(equal=sum(same) / len(same)) if same else Found()


def _write_with_llama(file: Path, runner: Runner, prompts: Sequence[Sequence[int]]) -> list[str]:
    """What llama.cpp writes behind each prompt of tokens, greedily.

    Raises:
        LightAdaptError: it cannot read the file.
    """
    import torch
    import xllamacpp

    most = runner.task.settings()["max_new_tokens"]
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = max(map(len, prompts), default=1) + most + 8
    params.n_parallel = 1
    params.cpuparams.n_threads = torch.get_num_threads()
    params.warmup = False
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)
        asked = {"n_predict": most, "temperature": 0}
        found = [server.handle_completions({"prompt": list(ids), **asked}) for ids in prompts]
        return [str(each["choices"][0]["text"]) for each in found]
    except (RuntimeError, LookupError, TypeError, ValueError) as error:
        raise LightAdaptError(
            f"export('gguf'): llama.cpp cannot run what was written ({shown(str(error), 200)[1:-1]}). Nothing is kept."
        ) from error
