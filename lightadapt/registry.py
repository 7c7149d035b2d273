"""The classes of one kind by the names that they declare: ours, those of a script, and those of installed packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import lightadapt
from lightadapt.errors import LightAdaptError, warn


class Named(Protocol):
    """What has a name of its own, and settings."""

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """The fields as JSON values."""


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """The methods, or the tasks, that this process knows.

    A class is known from its definition on, under the `name` in its body and under the further names in its `aliases`.
    A name that is not known yet is looked for among the entry points of installed packages.

    Attributes:
        kind: what the classes are called in errors.
        group: the group of entry points.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._classes: dict[str, type[T]] = {}
        self._names: dict[str, tuple[type[T], Mapping[str, Any]]] = {}

    def add(self, new: type[T]) -> None:
        """Make a class known by the names in its body; one without a name is a base of others.

        Raises:
            LightAdaptError: a name is not a text, or is taken by a class of lightadapt's own.
        """
        if "name" not in vars(new):
            return
        names = {new.name: {}, **vars(new).get("aliases", {})}
        for name in names:
            self._check_name(new, name)
        former = self._classes.get(new.name)
        self._names = {name: entry for name, entry in self._names.items() if entry[0] is not former}
        self._names |= {name: (new, settings) for name, settings in names.items()}
        self._classes[new.name] = new

    @property
    def classes(self) -> list[type[T]]:
        """The classes in the order of their definition."""
        return list(self._classes.values())

    def _check_name(self, new: type[T], name: Any) -> None:
        if not isinstance(name, str) or not name:
            raise LightAdaptError(f"{describe(new)} has the name {name!r}. Give a text: name: ClassVar[str] = 'mine'.")
        taken, _ = self._names.get(name, (new, {}))
        if describe(taken) == describe(new):  # a cell of a notebook that runs again
            return
        if taken.__module__.startswith("lightadapt."):
            raise LightAdaptError(
                f"{describe(new)} has the name {name!r}, which is that of lightadapt's own {taken.__name__}. Choose "
                "another name."
            )
        warn(f"The {self.kind} {name!r} is {describe(new)} from here on, no longer {describe(taken)}.")

    def find(self, name: str) -> tuple[type[T], Mapping[str, Any]] | None:
        """The class that a name stands for, with the settings that belong to the name; None when nobody declares it.

        Raises:
            LightAdaptError: an installed package declares the name, but does not hold the class.
        """
        if name not in self._names:
            for entry in entry_points(group=self.group):
                if entry.name == name:
                    self._import(entry)
        return self._names.get(name)

    def _import(self, entry: EntryPoint) -> None:
        """Import what an installed package declares; the class adds itself."""
        where = f"The {self.kind} {entry.name!r} is declared by an installed package as {entry.value}"
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            raise LightAdaptError(f"{where}, which cannot be imported ({error}). Install it again.") from error
        if entry.name not in self._names:
            raise LightAdaptError(f"{where}, but no {self.kind} there has that name. Tell its author.")

    def make(self, known: type[T], settings: Mapping[str, Any]) -> T:
        """An object of a class with these settings.

        Raises:
            LightAdaptError: another setting has no default.
        """
        lacking = [name for name in required_settings(known) if name not in settings]
        if lacking:
            raise LightAdaptError(
                f"{known.__name__} has no default for {', '.join(lacking)}. Pass {self.kind}={known.__name__}(…)."
            )
        return known(**settings)

    def of_json(self, saved: Mapping[str, Any], **more: Any) -> T:
        """The object that `{"name": …, "settings": …}` describes; no code is imported but what is installed for it.

        Args:
            more: settings that are kept elsewhere.

        Raises:
            LightAdaptError: the class is not known here, or it does not know these settings.
        """
        name, settings = saved.get("name"), saved.get("settings")
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            raise LightAdaptError(
                f"{dict(saved)!r} describes no {self.kind}: it has no name and settings. It is damaged."
            )
        found = self.find(name)
        if found is None:
            raise LightAdaptError(
                f"The {self.kind} {name!r} is not known here. Import the module that defines it before load, or "
                "install the package that brings it. If it came with a newer lightadapt: pip install -U lightadapt"
            )
        known, _ = found
        try:
            return known(**settings, **more)
        except TypeError as error:
            package = known.__module__.partition(".")[0]
            raise LightAdaptError(
                f"The {self.kind} {name!r} was saved with the settings {dict(settings)!r}, which this version of "
                f"{package} does not know ({error}). Upgrade: pip install -U {package}"
            ) from error

    def check(self, chosen: Any) -> None:
        """Raise unless `load` would find the class of an object again, and its settings can be saved.

        Raises:
            LightAdaptError: the class has no name of its own, or a setting is no JSON value.
        """
        kind = type(chosen)
        name = getattr(kind, "name", None)
        owner, _ = self._names.get(str(name), (None, {}))
        if owner is None or describe(owner) != describe(kind):
            known = "no name" if owner is None else f"the name {name!r} of {describe(owner)}"
            raise LightAdaptError(
                f"{describe(kind)} has {known}, so load could not find it again. Give it a name of its own: "
                f"name: ClassVar[str] = {kind.__name__.lower()!r}"
            )
        for field, value in chosen.settings().items():
            try:
                json.dumps(value)
            except TypeError as error:
                raise LightAdaptError(
                    f"{kind.__name__}({field}={value!r}) cannot be saved ({error}). Give plain numbers, texts, lists "
                    "and dicts."
                ) from error

    def names_of(self, known: type[T]) -> dict[str, Mapping[str, Any]]:
        """The names that stand for a class, its own first, each with the settings that belong to it."""
        return {name: settings for name, (owner, settings) in self._names.items() if owner is known}

    @property
    def names(self) -> list[str]:
        """Every name that is known without looking for entry points."""
        return list(self._names)


def own_classes(package: str, registry: Registry[T]) -> dict[str, type[T]]:
    """The classes that the modules of a package of ours define, by name, in the order of the public names."""
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    order = list(lightadapt.HOMES)
    found = [known for known in registry.classes if known.__module__.startswith(f"{package}.")]
    found.sort(key=lambda known: order.index(known.__name__) if known.__name__ in order else len(order))
    return {known.name: known for known in found}


def describe(known: type) -> str:
    """Where a class is defined, and its name there."""
    return f"{known.__module__}.{known.__qualname__}"


def required_settings(known: type) -> list[str]:
    """The fields of a dataclass that have no default."""
    return [
        each.name for each in fields(known) if each.init and each.default is MISSING and each.default_factory is MISSING
    ]
