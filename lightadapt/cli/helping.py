"""Commands whose `--help` shows a type only where there is a value to give."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command, with plain types in its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plainly(param) for param in super().get_params(ctx)]


class Group(TyperGroup):
    """A group of commands, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_plainly(param) for param in super().get_params(ctx)]


def _plainly(param: Any) -> Any:
    """The parameter, which as a flag shows no `<bool>`, and as a list shows what each of its items is."""
    show = getattr(param, "display_type_rich", None)
    if show is not None:  # typer before 0.25 shows none of this
        is_flag = getattr(param, "is_flag", False)
        shown = type(param).display_type_rich
        param.display_type_rich = lambda ctx: (
            None if is_flag else str(shown(param, ctx=ctx)).replace("list[", "").replace("]", "")
        )
    return param
