"""Prefix tuning: learned keys and values inside every attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Method
from lightadapt.methods.ranges import Choice, Range
from lightadapt.numbers import check_number, check_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lightadapt.tuners import PrefixConfig


LONGEST = 32
"""Tokens of the text that are run through the model; a longer prefix starts from random numbers beyond them."""


@dataclass(frozen=True, kw_only=True)
class Prefix(Method):
    """Keys and values in front of those of the tokens (Li and Liang 2021), in every attention of a token to its text.

    >>> Prefix(length=30).length
    30
    """

    name: ClassVar[str] = "prefix"
    learning_rate: ClassVar[float] = 2e-2
    search: ClassVar[Mapping[str, Range]] = {"length": Choice(10, 20, 40)}

    length: int = 20
    """Learned positions in each attention."""
    text: str | None = None
    """Start from the keys and values that the base model has for this text; None: from random numbers."""
    deviation: float = 0.02
    """Standard deviation of the random numbers."""

    def __post_init__(self) -> None:
        check_whole("length", self.length, owner="Prefix")
        check_number("deviation", self.deviation, owner="Prefix", least=0)
        if self.text is not None and not (isinstance(self.text, str) and self.text.strip()):
            raise LightAdaptError(f"Prefix(text={self.text!r}): give a text, or leave it out.")

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PrefixConfig:
        from lightadapt.tuners import PrefixConfig

        cores = {
            attention.core: attention.key_values
            for block in blocks
            for attention in block.attentions
            if attention.core is not None and attention.key_values is not None and not attention.across
        }
        if not cores:
            raise LightAdaptError(
                "Prefix: no attention of tokens to their own text was seen in the adapted blocks, so there are no keys "
                "and values to add to. Use 'lora', or 'bottleneck' with placement='parallel', which does what a prefix "
                "does (He et al. 2022)."
            )
        if self.text is not None and any(seen.written_out for seen in cores.values()):
            raise LightAdaptError(
                "Prefix(text=…): this architecture computes attention from products of its own, which do not show "
                "their keys and values. Leave text out."
            )
        return PrefixConfig(
            target_modules=set(cores),
            num_virtual_tokens=self.length,
            shapes={core: (seen.heads, seen.key_width, seen.value_width) for core, seen in cores.items()},
            interface=[core for core, seen in cores.items() if seen.interface],
            deviation=self.deviation,
        )

    def start(self, model: PreTrainedModel, tokenizer: Any) -> None:
        if self.text is None:
            return
        from lightadapt.tuners import PrefixLayer

        tokens = self.tokens(tokenizer)
        layers: list[Any] = [module for module in model.modules() if isinstance(module, PrefixLayer)]
        layers = [layer for layer in layers if layer.current() is not None]
        inputs = {"input_ids": torch.tensor([tokens], device=model.device)}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        for layer in layers:
            layer.watch()
        with torch.no_grad():
            model.base_model(**inputs)
            for layer in layers:
                seen = layer.unwatch()
                for parameter, values in zip(layer.current(), seen, strict=True):
                    parameter[:, : values.shape[2]] = values[0]

    def tokens(self, tokenizer: Any) -> list[int]:
        """The text as token ids, repeated or cut to the length of the prefix.

        Raises:
            LightAdaptError: the text holds nothing that the tokenizer knows.
        """
        assert self.text is not None
        try:
            tokens = tokenizer(self.text, add_special_tokens=False)["input_ids"]
        except (TypeError, ValueError) as error:
            raise LightAdaptError(f"Prefix(text={self.text!r}) is not a text that can be read ({error}).") from error
        if not tokens:
            raise LightAdaptError(f"Prefix(text={self.text!r}) gives no tokens. Choose another text.")
        return list((tokens * (self.length // len(tokens) + 1))[: min(self.length, LONGEST)])
