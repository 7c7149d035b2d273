"""How long an input may be; the one place that knows."""

from __future__ import annotations

from typing import Any

from lightadapt.anatomy import Anatomy
from lightadapt.errors import LightAdaptError
from lightadapt.methods import Method

LEAST_TOKENS = 8
"""The shortest text that a model must be able to read."""
UNLIMITED = 10**6
"""A tokenizer that knows no limit says at least this."""
USUAL = 512
"""The limit where nobody says one."""


def longest_input(anatomy: Anatomy, tokenizer: Any) -> int:
    """The most tokens that a sequence may have, specials included.

    The smaller of what the tokenizer says and what the positions of the model allow; 512 when neither says anything.
    """
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < UNLIMITED else []
    return min([*limits, *([] if anatomy.positions is None else [anatomy.positions])], default=USUAL)


def room_for_text(anatomy: Anatomy, tokenizer: Any, method: Method) -> int:
    """The most tokens that a sequence may have beside what a method adds to it."""
    return longest_input(anatomy, tokenizer) - method.extra_tokens


def check_room(anatomy: Anatomy, tokenizer: Any, method: Method) -> None:
    """Raise when what a method adds to every input leaves the text no room."""
    longest, left = longest_input(anatomy, tokenizer), room_for_text(anatomy, tokenizer, method)
    if method.extra_tokens and left < LEAST_TOKENS:
        raise LightAdaptError(
            f"{method}: the learned tokens leave {max(left, 0)} of the model's {longest} positions to the text, "
            f"which needs at least {LEAST_TOKENS}. Choose a smaller length."
        )
