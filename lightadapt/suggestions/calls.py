"""Calls with arguments that are not known, answered with what to write."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lightadapt.errors import ArgumentError, listed, nearest, shown
from lightadapt.suggestions.foreign_names import CONSTRUCTORS, Ways

P = ParamSpec("P")
R = TypeVar("R")


def explained(
    ways: Ways, *, owner: str = "", also: Callable[[str, Any], str | None] = lambda name, value: None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call with arguments that the function does not take raises an error that says what to write.

    Args:
        ways: what to write for names of other libraries.
        owner: what to call the function; None: by its name.
        also: what to write for a name that is not among the ways; None where it knows no better.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        called = owner or function.__name__

        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                raise _wrong_call(called, signature, args, kwargs, ways, also) from None
            return function(*args, **kwargs)

        return wrapper

    return decorate


def explain_constructors(classes: Iterable[type]) -> None:
    """Let each of these dataclasses answer a wrong setting with the right one."""
    for each in classes:
        if "__init__" in vars(each):
            wrapped = explained(CONSTRUCTORS.get(each.__name__, {}), owner=each.__name__)(each.__init__)  # type: ignore[misc]
            each.__init__ = wrapped  # type: ignore[misc]


def _wrong_call(
    owner: str,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    ways: Ways,
    also: Callable[[str, Any], str | None],
) -> ArgumentError:
    """The error for a call that does not fit a signature."""
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    known = [each.name for each in parameters]
    lead = "" if owner in CONSTRUCTORS else "…, "
    for name, value in kwargs.items():
        if name not in known:
            given = f"{owner}({lead}{name}={shown(value, 40)})"
            way = ways.get(name) or also(name, value)
            if way is None:
                return ArgumentError(f"{given}: unknown. {nearest(name, known, 0.75)}Known: {listed(known, 20)}.")
            way = way.replace("{name}", name).replace("{value}", shown(value, 40))
            return ArgumentError(f"{given}: {way}" if way[0].isupper() else f"{given}: write {owner}({lead}{way}).")
    by_place = [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    given_by_place = len(args) - ("self" in signature.parameters)
    if given_by_place > len(by_place):
        by_name = known[len(by_place) : given_by_place] or known[-1:]
        value = shown(args[len(by_place) - given_by_place], 40)
        return ArgumentError(
            f"{owner} takes {'no argument' if not by_place else listed(by_place)} without a name. Say what {value} is, "
            f"such as {owner}({lead}{by_name[0] if by_name else 'name'}={value})."
        )
    missing = [
        each.name
        for place, each in enumerate(parameters)
        if each.default is inspect.Parameter.empty and each.name not in kwargs and place >= given_by_place
    ]
    if missing:
        return ArgumentError(f"{owner}(…) lacks {listed(missing)}. Write {owner}({', '.join([*by_place, '…'])}).")
    twice = [name for name in by_place[:given_by_place] if name in kwargs]
    return ArgumentError(f"{owner}(…) gets {listed(twice)} twice: in its place, and by its name. Leave one out.")
