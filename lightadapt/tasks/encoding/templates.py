"""Templates of prompts: texts with `{text}` and `{labels}` in them."""

from __future__ import annotations

from string import Formatter
from typing import Any

from lightadapt.errors import LightAdaptError, shown

PARTS = ("text", "labels")
"""What a template may have in braces; the first is needed."""


def check_template(template: Any) -> None:
    """Raise for a prompt that has no place for the text, or one for something else.

    Raises:
        LightAdaptError: with what may stand in it.

    >>> check_template("Labels: {labels}. What is this about? {text} Answer:")
    """
    if not isinstance(template, str):
        raise LightAdaptError(f"prompt={shown(template)} is no text. Give one with {{text}} in it.")
    try:
        found = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise LightAdaptError(
            f"prompt={shown(template)}: {error}. Write {{text}}, and braces that stand for themselves twice: {{{{ }}}}."
        ) from error
    strange = [name for name in found if name not in PARTS]
    if strange:
        raise LightAdaptError(
            f"prompt={shown(template)} has {{{strange[0]}}}. It may have {{text}} and {{labels}}; braces that stand "
            "for themselves are written twice."
        )
    if found.count("text") != 1:
        raise LightAdaptError(f"prompt={shown(template)}: write {{text}} once, where the text is to stand.")
