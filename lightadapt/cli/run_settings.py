"""The settings of `lightadapt train` from a file, from options and from `--set`, put together and checked by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightadapt.adapted import Adapted
from lightadapt.api import adapt
from lightadapt.cli import yaml_file
from lightadapt.cli.values import parse_setting
from lightadapt.errors import LightAdaptError, listed, nearest, shown, unquoted

PLACES = ("out", "test")
"""Settings of the command itself: the folder of the artifact, and the data to score it on at the end."""
FOLDERS = ("out", "output_dir")
"""Settings that name a folder."""
NEEDED = {"model": "--model", "task": "--task", "train": "--data", "out": "--out"}
"""What there is no default for, and the option that gives it."""
NAMED: dict[str, str | None] = {"method": "lora", "task": None}
"""Settings that are a name, or a name with settings of its own; and the name where none is given."""
NOT_HERE = {
    "callbacks": "It takes Python objects: call fit(…, callbacks=[…]) from a script.",
    "trust_remote_code": "Write --trust-remote-code on the command line, so that no file can ask for it.",
}
"""Arguments that are not to be had from a file, and what to do."""


def _arguments(function: Any) -> list[str]:
    names = [name for name in inspect.signature(function).parameters if name not in ("self", *NOT_HERE)]
    return [name for name in names if name != "resume"]  # it is said of a call, not of a run


OF_ADAPT, OF_FIT = _arguments(adapt), _arguments(Adapted.fit)
KNOWN = [*OF_ADAPT, *OF_FIT, *PLACES]
"""All settings, in the order in which the file of a run has them."""


def put_together(
    config: Path | None,
    options: Mapping[str, Any],
    pairs: Sequence[str],
) -> dict[str, Any]:
    """The settings of a run: those of the file, over which go the options, over which goes what `--set` says.

    Args:
        config: a YAML file, such as an earlier run has left.
        options: those that were written on the command line, by the names of arguments.
        pairs: `name=value`, where the name may have dots: `method.rank=16`.

    Raises:
        LightAdaptError: a name that nothing has, a value that cannot be read, or one that is missing.
    """
    found = {} if config is None else yaml_file.read(config)
    _check_names(found, f"{config}")
    found |= options
    for pair in pairs:
        _set(found, pair)
    lacking = [option for name, option in NEEDED.items() if found.get(name) is None]
    if lacking:
        raise LightAdaptError(f"{lacking[0]} is missing. {listed(NEEDED.values())} are needed, here or in --config.")
    for name in FOLDERS:
        if not isinstance(found.get(name), (str, type(None))):
            raise LightAdaptError(f"{name}={shown(found[name])}: give the path of a folder.")
    return found


def _check_names(found: Mapping[str, Any], where: str) -> None:
    for name in found:
        if name in NOT_HERE:
            raise LightAdaptError(f"{where}: {name!r} cannot be set there. {NOT_HERE[name]}")
        if name not in KNOWN:
            close = nearest(str(name).replace("-", "_"), KNOWN)
            raise LightAdaptError(f"{where}: {shown(name)} is not a setting. {close}Settings: {listed(KNOWN, 40)}")


def _set(found: dict[str, Any], pair: str) -> None:
    """Set one value, which may be of a setting that is a name so far: `method: lora` gets `rank`."""
    path, value = parse_setting(pair, "method.rank=16")
    first, *rest = path.split(".")
    _check_names({first: value}, f"--set {unquoted(pair)}")
    if not rest:
        found[first] = value
        return
    if first in NAMED and isinstance(found.setdefault(first, NAMED[first]), str):
        found[first] = {"name": found[first]}
    inner = found
    for name in (first, *rest[:-1]):
        outer = inner.get(name)
        if outer is not None and not isinstance(outer, Mapping):
            raise LightAdaptError(
                f"--set {unquoted(pair)}: {name} is {shown(outer)}, which has no settings of its own."
            )
        inner[name] = dict(outer or {})  # not that of the file or of another option
        inner = inner[name]
    inner[rest[-1]] = value
