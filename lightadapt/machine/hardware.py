"""Which device and which number format."""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path

import psutil
import torch

from lightadapt.errors import LightAdaptError, nearest

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
PRETENDED = "LIGHTADAPT_PROCESSOR"
"""The environment variable by which tests give this process and its children a CPU of the other kind."""
PROCESSORS = ("plain", "bfloat16")
"""CPUs without and with instructions for bfloat16."""


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; `"auto"` is a GPU when there is one. Of several processes each has a GPU of its own.

    Raises:
        LightAdaptError: an unknown name, or no such device here.
    """
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return _own_gpu(torch.device(kind))
    chosen = _own_gpu(_as_device(device))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise LightAdaptError(f"device={device!r}: torch sees no CUDA GPU here. Use device='auto' or 'cpu'.")
    try:
        torch.ones(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0]
        raise LightAdaptError(
            f"device={device!r} cannot be used here ({first}). Use device='auto' or 'cpu'."
        ) from error
    return chosen


def _own_gpu(device: torch.device) -> torch.device:
    """The GPU of this process where torchrun or accelerate started several on this machine and none is named."""
    number = os.environ.get("LOCAL_RANK", "")
    if device.type != "cuda" or device.index is not None or not number or int(number) >= torch.cuda.device_count():
        return device
    return torch.device("cuda", int(number))


def planned_device(device: str | torch.device) -> torch.device:
    """The device of that name, which need not be there; `"auto"` is the one that would be chosen here.

    Raises:
        LightAdaptError: an unknown name.
    """
    return choose_device(device) if device == "auto" else _as_device(device)


def _as_device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise LightAdaptError(f"device={device!r} is unknown. Write 'auto', 'cpu', 'cuda' or 'mps'.") from error


def choose_dtype(dtype: str | torch.dtype, device: torch.device, *, trains_base: bool) -> torch.dtype:
    """The number format of the frozen weights.

    `"auto"` is bfloat16 on a processor that computes it, else float32; weights that are trained are always float32.

    Raises:
        LightAdaptError: an unknown name, or half precision for weights that are trained.
    """
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16(device) and not trains_base else torch.float32
    name = str(dtype).removeprefix("torch.")
    chosen = DTYPES.get(SHORT.get(name, name))
    if chosen is None:
        known = ", ".join(("auto", *DTYPES))
        raise LightAdaptError(f"dtype={dtype!r} is unknown. {nearest(str(dtype), DTYPES)}Known: {known}")
    if trains_base and chosen != torch.float32:
        raise LightAdaptError(f"dtype={dtype!r}: this method trains the base itself, which needs float32 weights.")
    return chosen


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16; without them it is many times slower than float32.

    Older GPUs than Ampere (T4, V100) have none and emulate them. A GPU that is planned for and not here is taken to
    have them. Of a CPU the environment variable LIGHTADAPT_PROCESSOR may say `plain` or `bfloat16`, whatever it has,
    so that tests can try both kinds on one machine.

    Raises:
        LightAdaptError: the variable says something else.
    """
    if device.type == "cuda":
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return (_pretended_processor() or processor()) == "bfloat16"
    return False


def processor() -> str:
    """The kind of CPU that this machine has: `plain` or `bfloat16`."""
    able = torch.cpu.get_capabilities()
    return "bfloat16" if any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16")) else "plain"


def processor_name() -> str:
    """The name of the processor, with the widest vectors it computes with where torch knows them."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _pretended_processor() -> str:
    """The kind of CPU that the environment asks for; empty when it asks for none."""
    kind = os.environ.get(PRETENDED, "")
    if kind and kind not in PROCESSORS:
        raise LightAdaptError(
            f"{PRETENDED}={kind!r} is unknown. {nearest(kind, PROCESSORS)}Known: {', '.join(PROCESSORS)}. It is "
            "for tests; unset it."
        )
    return kind


def free_memory(device: torch.device) -> int:
    """Bytes that are free in the memory of the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def require_bitsandbytes(what: str, way_out: str) -> None:
    """Raise unless bitsandbytes is there and can be imported.

    Args:
        what: what needs it.
        way_out: what to do without it.
    """
    # Nobody can act on its remarks: kernels that are not on the hub, inputs that are cast to float16 at each step.
    for name in ("bitsandbytes", "bitsandbytes.autograd._functions"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise LightAdaptError(
            f"{what} needs bitsandbytes, which cannot be used here ({type(error).__name__}: {error}). "
            f'Install it: pip install "lightadapt[quant]"; or {way_out}.'
        ) from error
