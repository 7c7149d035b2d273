"""What a task knows of the model that serves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightadapt.tasks.encoding.widths import next_width

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lightadapt.anatomy import Family


@dataclass(frozen=True)
class ModelView:
    """What a task knows of the model that serves it."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """The most tokens that a sequence may have, specials included."""
    family: Family
    outputs: tuple[str, ...] = ()
    """The names of the head's outputs, in order."""
    few_widths: bool = False
    """Whether batches are padded to one of a few widths, in place of the longest of their sequences."""

    def width(self, longest: int) -> int:
        """The tokens of each row of a batch, padding included, by its longest sequence."""
        return max(longest, min(next_width(longest), self.max_length)) if self.few_widths else longest

    @property
    def leading_specials(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text."""
        return self._specials[0]

    @property
    def trailing_specials(self) -> list[int]:
        """The special tokens that the tokenizer puts behind a text."""
        return self._specials[1]

    @cached_property  # every record asks
    def _specials(self) -> tuple[list[int], list[int]]:
        def ids(text: str, *, specials: bool) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=specials)["input_ids"])

        # A small vocabulary may lack a letter and drop it.
        text = next((text for text in ("a", "A", "0", ".") if ids(text, specials=False)), "a")
        bare, full = ids(text, specials=False), ids(text, specials=True)
        start = next(place for place in range(len(full)) if full[place : place + len(bare)] == bare)
        return full[:start], full[start + len(bare) :]
