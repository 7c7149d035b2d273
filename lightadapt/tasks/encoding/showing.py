"""Token ids as text for people, with what is learned between ⟦ and ⟧."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 300
"""Characters of a part beyond which its middle is left out."""


def show_tokens(ids: Sequence[int], learned: Sequence[bool], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of the tokens, specials included; each run of learned ones between ⟦ and ⟧."""
    parts = []
    for learn, run in groupby(zip(ids, learned, strict=True), key=lambda pair: pair[1]):
        text = str(tokenizer.decode([number for number, _ in run], clean_up_tokenization_spaces=False))
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
        text = text.replace("\n", "⏎")
        parts.append(f"⟦{text}⟧" if learn else text)
    return "".join(parts)
