"""What is to be built: a model of a base, a method in it, and the form of its weights. Nothing is loaded yet."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from peft import PeftConfig

from lightadapt.anatomy import Layers
from lightadapt.base.blueprint import Blueprint
from lightadapt.base.quantization import Quantization, check_device
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.errors import LightAdaptError
from lightadapt.machine.hardware import choose_device, choose_dtype, planned_device
from lightadapt.machine.versions import warn_of_untested
from lightadapt.methods import Method, PeftMethod, Plan


@dataclass(frozen=True, kw_only=True)
class Design:
    """All that decides what is built; `adapt`, `load`, `add`, `merge`, `inspect` and `compare` read the same."""

    blueprint: Blueprint
    method: Method
    plan: Plan
    layers: Layers
    """The blocks that are adapted, as they were asked for."""
    quantization: Quantization | None
    dtype: torch.dtype
    """Number format of the frozen weights that are not quantized."""
    device: torch.device
    seed: int = 0
    """The seed of everything random."""
    head: frozenset[str] | None = None
    """The parameters that are trained with the task, when that is settled already; else what lies outside the backbone,
    and what the checkpoint does not have."""

    @cached_property
    def way(self) -> Hashable:
        """How the base is adapted: equal for designs that insert the same kind of adapter into the same blocks."""
        return repr(self.method), tuple(block.path for block in self.plan.blocks)


def make_design(
    blueprint: Blueprint,
    method: Method,
    *,
    layers: Layers = None,
    quantization: Quantization | None = None,
    dtype: Any = "auto",
    device: Any = "auto",
    seed: int = 0,
    head: frozenset[str] | None = None,
    inserted: PeftConfig | None = None,
    present: bool = True,
) -> Design:
    """The design of a method on a base, with every refusal that needs no weights.

    Args:
        head: the parameters of the head, of an artifact.
        inserted: the config that was inserted, of an artifact; None: as the method says.
        present: whether the device is there; one that is only planned for need not be.

    Raises:
        LightAdaptError: the method, the layers, the quantization, the number format or the device do not fit.
    """
    warn_of_untested()
    plan = plan_for(blueprint, method, layers, inserted)
    place = choose_device(device) if present else planned_device(device)
    if quantization is not None:
        check_device(quantization, place)
    here = place if present else torch.device("cpu")
    check_quantization(blueprint.anatomy, method, plan, quantization, here)
    return Design(
        blueprint=blueprint,
        method=method,
        plan=plan,
        layers=layers if layers is None or isinstance(layers, str) else list(layers),
        quantization=quantization,
        dtype=number_format(blueprint, plan, dtype, place),
        device=place,
        seed=seed,
        head=head,
    )


def plan_for(blueprint: Blueprint, method: Method, layers: Layers, inserted: PeftConfig | None = None) -> Plan:
    """What the method does to the model of the blueprint; a config of PEFT is tried on it without weights.

    Args:
        inserted: takes the place of the config that the method makes.

    Raises:
        LightAdaptError: the method or the layers do not fit.
    """
    plan = method.plan(blueprint.anatomy, layers)
    plan = plan if inserted is None else replace(plan, config=inserted)
    if blueprint.lm_head and plan.config is None and not plan.unfrozen:
        raise LightAdaptError(
            f"Method {method.name!r} trains a head alone, but this task uses the output layer that "
            f"{blueprint.source.name} has. Choose another method, such as 'lora'."
        )
    if isinstance(method, PeftMethod) and plan.config is not None and blueprint.ready is None:
        try:
            blueprint.model_without_weights(plan.config)
        except LightAdaptError as error:
            if not isinstance(error.__cause__, RuntimeError):  # which the meta device raises where values are read
                raise
    return plan


def number_format(blueprint: Blueprint, plan: Plan, dtype: Any, device: torch.device) -> torch.dtype:
    """The number format of the frozen weights; an instance that carries the task's head keeps its own."""
    trains_base = bool(plan.unfrozen)
    if blueprint.ready is None:
        return choose_dtype(dtype, device, trains_base=trains_base)
    own = blueprint.ready.dtype
    if dtype != "auto" and choose_dtype(dtype, device, trains_base=False) != own:
        raise LightAdaptError(f"dtype={dtype!r}: the model given is in {own} and is used as it is. Leave dtype out.")
    return choose_dtype(own, device, trains_base=trains_base)
