"""The graphs of the format `onnx` in the form that OpenVINO reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lightadapt.adaptation.runner import Runner
from lightadapt.errors import LightAdaptError
from lightadapt.export.onnx import Onnx
from lightadapt.runtime.model import SCHEMA


@dataclass(frozen=True, kw_only=True)
class Openvino(Onnx):
    """What the format `onnx` writes, converted for OpenVINO; `lightadapt.load_onnx` reads it, too.

    Inputs and outputs are the same. `quantize="int8"` rounds as for onnxruntime.
    """

    name: ClassVar[str] = "openvino"
    extra: ClassVar[str | None] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxscript", "openvino")
    as_computed: ClassVar[bool] = True

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        import openvino

        notes = super().write(runner, folder)
        for file in sorted(folder.glob("*.onnx")):
            try:
                converted = openvino.Core().read_model(file)  # convert_model would tell Intel of it
                openvino.save_model(converted, file.with_suffix(".xml"), compress_to_fp16=False)
            except (RuntimeError, ValueError) as error:  # OpenVINO's own are of these kinds
                raise LightAdaptError(
                    f"export('openvino'): OpenVINO cannot convert {type(runner.model).__name__} "
                    f"({' '.join(str(error).split())[:200]}). Nothing is kept. Export to 'onnx'."
                ) from error
            del converted  # it reads the file as long as it lives
            for part in folder.glob(f"{file.name}*"):
                part.unlink()
        return notes

    def facts(self, runner: Runner) -> dict[str, Any]:
        facts = super().facts(runner)["runtime"]
        files = [f"{Path(name).stem}.xml" for name in facts["graphs"]]
        return {"runtime": {**facts, "schema": SCHEMA, "graphs": files}}
