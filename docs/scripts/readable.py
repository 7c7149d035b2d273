"""An extension of griffe, which reads the code for the reference: docstrings and defaults as readers know them."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class Readable(griffe.Extension):
    """Doctests become sections of examples, and fields of dataclasses show their defaults."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put `Examples:` over each run of doctest lines; Markdown would take their `>>>` for quotations."""
        if obj.docstring is not None and "Examples:" not in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(_as_section, obj.docstring.value)

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Show `field(default=X, …)` as X."""
        if isinstance(attr.value, griffe.ExprCall) and str(attr.value.function) == "field":
            given = {each.name: each.value for each in attr.value.arguments if isinstance(each, griffe.ExprKeyword)}
            factory = given.get("default_factory")
            attr.value = given.get("default") if factory is None else f"{factory}()"


def _as_section(found: re.Match[str]) -> str:
    indent = found["indent"]
    lines = [f"{indent}    {line.removeprefix(indent)}" for line in found.group().splitlines()]
    return "\n".join([f"{indent}Examples:", *lines])
