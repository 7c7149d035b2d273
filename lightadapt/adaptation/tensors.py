"""What training changes in a model: its tensors under the names of PEFT's files, and back into the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load, load_file
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.base.fingerprint import is_finite
from lightadapt.errors import ArtifactError
from lightadapt.machine.processes import shard_like, unshard

READ_AT_ONCE = 2**26
"""Bytes of a file up to which it is read as a whole."""


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of safetensors.

    A small one is read as a whole: by the name of a file, safetensors 0.8 loses 28 bytes a tensor each time, which adds
    up in a server that reads adapters all day.

    Raises:
        OSError: it cannot be read.
        SafetensorError: it is damaged.
    """
    return load(file.read_bytes()) if file.stat().st_size <= READ_AT_ONCE else load_file(file)


def trained_tensors(
    adapter: peft_bridge.Adapter, trained: Iterable[str], modules: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Everything that training changes, under the names of PEFT's files.

    Of a model that is in parts, one in each process, these are the whole tensors; all processes have to call this.

    Args:
        trained: parameters of the model itself that are trained.
        modules: modules that are trained as a whole; their buffers belong to them.
    """
    tensors = adapter.tensors() | _own_tensors(adapter.model, trained, modules)
    return {f"{peft_bridge.PREFIX}{name}": unshard(tensors[name]) for name in sorted(tensors)}


def _own_tensors(model: PreTrainedModel, trained: Iterable[str], modules: Iterable[str]) -> dict[str, torch.Tensor]:
    """The tensors of the model itself that are trained, with the buffers of modules that are trained as a whole."""
    found = {name: model.get_parameter(name).detach() for name in trained}
    for path in modules:
        module = model.get_submodule(path)
        kept = module.state_dict().keys()
        found |= {f"{path}.{name}": buffer for name, buffer in module.named_buffers() if name in kept}
    return found


def restore(
    adapter: peft_bridge.Adapter,
    trained: Iterable[str],
    modules: Iterable[str],
    tensors: Mapping[str, torch.Tensor],
    where: Path,
) -> None:
    """Write saved tensors into the model.

    Raises:
        ArtifactError: a tensor is missing, is not known to the model, or has another shape; nothing is written.
    """
    expected = trained_tensors(adapter, trained, modules)
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    for names, what in ((missing, "is missing"), (extra, "is not part of this adaptation")):
        if names:
            more = f" ({len(names)} tensors in all)" if len(names) > 1 else ""
            raise ArtifactError(f"{where / peft_bridge.WEIGHTS_NAME}: the tensor {names[0]!r} {what}{more}.")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ArtifactError(
                f"{where / peft_bridge.WEIGHTS_NAME}: {name!r} has the shape {list(tensor.shape)}, but the model needs "
                f"{list(expected[name].shape)}. The artifact belongs to another base or task."
            )
    plain = {name.removeprefix(peft_bridge.PREFIX): tensor for name, tensor in tensors.items()}
    own = _own_tensors(adapter.model, trained, modules)
    inserted = {name: tensor for name, tensor in plain.items() if name not in own}
    if inserted:
        adapter.load_tensors(inserted)
    with torch.no_grad():
        for name, place in own.items():
            place.copy_(shard_like(place, plain[name]))


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinite values; None when there is none."""
    return next((name for name, tensor in tensors.items() if not is_finite(tensor)), None)
