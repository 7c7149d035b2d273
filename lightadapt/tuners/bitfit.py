"""Trained biases (BitFit, Ben Zaken et al. 2022) as a PEFT tuner: y = m(x) + b, b zero at the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightadapt.peft_bridge import PeftConfig, each_group, register_tuner, tuner_kind
from lightadapt.tuners.attached import AttachedLayer, AttachingTuner

PEFT_TYPE = "LIGHTADAPT_BITFIT"


@dataclass
class BitFitConfig(PeftConfig):  # type: ignore[misc]
    """What PEFT needs to know to attach biases again."""

    target_modules: set[str] | list[str] | None = None
    hidden_sizes: dict[str, int] = field(default_factory=dict)
    """Width of the output, by module."""
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = tuner_kind(PEFT_TYPE)
        self.target_modules = set(self.target_modules or ())


class BitFitLayer(AttachedLayer):
    """m(x) + b: what is learned is the change of the bias, which works on quantized and on bias-free modules too."""

    attribute: ClassVar[str] = "lightadapt_bitfit_layer"
    adapter_layer_names: ClassVar[tuple[str, ...]] = ("change",)

    def __init__(self, host: nn.Module) -> None:
        super().__init__(host)
        self.change = nn.ParameterDict()
        self._handles.append(host.register_forward_hook(self._add))

    def _add(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return each_group(self, self._added, output)  # type: ignore[no-any-return]

    def _added(self, output: Tensor) -> Tensor:
        for name in self.running:
            output = output + self.change[name].to(output.dtype)
        return output

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        bias = getattr(self.host, "bias", None)
        for name in adapter_names or self.running:
            if name not in self.change:
                continue
            if bias is None:
                raise NotImplementedError("the architecture has no biases to add the trained ones to")
            with torch.no_grad():
                bias += self.change[name].to(bias.dtype)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        while self.merged_adapters:
            change = self.change[self.merged_adapters.pop()]
            with torch.no_grad():
                self.host.bias -= change.to(self.host.bias.dtype)  # type: ignore[union-attr, operator]


class BitFitTuner(AttachingTuner):
    """PEFT's way to insert, save, switch and fold trained biases."""

    prefix = "lightadapt_bitfit_"
    tuner_layer_cls = BitFitLayer

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        place = next(layer.host.parameters()).device
        layer.change[name] = nn.Parameter(torch.zeros(config.hidden_sizes[path], device=place))


register_tuner(PEFT_TYPE, BitFitConfig, BitFitTuner)
