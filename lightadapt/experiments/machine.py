"""What figures of time and memory depend on, in words."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil
import torch

import lightadapt
from lightadapt.machine.hardware import processor_name

VERSIONS = ("torch", "transformers", "peft")
"""The packages whose version every figure depends on."""


def describe_machine(device: str = "cpu") -> dict[str, str]:
    """What the figures of time and memory depend on: processor, memory, system and versions."""
    facts = {
        "processor": processor_name(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions(),
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def versions(*others: str) -> dict[str, str]:
    """The versions of what computes, of these packages too, and of lightadapt."""
    return {**{name: version(name) for name in (*VERSIONS, *others)}, "lightadapt": lightadapt.__version__}


def as_text(machine: dict[str, str], threads: int) -> str:
    """The machine in one line, with the cores that were used."""
    parts = [machine["processor"], f"{threads} of {machine['cores']} cores", f"{machine['memory']} of memory"]
    parts += [machine["gpu"]] if "gpu" in machine else []
    return ", ".join([*parts, machine["system"], *(f"{name} {machine[name]}" for name in (*VERSIONS, "lightadapt"))])
