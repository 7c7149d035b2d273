"""The methods, one file each, and how a name finds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.methods.method import KNOWN_METHODS, Method, Plan
from lightadapt.methods.peft_method import PeftMethod, method_named, method_of, names_of_peft
from lightadapt.peft_bridge import PeftConfig
from lightadapt.registry import own_classes, required_settings
from lightadapt.suggestions.calls import explain_constructors
from lightadapt.suggestions.foreign_names import method_called

METHODS: dict[str, type[Method]] = own_classes(__name__, KNOWN_METHODS)
"""Ours, by the name under which they are saved."""
explain_constructors(METHODS.values())

NAMES: dict[str, Callable[[], Method]] = {
    name: partial(method, **settings)
    for method in METHODS.values()
    if not required_settings(method)
    for name, settings in KNOWN_METHODS.names_of(method).items()
}
"""Ours, by the names that a caller may write; PEFT's own and those of the caller come on top."""

__all__ = ["METHODS", "NAMES", "Method", "PeftMethod", "Plan", "method_of_json", "resolve_method"]


def __getattr__(name: str) -> Any:
    """The classes of the methods themselves, each of which is known from its own file on."""
    found = {method.__name__: method for method in METHODS.values()}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]


def resolve_method(method: Any) -> Method:
    """The method of that name with its defaults, or of a PEFT config, or the given method object.

    Raises:
        LightAdaptError: there is none, or `load` could not find it again.
    """
    if isinstance(method, type) and issubclass(method, Method) and method not in (Method, PeftMethod):
        method = KNOWN_METHODS.make(method, {})
    if isinstance(method, Method):
        KNOWN_METHODS.check(method)
        return method
    if isinstance(method, (list, tuple)):
        raise LightAdaptError(
            f"method is a {type(method).__name__}: one adaptation has one method. Several can share a base by "
            "adapted.add(name, method=…, task=…), one at a time in use."
        )
    if isinstance(method, PeftConfig):
        return method_of(method)
    found = _method_called(method) if isinstance(method, str) else None
    if found is None:
        names = [*NAMES, *(name for name in KNOWN_METHODS.names if name not in (*NAMES, PeftMethod.name))]
        way = method_called(method) if isinstance(method, str) else None
        hint = f"Here it is {way}. " if way else nearest(str(method), [*names, *names_of_peft()])
        raise LightAdaptError(
            f"Unknown method {shown(method)}. {hint}Methods: {', '.join(names)}; and PEFT's own, such as vera."
        )
    return found


def _method_called(name: str) -> Method | None:
    """The method of that name in any case; what the caller brings goes before what PEFT has."""
    for spelling in dict.fromkeys((name, name.lower())):
        found = KNOWN_METHODS.find(spelling)
        if found is not None and found[0] is not PeftMethod:
            return KNOWN_METHODS.make(*found)
    return method_named(name.lower())


def method_of_json(saved: Mapping[str, Any]) -> Method:
    """The method that `Method.as_json` describes.

    Raises:
        LightAdaptError: it is not known here, or does not know these settings.
    """
    return KNOWN_METHODS.of_json(saved)
