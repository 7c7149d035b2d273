"""An adaptation as stock LoRA: products for its updates, and what else is trained beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from safetensors.torch import save_file

from lightadapt import peft_bridge
from lightadapt.adaptation.manifest import task_type_of
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.tensors import trained_tensors
from lightadapt.errors import LightAdaptError
from lightadapt.export.proof import Found, Prover
from lightadapt.heads.outputs import fold_output_scales
from lightadapt.peft_bridge import Update


def updates_of(runner: Runner, format: str) -> Mapping[str, Update]:
    """How the adapter changes each weight.

    Raises:
        LightAdaptError: it inserts nothing, or is no change of the weights of linear projections.
    """
    try:
        _check_start(runner)
        return peft_bridge.updates_of(runner.adaptation.adapter)
    except NotImplementedError as error:
        raise _no_updates(runner, format, error) from error


def check_updates(runner: Runner, format: str) -> None:
    """Raise for an adapter of which it can be told at once that `updates_of` finds no updates.

    Raises:
        LightAdaptError: as `updates_of`.
    """
    try:
        _check_start(runner)
        runner.adaptation.adapter.check_foldable(onto_these=False)
    except NotImplementedError as error:
        raise _no_updates(runner, format, error) from error


def _check_start(runner: Runner) -> None:
    """Raise a NotImplementedError for an adapter that is nothing beside the base as it was."""
    if not runner.adaptation.adapter.layers:
        raise NotImplementedError("it inserts nothing, but trains parameters of the model itself")
    if runner.adaptation.design.method.rewrites_base:
        raise NotImplementedError("its start changed the base, which the other side has as it was")


def _no_updates(runner: Runner, format: str, error: NotImplementedError) -> LightAdaptError:
    return LightAdaptError(
        f"export({format!r}): method {runner.adaptation.design.method.name!r} cannot be written as plain LoRA: "
        f"{str(error) or 'PEFT does not have it'}. Export to 'merged' where the method can be folded into the weights, "
        "or ship the artifact."
    )


def choose_rank(
    updates: Mapping[str, Update], ranks: Sequence[int], max_error: float, format: str
) -> tuple[int, float]:
    """The smallest rank that leaves out little enough, and the share that it leaves out.

    The share is |left out| / |all updates|, Euclidean norms.

    Raises:
        LightAdaptError: none of the ranks does.
    """
    whole = sum(update.size for update in updates.values())
    error = 0.0
    for rank in ranks:
        error = (sum(update.lost(rank) for update in updates.values()) / whole) ** 0.5 if whole else 0.0
        if error <= max_error:
            return rank, error
    left = f"leaves out {error:.1%} of them" if error <= 1 else "does not hold those of LoRA itself"
    raise LightAdaptError(
        f"export({format!r}): the updates of this method are of high rank: {ranks[-1]} {left}, and max_error is "
        f"{max_error:g}. Allow a higher rank or more error, or export to 'merged'."
    )


def write_lora(runner: Runner, folder: Path, updates: Mapping[str, Update], rank: int) -> None:
    """Write what stock PEFT reads: every update with that rank, and the modules that are trained as a whole."""
    adaptation = runner.adaptation
    factors = {path: update.factors(rank) for path, update in updates.items()}
    tensors = {f"{peft_bridge.PREFIX}{name}": each for name, each in peft_bridge.lora_tensors(factors).items()}
    tensors |= beside(runner)
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        folder / peft_bridge.WEIGHTS_NAME,
        metadata={"format": "pt"},
    )
    source = adaptation.design.blueprint.source
    peft_bridge.write_config(
        folder / peft_bridge.CONFIG_NAME,
        peft_bridge.lora_config(sorted(factors), rank),
        adaptation.modules,
        source.id,
        source.revision,
        task_type_of(runner),
    )
    runner.tokenizer.save_pretrained(folder)


def beside(runner: Runner) -> dict[str, torch.Tensor]:
    """The tensors that are trained beside the adapter, the scale of a regression in them."""
    adaptation = runner.adaptation
    model = deepcopy(adaptation.model)
    fold_output_scales(model)
    copied = peft_bridge.Adapter(model, adaptation.name)
    inserted = {f"{peft_bridge.PREFIX}{name}" for name in copied.tensors()}
    found = trained_tensors(copied, adaptation.trained, adaptation.modules)
    return {name: tensor for name, tensor in found.items() if name not in inserted}


def prove_lora(runner: Runner, folder: Path, prover: Prover) -> Found:
    """Let stock PEFT read the folder onto the base, and compare."""
    plain = deepcopy(runner.model)
    fold_output_scales(plain)
    return prover.compare_model(peft_bridge.with_stock_adapter(plain, folder))
