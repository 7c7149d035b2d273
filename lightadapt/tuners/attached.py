"""What our own PEFT tuners share: an adapter that hangs on a module, instead of taking its place.

A wrapper renames everything below it (`….base_layer.…`) and hides attributes that models read (T5 asks for
`wo.weight.dtype`). An attached layer is a child of its host and works through the host's forward hooks, so the names,
classes and attributes of the model stay as they are, whatever else is inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge import BaseTuner, BaseTunerLayer, Mixing, PeftConfig, active_in


class AttachedLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """The adapters of one kind on one module, by name; `adapter_layer_names` lists the dicts that hold them."""

    attribute: ClassVar[str]
    """The name of the layer as a child of its host; it begins with the tuner's prefix."""
    adapter_layer_names: ClassVar[tuple[str, ...]]

    def __init__(self, host: nn.Module) -> None:
        super().__init__()
        self._host: Any = (host,)  # in a tuple, because the host is no child of its child
        self._handles: list[RemovableHandle] = []
        self._elsewhere: dict[str, nn.Module] = {}
        """The module beside the host that an adapter works through, by the adapter's name."""
        self._handles_elsewhere: list[tuple[nn.Module, list[RemovableHandle]]] = []
        self._disable_adapters = False
        self.mixing: Mixing | None = None
        """Which adapters compute which rows, while several do in one pass; `each_group` reads it."""
        self.merged_adapters: list[str] = []
        host.add_module(self.attribute, self)

    @property
    def host(self) -> nn.Module:
        host: nn.Module = self._host[0]
        return host

    def get_base_layer(self) -> nn.Module:
        return self.host

    @property
    def computes_by_row(self) -> bool:
        """Whether it can compute some rows of a batch with one adapter and some with another."""
        return True

    @property
    def running(self) -> tuple[str, ...]:
        """The adapters to apply now, in order; none where it is switched off or folded in."""
        return active_in(self)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not a change of weights")

    def unmerge(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not a change of weights")

    def work_through(
        self, name: str, module: nn.Module, hook: Callable[[nn.Module], Sequence[RemovableHandle]]
    ) -> None:
        """Let an adapter work through hooks on another module, too; adapters that name the same one share them."""
        self._elsewhere[name] = module
        if not any(module is known for known, _ in self._handles_elsewhere):
            self._handles_elsewhere.append((module, list(hook(module))))

    def delete_adapter(self, adapter_name: str) -> None:
        """Let an adapter go, and the modules that it alone worked through."""
        super().delete_adapter(adapter_name)
        self._elsewhere.pop(adapter_name, None)
        used = [id(module) for module in self._elsewhere.values()]
        for module, handles in self._handles_elsewhere:
            if id(module) not in used:
                _remove(handles)
        self._handles_elsewhere = [each for each in self._handles_elsewhere if id(each[0]) in used]

    def detach_from_host(self) -> None:
        """Leave the host as it was before."""
        _remove(self._handles)
        for _, handles in self._handles_elsewhere:
            _remove(handles)
        delattr(self.host, self.attribute)


def _remove(handles: Sequence[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


class AttachingTuner(BaseTuner):  # type: ignore[misc]
    """Attaches layers where a config says; PEFT drives it."""

    tuner_layer_cls: type[AttachedLayer]
    target_module_mapping: ClassVar[dict[str, Any]] = {}

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: Any) -> PeftConfig:
        if not peft_config.target_modules:
            name = type(peft_config).__name__
            raise LightAdaptError(f"{name} needs target_modules; lightadapt.adapt finds them in the model's structure.")
        return peft_config

    def _create_and_replace(
        self, peft_config: PeftConfig, adapter_name: str, target: Any, target_name: str, parent: Any, current_key: str
    ) -> None:
        host = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        layer: Any = getattr(host, self.tuner_layer_cls.attribute, None)
        if layer is None:
            layer = self.tuner_layer_cls(host)
            layer._active_adapter = adapter_name
        self.fill(layer, peft_config, adapter_name, current_key)
        layer.set_adapter(layer.active_adapters, inference_mode=peft_config.inference_mode)

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        """Give the layer on the module `path` a new adapter."""
        raise NotImplementedError

    def _unload_and_optionally_merge(self, merge: bool = True, **options: Any) -> Any:
        for layer in [module for module in self.model.modules() if isinstance(module, AttachedLayer)]:
            if merge:
                layer.merge(safe_merge=options.get("safe_merge", False))
            layer.detach_from_host()
        return self.model
