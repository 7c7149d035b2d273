"""The task's head: the names of its outputs, its size, its start, and its precision."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lightadapt.errors import warn
from lightadapt.heads.models import last_positions
from lightadapt.machine.quiet import quiet


def output_names(config: PretrainedConfig) -> tuple[str, ...]:
    """The names of the head's outputs, by number; a config file may hold them in another order."""
    names = config.id2label or {}
    return tuple(str(names[number]) for number in sorted(names, key=int))


def has_named_outputs(config: PretrainedConfig) -> bool:
    """Whether somebody named the head's outputs; transformers calls them LABEL_0, LABEL_1 and so on by itself."""
    names = output_names(config)
    return names != tuple(f"LABEL_{number}" for number in range(len(names)))


def name_outputs(config: PretrainedConfig, outputs: Sequence[str]) -> None:
    """Write the names of the head's outputs into a config; none leave it as it is."""
    if outputs:
        config.id2label = dict(enumerate(outputs))
        config.label2id = {name: number for number, name in enumerate(outputs)}


def renew_head(
    model: PreTrainedModel, head: Collection[str], outputs: Sequence[str], *, seed: int, keep: bool
) -> frozenset[str]:
    """Give the head these outputs, in place; the parameters that are freshly initialised, from the seed.

    Args:
        head: the parameters of the head.
        keep: leave modules that keep their shape as they are; else all of the head starts anew.
    """
    name_outputs(model.config, outputs)
    with torch.device("meta"), quiet():
        template = type(model)(copy.deepcopy(model.config))
    current = dict(model.named_parameters())
    shapes = {name: parameter.shape for name, parameter in template.named_parameters() if name in head}
    changed = {name.rpartition(".")[0] for name, shape in shapes.items() if not keep or shape != current[name].shape}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for path in sorted(changed - {""}):
            _replace(model, path, template.get_submodule(path).to_empty(device="cpu"))
    model.num_labels = model.config.num_labels  # transformers' heads keep their own count beside the config's
    return frozenset(name for name in shapes if name.rpartition(".")[0] in changed)


def _replace(model: PreTrainedModel, path: str, module: nn.Module) -> None:
    """Put a freshly initialised module in a place of the model, on the device of the one before."""
    old = model.get_submodule(path)
    model._init_weights(module)
    for hook in old._forward_pre_hooks.values():
        module.register_forward_pre_hook(hook)
    for after in old._forward_hooks.values():
        module.register_forward_hook(after)
    model.set_submodule(path, module.to(next(old.parameters()).device, torch.float32))


def keep_float32(model: PreTrainedModel, modules: Sequence[str]) -> None:
    """What is trained stays in float32; its inputs are cast where the frozen part computes in half precision."""
    if model.dtype == torch.float32:
        return
    for path in modules:
        module = model.get_submodule(path).float()
        module.register_forward_pre_hook(_cast_inputs)


def _cast_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    dtype = next(module.parameters()).dtype  # float32, until the model as a whole is cast
    return tuple(value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value for value in inputs)


def output_layer(modules: Iterable[nn.Module], width: int) -> nn.Linear | None:
    """The linear layer that gives a head its outputs, `width` in number; None where there is none."""
    layers = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    return next((layer for layer in reversed(layers) if layer.out_features == width), None)


def start_outputs_at(modules: Iterable[nn.Module], values: np.ndarray) -> None:
    """Let the head give these values `(K,)` where its inputs say nothing; a head without biases stays as it is."""
    layer = output_layer(modules, len(values))
    if layer is not None and layer.bias is not None:
        with torch.no_grad():
            layer.bias.copy_(torch.as_tensor(values))


class OutputScale:
    """Lets a head with one output give `mean + spread * z`, so that it has to learn z, which is of size one, alone."""

    def __init__(self, modules: Sequence[nn.Module], mean: float, spread: float) -> None:
        """Scale what the `modules` of the head give where that is a single number."""
        self.mean, self.spread = mean, spread
        for module in modules:
            module.register_forward_hook(self.scale)

    def scale(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Outputs `(…, 1)` of the head become what they stand for; anything else is left as it is."""
        if torch.is_tensor(output) and output.shape[-1] == 1:
            return output * self.spread + self.mean
        return output

    def fold(self, module: nn.Module) -> float:
        """Put the scale into the output layer of a module that it hangs on; what is left to be added to the outputs.

        That is the mean where the layer has no bias to take it, else zero.
        """
        layer = output_layer([module], 1)
        if layer is None:
            return 0.0  # what the module gives is wider than one number, so it was never scaled
        with torch.no_grad():
            layer.weight *= self.spread
            if layer.bias is not None:
                layer.bias.mul_(self.spread).add_(self.mean)
                self.mean = 0.0
        self.spread = 1.0
        return self.mean


def fold_output_scales(model: nn.Module) -> None:
    """Put what `OutputScale` does into the weights, so that it is saved with them."""
    for module in model.modules():
        for number, hook in list(module._forward_hooks.items()):
            scale = getattr(hook, "__self__", None)
            if not isinstance(scale, OutputScale):
                continue
            left = scale.fold(module)
            if left:
                warn(
                    f"The head of {type(model).__name__} has no bias, so the mean of the labels, {left:g}, is added "
                    "beside the weights. save_pretrained does not keep that: add it to what the saved model gives.",
                )
            else:
                del module._forward_hooks[number]


class LastTokenPooling:
    """Lets a head that scores every token and then picks one of them pick the last real one.

    transformers' decoders look for the last token that is not the padding token. That is another one where padding and
    end token are the same, or where a text holds the token. The attention mask tells without fail. So the scores of the
    last real token are put at every position, and whichever is picked is right.
    """

    def __init__(self, model: PreTrainedModel, modules: Sequence[str]) -> None:
        """Watch the model's mask, and the `modules` of its head."""
        self.mask: torch.Tensor | None = None
        model.register_forward_pre_hook(self.keep_mask, with_kwargs=True)
        for path in modules:
            model.get_submodule(path).register_forward_hook(self.spread_last)

    def keep_mask(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember the attention mask `(B, T)` that goes into the model."""
        mask = kwargs.get("attention_mask", args[1] if len(args) > 1 else None)
        self.mask = mask if torch.is_tensor(mask) and mask.ndim == 2 else None

    def spread_last(self, module: nn.Module, args: tuple[Any, ...], scores: torch.Tensor) -> torch.Tensor:
        """Scores `(B, T, K)` that leave the head become those of the last real token, at every position."""
        if self.mask is None or scores.ndim != 3 or scores.shape[:2] != self.mask.shape:
            return scores
        rows = torch.arange(len(scores), device=scores.device)
        last = last_positions(self.mask.to(scores.device), scores)
        return scores[rows, last].unsqueeze(1).expand_as(scores)
