"""An adapter of any kind that changes weights, written as plain LoRA: y = W x + up (down x)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lightadapt.peft_bridge import marks
from lightadapt.peft_bridge.adapter import Adapter
from lightadapt.peft_bridge.layers import original_name
from lightadapt.peft_bridge.removal import unwrap_all


@dataclass(frozen=True)
class Factors:
    """An update of a weight as a product, its scale included."""

    down: torch.Tensor
    """(rank, inputs)"""
    up: torch.Tensor
    """(outputs, rank)"""

    @property
    def rank(self) -> int:
        """The width of the product."""
        return len(self.down)

    def padded(self, rank: int) -> Factors:
        """The same update with rows and columns of zeros up to a rank."""
        more = rank - self.rank
        return Factors(nn.functional.pad(self.down, (0, 0, 0, more)), nn.functional.pad(self.up, (0, more)))


@dataclass(frozen=True)
class Update:
    """How an adapter changes one weight."""

    exact: Factors | None
    """The change as the adapter itself has it, where it is a product."""
    singular: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None
    """U (outputs, k), S (k,) and V (k, inputs) of the change, where it is none."""

    @property
    def size(self) -> float:
        """The square of its norm."""
        if self.exact is not None:
            return float(((self.exact.up.T @ self.exact.up) * (self.exact.down @ self.exact.down.T)).sum())
        assert self.singular is not None
        return float(self.singular[1].square().sum())

    def lost(self, rank: int) -> float:
        """The square of the norm of what a rank leaves out."""
        if self.exact is not None:
            return 0.0 if rank >= self.exact.rank else float("inf")
        assert self.singular is not None
        return float(self.singular[1][rank:].square().sum())

    def factors(self, rank: int) -> Factors:
        """The product of that rank that comes nearest (Eckart and Young, 1936)."""
        if self.exact is not None:
            return self.exact.padded(rank)
        assert self.singular is not None
        left, values, right = self.singular
        root = values[:rank].sqrt()
        return Factors((root[:, None] * right[:rank]).float(), (left[:, :rank] * root).float()).padded(rank)


def updates_of(adapter: Adapter) -> dict[str, Update]:
    """How an adapter changes each of its weights, by the paths of their modules.

    Raises:
        NotImplementedError: it is no change of the weights of linear projections alone.
    """
    return {original_name(path): _update_of(layer, adapter.name) for path, layer in adapter.named_layers()}


def _update_of(layer: Any, name: str) -> Update:
    if hasattr(layer, "detach_from_host"):
        raise NotImplementedError("it changes no matrix of the model")
    base = layer.get_base_layer()
    if not isinstance(base, (nn.Linear, Conv1D)):
        raise NotImplementedError(f"it works on a {type(base).__name__}, and plain LoRA on linear projections")
    if name in getattr(layer, "lora_A", ()) and name not in layer.lora_variant and not layer.lora_bias[name]:
        down, up = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
        return Update(Factors(down.float().cpu(), (up.float() * layer.scaling[name]).cpu()), None)
    change = _change_of(layer, name)
    left, values, right = torch.linalg.svd(change.T if isinstance(base, Conv1D) else change, full_matrices=False)
    return Update(None, (left, values, right))


def _change_of(layer: Any, name: str) -> torch.Tensor:
    """What folding the adapter adds to the weight, in float64."""
    weight = layer.get_base_layer().weight
    if not weight.is_floating_point():
        raise NotImplementedError("its base is quantized, so that what it adds cannot be told from rounding")
    folded = copy.deepcopy(layer).to(device="cpu", dtype=torch.float64)
    before, bias_before = (None if each is None else each.detach().clone() for each in _tensors_of(folded))
    try:
        folded.merge(adapter_names=[name])
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise NotImplementedError(str(error).partition("\n")[0] or "PEFT cannot fold it") from error
    weight, bias = _tensors_of(folded)
    if bias is not None and bias_before is not None and not torch.equal(bias, bias_before):
        raise NotImplementedError("it changes biases, which plain LoRA leaves alone")
    change: torch.Tensor = (weight - before).detach()
    return change


def _tensors_of(layer: Any) -> tuple[Any, Any]:
    base = layer.get_base_layer()
    return base.weight, base.bias


def lora_config(paths: list[str], rank: int) -> LoraConfig:
    """The config of a plain LoRA on these modules, whose products hold their scale."""
    return LoraConfig(r=rank, lora_alpha=rank, target_modules=paths, bias="none")


def lora_tensors(factors: Mapping[str, Factors]) -> dict[str, torch.Tensor]:
    """The tensors of such a LoRA under the names of PEFT's files, without their prefix."""
    found = {}
    for path, each in factors.items():
        found[f"{path}.lora_A.weight"] = each.down.contiguous()
        found[f"{path}.lora_B.weight"] = each.up.contiguous()
    return found


def without_adapters(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the base of a model."""
    base = copy.deepcopy(model)
    unwrap_all(base)
    marks.unmark_all(base)
    return base


def with_stock_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """A copy of the base of a model, with what stock PEFT reads from a folder."""
    read: Any = PeftModel.from_pretrained(without_adapters(model), str(folder))
    return read.base_model.model.eval()  # type: ignore[no-any-return]
