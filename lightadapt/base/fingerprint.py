"""A short proof that a base model is the one that something was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping

import torch

from lightadapt.errors import LightAdaptError

SAMPLE = 64
"""Values taken of each tensor: training anything changes nearly all of its values, so a few are enough."""


PACKED = "packed/"
"""Begins the name of a hash of quantized weights."""


def take_fingerprint(
    parameters: Mapping[str, torch.Tensor], names: Collection[str], linears: Collection[str], *, quantized: str = ""
) -> dict[str, str]:
    """Hashes of the frozen parameters `names`: of matrices of the modules `linears`, and of all others.

    The groups are apart because quantization changes the former only, of which the packed bytes are hashed then, under
    the form that `quantized` names. The values are rounded
    to bfloat16 and to float16, each where the weights are precise enough, so that a base is known again in another
    number format.
    """
    linear = {f"{path}.weight" for path in linears}
    first = next(iter(parameters.values())).dtype
    hashes = {
        f"{group}/{name}": hashlib.sha256()
        for group in (("other",) if quantized else ("linear", "other"))
        for name, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16))
        if first in (torch.float32, dtype)
    }
    if quantized:
        packed = hashlib.sha256()
        for name in sorted(linear & set(names)):
            values = parameters[name].detach().reshape(-1).view(torch.uint8)
            packed.update(values[:: max(1, values.numel() // SAMPLE)][:SAMPLE].to("cpu").numpy().tobytes())
    for name in sorted(names):
        if quantized and name in linear:
            continue
        values = parameters[name].detach().reshape(-1)
        sample = values[:: max(1, values.numel() // SAMPLE)][:SAMPLE].to("cpu")
        if not is_finite(values):
            raise LightAdaptError(f"The base model is damaged: {name} holds values that are not finite.")
        for key, digest in hashes.items():
            group, _, number_format = key.partition("/")
            if (name in linear) == (group == "linear"):
                digest.update(json.dumps([name, list(parameters[name].shape)]).encode())
                digest.update(sample.to(getattr(torch, number_format)).view(torch.int16).numpy().tobytes())
    if quantized:
        hashes[f"{PACKED}{quantized}"] = packed
    return {key: digest.hexdigest()[:32] for key, digest in hashes.items()}


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all values are finite; the smallest and the largest tell, without a tensor of answers."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return True
    if tensor.itemsize == 1:  # 8-bit formats, which have no order in torch
        tensor = tensor.float()
    least, most = torch.aminmax(tensor.detach())
    return bool(torch.isfinite(least) & torch.isfinite(most))


def same_base(saved: Mapping[str, str], found: Mapping[str, str]) -> bool | None:
    """Whether two fingerprints are of one base; None when they have no number format in common.

    Packed weights are left out: another device may round them otherwise. See `same_packed`.
    """
    common = {key for key in saved.keys() & found.keys() if not key.startswith(PACKED)}
    return all(saved[key] == found[key] for key in common) if common else None


def same_packed(saved: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether quantized weights of one form are the same; also where that cannot be told."""
    common = {key for key in saved.keys() & found.keys() if key.startswith(PACKED)}
    return all(saved[key] == found[key] for key in common)
