"""Prompt tuning (Lester et al. 2021): learned vectors among the token embeddings, which the head never sees.

The tokens of the prompt go in where the ids enter the first stack and come out where its hidden states leave it, so
that labels, spans and pooled positions mean the same tokens as without a prompt.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge import PeftConfig, register_tuner, tuner_kind
from lightadapt.tuners.attached import AttachedLayer, AttachingTuner

PEFT_TYPE = "LIGHTADAPT_PROMPT"
CACHES = ("past_key_values", "cache_params", "state", "mems")
"""What models call the memory of earlier steps of generation."""


@dataclass
class PromptConfig(PeftConfig):  # type: ignore[misc]
    """What PEFT needs to know to attach the prompt again."""

    target_modules: set[str] | list[str] | None = None
    """The embedding of the token ids."""
    num_virtual_tokens: int = 20
    trunk: str = ""
    """The module that takes the ids through the first stack; empty for the model itself."""
    reader: str | None = None
    """The decoder that attends to what the trunk gives; None without one."""
    position: int = 0
    """How many tokens stand before the prompt: 1 keeps the first token of an encoder, which many heads read."""
    deviation: float = 0.5
    """Standard deviation of the start, in units of that of the embeddings."""
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = tuner_kind(PEFT_TYPE)
        self.target_modules = set(self.target_modules or ())


class PromptLayer(AttachedLayer):
    """The prompts of one embedding, each (length, width of the embedding)."""

    attribute: ClassVar[str] = "lightadapt_prompt_layer"
    adapter_layer_names: ClassVar[tuple[str, ...]] = ("prompts",)
    other_param_names: ClassVar[tuple[str, ...]] = ("settings",)

    def __init__(self, host: nn.Module) -> None:
        super().__init__(host)
        self.prompts = nn.ParameterDict()
        self.settings: dict[str, PromptConfig] = {}
        self._ids: Tensor | None = None
        """The ids with the placeholders, from the trunk's entrance until they are embedded."""
        self._lengths: list[int | None] = []
        """For each running trunk, its number of tokens with the prompt; None where nothing was inserted."""
        self._prompted: WeakSet[Any] = WeakSet()
        """Caches that hold the prompt already."""
        self._last: Any = None
        """The last such cache that was a plain list or tuple."""
        self._handles.append(host.register_forward_hook(self._embed))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prompted": None, "_last": None}  # means nothing to a copy, and cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prompted = WeakSet()

    @property
    def _placeholder(self) -> int:
        """The token id whose embeddings the prompt replaces: an ordinary one, for padding has no position."""
        middle: int = self.host.num_embeddings // 2  # type: ignore[operator, assignment]
        return middle + (middle == self.host.padding_idx)

    def fill(self, name: str, config: PromptConfig) -> None:
        weight: Tensor = self.host.weight  # type: ignore[assignment]
        start = torch.randn(config.num_virtual_tokens, weight.shape[1]) * config.deviation
        spread = weight.detach().float().std().to("cpu") if not weight.is_meta else 1.0
        self.prompts[name] = nn.Parameter((start * spread).to(weight.device))
        self.settings[name] = config

    def reach(self, name: str, trunk: nn.Module, reader: nn.Module | None) -> None:
        """Lengthen what goes into the trunk, shorten what comes out, and tell the reader of the difference."""

        def hook(trunk: nn.Module) -> list[RemovableHandle]:
            entrance = trunk.register_forward_pre_hook(self._enter, with_kwargs=True)
            if reader is None:
                return [entrance, trunk.register_forward_hook(self._leave, with_kwargs=True)]
            leave = trunk.register_forward_hook(self._leave_long, with_kwargs=True)
            return [entrance, leave, reader.register_forward_pre_hook(self._inform, with_kwargs=True)]

        self.work_through(name, trunk, hook)

    @property
    def computes_by_row(self) -> bool:
        return False  # rows with a prompt are longer than those without

    def current(self) -> tuple[Tensor, int] | None:
        """The vectors to put in now, (length, width), and how many tokens stand before them; None: there are none."""
        names = self.running
        if not names:
            return None
        positions = {self.settings[name].position for name in names}
        if len(positions) > 1:
            raise LightAdaptError(f"The prompts {', '.join(names)} stand at different positions. Use one at a time.")
        prompts = [self.prompts[name] for name in names]
        return (prompts[0] if len(prompts) == 1 else torch.cat(prompts)), positions.pop()

    # ---- the entrance

    def _enter(self, trunk: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        current = self.current()
        self._lengths.append(None)
        if current is None:
            return None
        kwargs = dict(zip(inspect.signature(trunk.forward).parameters, args, strict=False)) | kwargs
        length, position = len(current[0]), current[1]
        if any(self._is_prompted(kwargs.get(cache)) for cache in CACHES):
            return (), self._go_on(kwargs, length, position)
        ids = kwargs.get("input_ids")
        if ids is None:
            raise LightAdaptError("Prompt tuning needs input_ids: with inputs_embeds there is no place for the prompt.")
        for key, value in kwargs.items():
            if key == "attention_mask" and value is not None and getattr(value, "shape", ()) != ids.shape:
                raise LightAdaptError(
                    f"Prompt tuning needs an attention_mask of the shape {tuple(ids.shape)} of input_ids, not "
                    f"{tuple(getattr(value, 'shape', ()))}."
                )
            if torch.is_tensor(value) and value.dim() >= 2 and value.shape[0] == ids.shape[0]:
                kwargs[key] = _lengthen(key, value, ids.shape[1], length, position)
            elif key == "cache_position" and value is not None:
                kwargs[key] = torch.arange(ids.shape[1] + length, device=ids.device)
        kwargs["input_ids"][:, position : position + length] = self._placeholder
        self._ids = kwargs["input_ids"]
        self._lengths[-1] = self._ids.shape[1]
        for cache in CACHES:
            self._remember(kwargs.get(cache))
        return (), kwargs

    def _remember(self, cache: Any) -> None:
        if isinstance(cache, (list, tuple)):
            self._last = cache
        elif cache is not None:
            self._prompted.add(cache)

    def _is_prompted(self, cache: Any) -> bool:
        return cache is not None and (
            cache is self._last or (hasattr(cache, "__weakref__") and cache in self._prompted)
        )

    def _go_on(self, kwargs: dict[str, Any], length: int, position: int) -> dict[str, Any]:
        """The inputs of a later step of generation, whose prompt is in the cache."""
        mask = kwargs.get("attention_mask")
        if torch.is_tensor(mask) and mask.dim() == 2:
            kwargs["attention_mask"] = _lengthen("attention_mask", mask, mask.shape[1], length, position)
        for key in ("position_ids", "cache_position"):
            if kwargs.get(key) is not None:
                kwargs[key] = kwargs[key] + length
        return kwargs

    def _embed(self, embedding: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Put the prompt in the place of its placeholders."""
        current, ids = self.current(), self._ids
        if current is None or ids is None or not args:
            return output
        prompt, position = current[0].to(output.dtype), current[1]
        after = position + len(prompt)
        rows, tokens = ids.shape  # the ids may have been padded to a multiple of a window
        # Of the same tensor no value is asked, which a tracer of torch could not tell.
        if args[0] is ids or (args[0].shape[:1] == (rows,) and torch.equal(args[0][:, :tokens], ids)):
            self._ids = None
            prompt = prompt.expand(len(output), -1, -1)
            return torch.cat([output[:, :position], prompt, output[:, after:]], 1)
        if args[0].shape[1:] == (rows,) and torch.equal(args[0][:tokens], ids.T):  # tokens first, batch second
            self._ids = None
            prompt = prompt[:, None].expand(-1, output.shape[1], -1)
            return torch.cat([output[:position], prompt, output[after:]], 0)
        return output

    # ---- the exit

    def _leave_long(self, trunk: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._close(trunk, output)

    def _close(self, trunk: nn.Module, output: Any) -> int | None:
        """Check that the prompt was embedded; the number of tokens with it, None where nothing was inserted."""
        if self._ids is not None:
            self._ids = None
            raise LightAdaptError(
                f"The prompt did not reach the model: {type(trunk).__name__} does not embed its input_ids as they are. "
                "Use method='prefix' or 'lora'."
            )
        if isinstance(output, dict) and self.running:
            for cache in CACHES:
                self._remember(output.get(cache))
        return self._lengths.pop()

    def _leave(self, trunk: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        """The output without the tokens of the prompt."""
        length = self._close(trunk, output)
        current = self.current()
        if current is None or length is None:
            return output
        prompt, position = current

        def cut(value: Any) -> Any:
            if isinstance(value, tuple) and type(value) is tuple:
                return tuple(map(cut, value))
            if torch.is_tensor(value) and value.dim() == 3 and value.shape[1] == length:
                return torch.cat([value[:, :position], value[:, position + len(prompt) :]], 1)
            return value

        if isinstance(output, dict):
            for key, value in output.items():
                if key not in ("attentions", *CACHES):
                    output[key] = cut(value)
            return output
        return cut(output)

    def _inform(self, reader: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        """Let the mask of what the decoder attends to cover the prompt."""
        current = self.current()
        if current is None:
            return None
        kwargs = dict(zip(inspect.signature(reader.forward).parameters, args, strict=False)) | kwargs
        hidden, length, position = kwargs["encoder_hidden_states"], len(current[0]), current[1]
        masks = {key: value for key, value in kwargs.items() if key.startswith("encoder_") and torch.is_tensor(value)}
        for key, mask in masks.items():
            if mask.dim() == 2 and mask.shape[1] + length in hidden.shape[:2]:
                mask = _lengthen("attention_mask", mask, mask.shape[1], length, position)
                if "padding" in key:  # such masks are true where there is nothing
                    mask[:, position : position + length] = False
                kwargs[key] = mask
        return (), kwargs


def _lengthen(name: str, value: Tensor, tokens: int, length: int, position: int) -> Tensor:
    """A tensor (batch, …) with room for the prompt in each dimension that counts tokens."""
    if value.shape[1] == tokens:
        before, after = value[:, :position], value[:, position:]
        shape = (len(value), length, *value.shape[2:])
        if name == "attention_mask":
            middle = value.new_ones(shape)
        elif name == "position_ids":
            first = before[:, -1:] + 1 if position else value.new_zeros(len(value), 1)
            middle, after = first + torch.arange(length, device=value.device), after + length
        else:
            middle = value[:, :1].expand(shape).clone()
        value = torch.cat([before, middle, after], 1)
    if value.is_floating_point() and value.dim() == 3 and value.shape[2] == tokens:  # from each token to each
        zeros = value.new_zeros(*value.shape[:2], length)
        value = torch.cat([value[..., :position], zeros, value[..., position:]], 2)
    return value


class PromptTuner(AttachingTuner):
    """PEFT's way to insert, save, switch and take out prompts."""

    prefix = "lightadapt_prompt_"
    tuner_layer_cls = PromptLayer

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        trunk = self.model.get_submodule(config.trunk)
        layer.reach(name, trunk, None if config.reader is None else self.model.get_submodule(config.reader))
        layer.fill(name, config)


register_tuner(PEFT_TYPE, PromptConfig, PromptTuner)
