"""Bottleneck adapters (Houlsby et al. 2019, Pfeiffer et al. 2021, parallel: He et al. 2022) as a PEFT tuner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.activations import ACT2FN

from lightadapt.peft_bridge import NotMixedError, PeftConfig, each_group, register_tuner, tuner_kind
from lightadapt.tuners.attached import AttachedLayer, AttachingTuner

PEFT_TYPE = "LIGHTADAPT_BOTTLENECK"


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """What PEFT needs to know to attach bottlenecks again."""

    target_modules: set[str] | list[str] | None = None
    """The modules on whose output a bottleneck works."""
    hidden_sizes: dict[str, int] = field(default_factory=dict)
    """Width of that output, by module."""
    bottleneck_size: int = 48
    activation: str = "relu"
    scaling: float = 1.0
    dropout: float = 0.0
    parallel: bool = False
    """Whether a bottleneck reads what the module reads, instead of what it gives."""
    sources: dict[str, str] = field(default_factory=dict)
    """For a parallel bottleneck, the module whose input it reads, where that is not its own host."""
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = tuner_kind(PEFT_TYPE)
        self.target_modules = set(self.target_modules or ())


class BottleneckLayer(AttachedLayer):
    """h + s U f(D x) behind a module with output h; x is h itself, or what goes into the module when parallel.

    D: (hidden, bottleneck), U: (bottleneck, hidden), each with a bias. U starts at zero, so a new adapter changes
    nothing.
    """

    attribute: ClassVar[str] = "lightadapt_bottleneck_layer"
    adapter_layer_names: ClassVar[tuple[str, ...]] = ("down", "up")
    other_param_names: ClassVar[tuple[str, ...]] = ("settings",)

    def __init__(self, host: nn.Module) -> None:
        super().__init__(host)
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        self.settings: dict[str, BottleneckConfig] = {}
        self._activations: dict[str, Any] = {}
        self._input: Tensor | None = None
        self._handles.append(host.register_forward_hook(self._add, with_kwargs=True))

    def fill(self, name: str, config: BottleneckConfig, hidden_size: int, source: nn.Module | None) -> None:
        """A new adapter; `source` is the module whose input a parallel one reads, None for the host's own."""
        place = next(self.host.parameters()).device
        down = nn.Linear(hidden_size, config.bottleneck_size, device=place)
        up = nn.Linear(config.bottleneck_size, hidden_size, device=place)
        for start in (down.bias, up.weight, up.bias):
            nn.init.zeros_(start)
        self.down[name], self.up[name] = down, up
        self.settings[name] = config
        self._activations[name] = ACT2FN[config.activation]
        if source is not None:
            self.work_through(name, source, self._watch)

    def _watch(self, source: nn.Module) -> list[RemovableHandle]:
        return [source.register_forward_pre_hook(self._keep_input, with_kwargs=True)]

    def _keep_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._reads_inputs and (self.mixing is not None or self.running):
            self._input = _first(args, kwargs)

    def _add(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        source, self._input = self._input, None
        if self.mixing is None and not self.running:
            return output
        hidden = output[0] if isinstance(output, tuple) else output
        if source is None and self._reads_inputs:
            if self.mixing is not None and self._elsewhere:
                raise NotMixedError("A layer around this one takes its rows in parts, and their input is gone.")
            source = _first(args, kwargs)
        hidden = each_group(self, self._added, hidden, source)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    @property
    def _reads_inputs(self) -> bool:
        """Whether one of the adapters is parallel."""
        return any(settings.parallel for settings in self.settings.values())

    def _added(self, hidden: Tensor, source: Tensor | None) -> Tensor:
        for name in self.running:  # each reads what the one before it gives, or in parallel the input
            if self.settings[name].parallel:
                assert source is not None
                hidden = hidden + self(source, name).reshape(hidden.shape)
            else:
                hidden = hidden + self(hidden, name)
        return hidden

    def forward(self, inputs: Tensor, name: str) -> Tensor:
        """S U f(D x): (..., hidden) to (..., hidden), in the number format of the inputs."""
        settings, down, up = self.settings[name], self.down[name], self.up[name]
        number_format = next(down.parameters()).dtype
        inner = self._activations[name](down(inputs.to(number_format)))
        inner = nn.functional.dropout(inner, settings.dropout, self.training)
        change: Tensor = settings.scaling * up(inner)
        return change.to(inputs.dtype)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return next(value for value in (*args, *kwargs.values()) if torch.is_tensor(value))


class BottleneckTuner(AttachingTuner):
    """PEFT's way to insert, save, switch and take out bottlenecks."""

    prefix = "lightadapt_bottleneck_"
    tuner_layer_cls = BottleneckLayer

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        source = config.sources.get(path) if config.parallel else None
        module = None if source is None else self.model.get_submodule(source)
        layer.fill(name, config, config.hidden_sizes[path], module)


register_tuner(PEFT_TYPE, BottleneckConfig, BottleneckTuner)
