"""An adapter tried on one linear layer."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from torch import nn

from lightadapt.peft_bridge.adapter import Adapter
from lightadapt.peft_bridge.layers import ADAPTER

FAR = 0.5
"""Share of its output by which rounded weights may move a layer: NF4 and FP4 move it by about a tenth."""


def try_on(
    config: PeftConfig | None, widths: tuple[int, int], device: torch.device, prepare: Callable[[nn.Module], None]
) -> str:
    """Try an adapter, or none, on one prepared linear layer; what went wrong, or "".

    At the start it must give about what it gives on the layer as it was: a tuner that takes the codes of quantized
    weights for their values raises nothing. Then come two steps of training with an evaluation between.

    Args:
        widths: of what goes into the layer, and of what comes out.
        prepare: what is done to a module that holds the layer as `layer`, before the adapter comes.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        layer, inputs = nn.Linear(*widths).to(device), torch.randn(2, 3, widths[0]).to(device).requires_grad_()
        plain, holder = _hold(copy.deepcopy(layer)), _hold(layer)
        try:
            prepare(holder)
            for each in (plain, holder):
                torch.manual_seed(0)
                _insert_at_layer(each.eval(), config)
            with torch.no_grad():
                expected, found = plain.layer(inputs), holder.layer(inputs)
            apart = float((found - expected).norm() / expected.norm())
            if not apart < FAR:
                return f"what it gives is {apart:.0%} away from what it gives on plain weights"
            return _train_layer(holder, inputs) if config is not None else ""
        except Exception as error:  # whatever a tuner makes of weights that it does not know
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _hold(layer: nn.Linear) -> Any:
    """A module that holds the layer as `layer`."""
    holder = nn.Module()
    holder.add_module("layer", layer)
    return holder


def _insert_at_layer(holder: Any, config: PeftConfig | None) -> None:
    if config is None:
        return
    config = copy.deepcopy(config)
    config.target_modules = {"layer"}
    for name, value in (("target_parameters", None), ("rank_pattern", {}), ("alpha_pattern", {})):
        if hasattr(config, name):
            setattr(config, name, value)
    if getattr(config, "feedforward_modules", None):
        config.feedforward_modules = {"layer"}
    PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](holder, config, adapter_name=ADAPTER)


def _train_layer(holder: Any, inputs: torch.Tensor) -> str:
    """Two steps of training with an evaluation between; what went wrong, or an empty text."""
    names = Adapter(holder, ADAPTER).parameters
    trained = [parameter for name, parameter in holder.named_parameters() if name in names]
    for _ in range(2):
        holder.train()
        holder.layer(inputs).sum().backward()
        if not trained or any(parameter.grad is None for parameter in trained if parameter.requires_grad):
            return "no gradient reaches it"
        holder.eval()
        with torch.no_grad():
            holder.layer(inputs)
    return ""
