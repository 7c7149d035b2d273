"""A graph in a file, ready to be computed by the library that its kind of file is for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import local
from typing import Any, NamedTuple

import numpy as np

from lightadapt.errors import LightAdaptError, listed, nearest, shown

PACKAGES = {".onnx": "onnxruntime", ".xml": "openvino"}
"""What computes a graph, by the end of its file's name."""


class Port(NamedTuple):
    """An input or an output: its name, and its dimensions as numbers, None for those that are free."""

    name: str
    shape: Sequence[Any] = ()


def require_packages(files: Sequence[str]) -> None:
    """Raise when a package is missing that these files, or their tokenizer, need.

    Raises:
        LightAdaptError: with the command that installs it.
    """
    needed = [
        *dict.fromkeys(PACKAGES.get(Path(file).suffix, "onnxruntime") for file in files or ["model.onnx"]),
        "tokenizers",
    ]
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        extra = "openvino" if "openvino" in missing else "runtime"
        raise LightAdaptError(
            f"load_onnx needs {' and '.join(missing)}, not installed here: pip install 'lightadapt[{extra}]'"
        )


def check_providers(providers: Any, files: Sequence[str]) -> list[Any]:
    """The providers with which these files can be computed here, in the order in which they were given.

    Of those that onnxruntime knows and that are not here, it needs no more than one that is behind them.

    Raises:
        LightAdaptError: they are no list, or none of them is here, or one is unknown; with those that are here.
    """
    suffix = Path(files[0]).suffix if files else ".onnx"
    available, known = _openvino_devices() if suffix == ".xml" else _onnx_providers()
    there = f"Here are: {listed(available)}."
    if not isinstance(providers, (list, tuple)):
        raise LightAdaptError(f"providers={shown(providers)}: give a list, such as [{available[-1]!r}]. {there}")
    # A provider can come with options, as a pair; a device can be one of several, as GPU.0, or a choice, as AUTO:GPU.
    names = [each[0] if isinstance(each, (list, tuple)) and each else each for each in providers]
    kinds = [re.split("[.:]", each)[0] if isinstance(each, str) else each for each in names]
    for kind in kinds:
        if kind not in known:
            raise LightAdaptError(f"providers holds {shown(kind)}, which is unknown. {nearest(kind, known)}{there}")
    found = [each for each, kind in zip(providers, kinds, strict=True) if kind in available]
    if providers and not found:
        raise LightAdaptError(f"providers={shown(list(providers))}: not on this machine. {there}")
    return found


def _onnx_providers() -> tuple[list[str], list[str]]:
    """The providers of onnxruntime that are here, and all that it knows."""
    import onnxruntime

    available = list(onnxruntime.get_available_providers())
    return available, [*available, *onnxruntime.get_all_providers()]


def _openvino_devices() -> tuple[list[str], list[str]]:
    """The kinds of devices of OpenVINO that are here, and all that can be named."""
    import openvino

    available = sorted({str(each).partition(".")[0] for each in openvino.Core().available_devices}, reverse=True)
    chosen = ["AUTO", "BATCH", "HETERO", "MULTI"]
    return [*chosen, *available], [*chosen, "CPU", "GPU", "NPU", *available]


def open_session(file: Path, *, threads: int | None, providers: Sequence[str]) -> Any:
    """A session as onnxruntime has it: `get_inputs`, `get_outputs` and `run`."""
    if file.suffix == ".xml":
        return OpenvinoSession(file, threads=threads, device=next(iter(providers), "CPU"))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=list(providers) or ["CPUExecutionProvider"])


class OpenvinoSession:
    """A graph of OpenVINO behind the calls of onnxruntime; it may be called from many threads."""

    def __init__(self, file: Path, *, threads: int | None, device: str) -> None:
        import openvino

        # Some processors would compute in 16 bits by default, which is another model.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None and device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = openvino.Core().compile_model(str(file), device, settings)
        self._mine = local()  # a request holds its results

    def get_inputs(self) -> list[Port]:
        """The inputs in order."""
        return [_port(each) for each in self._compiled.inputs]

    def get_outputs(self) -> list[Port]:
        """The outputs in order."""
        return [_port(each) for each in self._compiled.outputs]

    def run(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names."""
        if not hasattr(self._mine, "request"):
            self._mine.request = self._compiled.create_infer_request()
        found = self._mine.request.infer(dict(feed))
        return [np.array(found[name]) for name in names]


def _port(port: Any) -> Port:
    return Port(port.any_name, [None if each.is_dynamic else each.get_length() for each in port.partial_shape])
