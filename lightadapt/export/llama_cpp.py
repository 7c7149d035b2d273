"""What llama.cpp's own tools do with a folder or a file, each in a process of its own, and what it writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError, shown
from lightadapt.export.room import no_room

PROGRAM, BINDINGS = "llama-quantize", "llama_cpp"
"""What rounds to fewer bits than the converter: a program of llama.cpp, or the package llama-cpp-python."""
FILE_TYPES = {"q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
"""Forms of weights that the quantizer makes, by `llama_ftype`."""


def convert(runner: Runner, folder: Path, plain: str, file: str, kind: str) -> None:
    """Convert a plain model in a folder to a GGUF file beside it.

    Raises:
        LightAdaptError: the converter does not know the model or its tokenizer.
    """
    words = [sys.executable, "-m", "convert_hf_to_gguf", plain, "--outfile", file, "--outtype", kind]
    _run(words, runner, folder, file)


def convert_adapter(runner: Runner, folder: Path, plain: str, file: str, kind: str, rank: int) -> None:
    """Write the updates of weights in a folder, which also has the config of the base, as LoRA for that base.

    Raises:
        LightAdaptError: the converter does not know the model.
    """
    words = [sys.executable, "-m", "lightadapt.export.gguf_adapter", plain, file, kind, str(rank)]
    _run(words, runner, folder, file)


def _run(words: Sequence[str], runner: Runner, folder: Path, file: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    if done.returncode or not (folder / file).is_file():
        said = _last_line(done.stderr) or "it says nothing"
        if "No space left" in said:
            raise no_room()
        raise LightAdaptError(
            f"export('gguf'): llama.cpp's converter does not take {type(runner.model).__name__} with "
            f"{type(runner.tokenizer).__name__} ({shown(said, 300)[1:-1]}). Nothing is kept. Export to 'merged'."
        )


def _last_line(text: str) -> str:
    """Its last line that is not blank, where a program says what it ended with."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def require_quantizer() -> None:
    """Raise when nothing here rounds to fewer than eight bits.

    Raises:
        LightAdaptError: with what does.
    """
    if shutil.which(PROGRAM) is None and find_spec(BINDINGS) is None:
        raise LightAdaptError(
            f"export('gguf'): forms such as 'q4_k_m' are made by llama.cpp's {PROGRAM}, which is not found here, or by "
            "the package llama-cpp-python: pip install llama-cpp-python. Or write quantize='q8_0'."
        )


def quantize(source: Path, target: Path, kind: str, threads: int) -> None:
    """Round the weights of a GGUF file.

    Raises:
        LightAdaptError: llama.cpp refuses.
    """
    program = shutil.which(PROGRAM)
    words = [sys.executable, "-m", "lightadapt.export.gguf_rounding"]
    words += [str(source), str(target), str(FILE_TYPES[kind]), str(threads)]
    if program is not None:
        words = [program, str(source), str(target), kind.upper(), str(threads)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if done.returncode or not target.is_file():
        said = _last_line(done.stderr) or f"status {done.returncode}"
        raise LightAdaptError(
            f"export('gguf'): llama.cpp cannot round to {kind!r} ({shown(said, 200)[1:-1]}). Nothing is kept. "
            "Write quantize='q8_0'."
        )


def write_texts(
    file: Path, runner: Runner, prompts: Sequence[Sequence[int]], *, adapter: Path | None = None
) -> list[str]:
    """What llama.cpp writes behind each prompt of tokens, greedily.

    Args:
        adapter: a LoRA to compute with.

    Raises:
        LightAdaptError: it cannot read a file.
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
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        params.lora_adapters = [lora]
    try:
        server = xllamacpp.Server(params)
        asked = {"n_predict": most, "temperature": 0}
        found = [server.handle_completions({"prompt": list(ids), **asked}) for ids in prompts]
        return [str(each["choices"][0]["text"]) for each in found]
    except (RuntimeError, LookupError, TypeError, ValueError) as error:
        raise LightAdaptError(
            f"export('gguf'): llama.cpp cannot run what was written ({shown(str(error), 200)[1:-1]}). Nothing is kept. "
            "Export to 'merged'."
        ) from error
