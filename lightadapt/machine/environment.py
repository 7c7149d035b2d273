"""What a report of a fault should say of the place: versions, processor, GPU, and what is optional and missing."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from packaging.requirements import Requirement

from lightadapt.machine.versions import STANDS_ON

SETTINGS = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
"""Environment variables that change what is loaded from where, and what computes; others could be private."""


def describe_environment() -> dict[str, str]:
    """The facts by name, in the order in which a reader wants them."""
    return {
        "lightadapt": _version("lightadapt"),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: _version(name) for name in (*STANDS_ON, "tokenizers", "safetensors")},
        **_hardware(),
        **_optional(),
        **{name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _hardware() -> dict[str, str]:
    import psutil
    import torch

    from lightadapt.machine.hardware import computes_bfloat16, processor_name

    facts = {
        "processor": f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "bf16 on CPU": "yes" if computes_bfloat16(torch.device("cpu")) else "no",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "GPU": "none that torch can use",
    }
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        place = "GPU" if number == 0 else f"GPU {number}"
        facts[place] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        facts["GPU"] = "Apple (mps)"
    return facts


def _optional() -> dict[str, str]:
    """The packages of each extra, with the extra that brings one which is missing."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("lightadapt") or ()]
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return {}
    found = {}
    for each in wanted:
        extra = next(
            (name for name in ("demo", "plot", "quant", "export", "serve", "search") if _is_of(each, name)), ""
        )
        if extra:
            version = _version(each.name)
            found[each.name] = f'{version}: pip install "lightadapt[{extra}]"' if version[:1] == "n" else version
    return found


def _is_of(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
