"""Frozen weights in 4 or 8 bits (Dettmers et al. 2022, 2023): which of them, and in what form, by bitsandbytes.

What is quantized are the linear projections of the blocks, and nothing else. Embeddings, norms, heads, the output
layer of a language model and whatever is freshly initialised keep their number format, as does a projection whose
weight is read by another module than its own (T5's `wo`, Mamba's `dt_proj`), since that module would read packed bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Literal, TypeAlias

import torch
from transformers import BitsAndBytesConfig, PretrainedConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from lightadapt.anatomy import Anatomy
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.machine.hardware import require_bitsandbytes

Quantize: TypeAlias = "Literal['4bit', '8bit', 'none'] | BitsAndBytesConfig | None"
FORMATS = ("4bit", "8bit")
BLOCK, SCALES_BLOCK = 64, 256
"""Values that share a scale of 4-bit weights, and scales that share one of double quantization."""
NONE = "none"
DEVICES = ("cpu", "cuda")
"""Kinds of devices on which quantized weights are trained here; bitsandbytes has more."""


@dataclass(frozen=True)
class Quantization:
    """A form of quantized weights.

    >>> Quantization.named("4bit").name
    '4bit'
    """

    name: str
    """`"4bit"` or `"8bit"`."""
    settings: Mapping[str, Any]
    """The fields of transformers' BitsAndBytesConfig that say how, as JSON values."""

    @classmethod
    def named(cls, name: str) -> Quantization:
        """The form of that name: NF4 with double quantization (Dettmers et al. 2023), or LLM.int8 (2022)."""
        assert name in FORMATS
        if name == "4bit":
            return cls(name, {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True})
        return cls(name, {})

    @classmethod
    def of_config(cls, config: BitsAndBytesConfig) -> Quantization:
        """The form that a config of transformers describes."""
        given = {
            name: value
            for name, value in config.to_diff_dict().items()
            if name.startswith(("bnb_4bit_", "llm_int8_")) and value is not None
        }
        return cls("4bit" if config.load_in_4bit else "8bit", given)

    @property
    def own_skips(self) -> list[str]:
        """The modules that the settings leave out by themselves."""
        return list(self.settings.get("llm_int8_skip_modules") or ())

    def config(self, kept: Iterable[str], dtype: torch.dtype) -> BitsAndBytesConfig:
        """A fresh config of transformers.

        Args:
            kept: paths of the linear modules that are not quantized.
            dtype: of the other weights; products are computed in it unless the settings say otherwise.
        """
        settings = {"bnb_4bit_compute_dtype": dtype, **self.settings}
        # transformers takes a bare name for the end of any path, so each is anchored.
        settings["llm_int8_skip_modules"] = [f"^{re.escape(path)}$" for path in kept]
        return BitsAndBytesConfig(load_in_4bit=self.name == "4bit", load_in_8bit=self.name == "8bit", **settings)

    def packed_size(self, shape: Sequence[int]) -> int:
        """Bytes of a weight `(rows, columns)` with its scales.

        LLM.int8 has a float32 scale for each row. Of 4 bits, every 64 values share a scale: a float32, or a byte and
        a float32 for every 256 of them (double quantization), 4.127 bits a value in all (Dettmers et al. 2023).
        """
        values = prod(shape)
        if self.name == "8bit":
            return values + 4 * shape[0]
        scales = ceil(values / BLOCK)
        doubled = (
            scales + 4 * ceil(scales / SCALES_BLOCK) if self.settings.get("bnb_4bit_use_double_quant") else 4 * scales
        )
        return ceil(values / 2) + doubled

    def as_json(self) -> dict[str, Any]:
        """The name and the settings, for the artifact."""
        return {"name": self.name, "settings": dict(self.settings)}

    @classmethod
    def of_json(cls, saved: Any) -> Quantization:
        """What `as_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such thing.
        """
        name, settings = FORMATS[FORMATS.index(saved["name"])], dict(saved["settings"])
        known = BitsAndBytesConfig().to_dict().keys()
        skips = settings.get("llm_int8_skip_modules", [])
        if any(key not in known or key.startswith("load_in") for key in settings) or not isinstance(skips, list):
            raise ValueError(settings)
        return cls(name, settings)

    def __str__(self) -> str:
        kind = self.settings.get("bnb_4bit_quant_type", "fp4") if self.name == "4bit" else "LLM.int8"
        double = " with double quantization" if self.settings.get("bnb_4bit_use_double_quant") else ""
        return f"{self.name} ({kind}{double})"


def resolve_quantization(quantize: Any) -> Quantization | None:
    """The form of quantization that `quantize=` asks for; None for none.

    Raises:
        LightAdaptError: an unknown form, or bitsandbytes is not installed.
    """
    if quantize is None or quantize == NONE:
        return None
    if isinstance(quantize, Quantization):
        _require(repr(quantize.name))
        return quantize
    if isinstance(quantize, str) and quantize in FORMATS:
        _require(repr(quantize))
        return Quantization.named(quantize)
    if isinstance(quantize, BitsAndBytesConfig):
        if quantize.load_in_4bit == quantize.load_in_8bit:
            raise LightAdaptError(
                f"quantize=BitsAndBytesConfig(load_in_4bit={quantize.load_in_4bit}, "
                f"load_in_8bit={quantize.load_in_8bit}): set one of the two."
            )
        if quantize.llm_int8_has_fp16_weight or quantize.llm_int8_enable_fp32_cpu_offload:
            raise LightAdaptError(
                "quantize: llm_int8_has_fp16_weight and llm_int8_enable_fp32_cpu_offload keep weights unquantized. "
                "Leave them out."
            )
        _require("BitsAndBytesConfig(…)")
        return Quantization.of_config(quantize)
    near = nearest(str(quantize), [*FORMATS, NONE])
    raise LightAdaptError(f"quantize={quantize!r} is unknown. {near}Give '4bit', '8bit', or a BitsAndBytesConfig.")


def _require(what: str) -> None:
    require_bitsandbytes(f"quantize={what}", "leave quantize out")


def check_device(quantization: Quantization, device: torch.device) -> None:
    """Raise for a device that bitsandbytes does not compute on."""
    if device.type not in DEVICES:
        raise LightAdaptError(
            f"quantize={quantization.name!r} is not supported on device {str(device)!r}, but on "
            f"{' and '.join(DEVICES)}. Give device='cpu', or leave quantize out."
        )


def quantization_of(config: PretrainedConfig) -> Quantization | None:
    """The form in which a checkpoint holds its weights, by its config; None where bitsandbytes did not quantize it.

    Raises:
        LightAdaptError: bitsandbytes is not installed.
    """
    content = _content(config)
    if not (content.get("load_in_4bit") or content.get("load_in_8bit")):
        return None
    form = "4bit" if content.get("load_in_4bit") else "8bit"
    require_bitsandbytes(f"A checkpoint in {form}", "choose one that is not quantized")
    return Quantization.of_config(BitsAndBytesConfig.from_dict({**content, "llm_int8_skip_modules": None}))


def _content(config: PretrainedConfig) -> dict[str, Any]:
    given = getattr(config, "quantization_config", None) or {}
    return dict(given) if isinstance(given, Mapping) else dict(given.to_dict())


def settle_quantization(quantize: Any, config: PretrainedConfig, name: str) -> Quantization | None:
    """The form that is used: what `quantize=` asks for, else that of the checkpoint.

    Raises:
        LightAdaptError: an unknown form, another one than that of the checkpoint, or bitsandbytes is not installed.
    """
    asked, own, content = resolve_quantization(quantize), quantization_of(config), _content(config)
    if quantize is None or not content or (own is not None and (quantize == own.name or asked == own)):
        return own or asked
    kind = own.name if own else content.get("quant_method", "another form")
    raise LightAdaptError(
        f"quantize={asked.name if asked else NONE!r}: {name} is a checkpoint that is quantized already "
        f"({getattr(kind, 'value', kind)}). Leave quantize out, or start from the checkpoint before it was quantized."
    )


def quantized_linears(anatomy: Anatomy, quantization: Quantization) -> tuple[str, ...]:
    """The linear projections that are quantized: those of the blocks that no other module reads past them.

    Raises:
        LightAdaptError: there are none.
    """
    every = dict.fromkeys(path for block in anatomy.blocks for path in block.linears)
    kept = quantization.own_skips or None
    chosen = tuple(
        path
        for path in every
        if f"{path}.weight" not in anatomy.head and path not in anatomy.bypassed and should_convert_module(path, kept)
    )
    if not chosen:
        raise LightAdaptError(
            f"quantize={quantization.name!r}: the blocks have no linear projection that could be quantized. Experts "
            "held in one tensor are none. Leave quantize out."
        )
    return chosen


def quantized_in(names: Iterable[str], linears: Iterable[str]) -> tuple[str, ...]:
    """The linear projections that a checkpoint with tensors of these names holds quantized.

    The names may begin otherwise than those of the model: a bare backbone has no prefix.
    """
    marks = tuple(f".{mark}" for mark in ("weight.absmax", "weight.quant_map", "SCB"))
    held = {name[: -len(mark)] for name in names for mark in marks if name.endswith(mark)}
    same = held | set(map(_without_first, held))
    return tuple(path for path in linears if path in same or _without_first(path) in held)


def _without_first(path: str) -> str:
    return path.partition(".")[2] or path
