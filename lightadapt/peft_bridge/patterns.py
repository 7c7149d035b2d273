"""Regular expressions of modules' paths, in bounded time: those of a stranger's folder may be made to take years.

PEFT matches with `re`, which cannot be stopped. So no pattern gets as far as PEFT, but the paths that it stands for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import regex
from peft import PeftConfig
from torch import nn

from lightadapt.errors import LightAdaptError, shown

SECONDS = 1.0
"""How long the patterns of one field may take for all paths together; usual ones take some thousandths."""
LONGEST, MOST_REPEATED = 1_000, 10_000
"""Characters of a pattern, and the product of its counts: the time to compile `(a{1000}){1000}` grows with that."""
PLAIN = re.compile(r"(?:[\w.-]|\\[^\w\s])+")
"""A path as it is, or with its special characters escaped: no pattern that could take long."""
BY_END = ("rank_pattern", "alpha_pattern", "lambda_pattern")
"""Fields of PEFT's configs whose keys are patterns of the ends of paths."""
REFUSED = ("exclude_modules", "layers_pattern")
"""Fields that hold patterns and that nothing here needs."""
OTHERWISE = ("OSF", "FOURIERFT", "C3A", "WAVEFT", "ADALORA")
"""Kinds of PEFT that match such keys in ways of their own."""


def paths_of(pattern: str, paths: Iterable[str]) -> list[str]:
    """The paths that a pattern matches as a whole, as PEFT reads `target_modules="…"`.

    Raises:
        LightAdaptError: it is not a regular expression, or takes too long.
    """
    return _matching(pattern, pattern, list(paths), time.monotonic() + SECONDS)


def values_of(patterns: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The value of the first pattern that matches the end of each path, as PEFT reads `rank_pattern={"…": 8}`.

    Raises:
        LightAdaptError: a key is not a regular expression, or they take too long.
    """
    found: dict[str, Any] = {}
    left, end = list(paths), time.monotonic() + SECONDS
    for pattern, value in patterns.items():
        matched = dict.fromkeys(_matching(pattern, rf"(?:.*\.)?(?:{pattern})", left, end), value)
        found |= matched
        left = [path for path in left if path not in matched]
    return found


def _matching(pattern: str, whole: str, paths: list[str], end: float) -> list[str]:
    """The paths that `whole` matches, before a time of the monotonic clock."""
    try:
        counts = [int(count) for pair in re.findall(r"\{(\d*),?(\d*)", pattern) for count in pair if count.strip("0")]
        if len(pattern) > LONGEST or prod(counts) > MOST_REPEATED:
            raise TimeoutError
        rule = regex.compile(whole)
        return [path for path in paths if rule.fullmatch(path, timeout=max(1e-3, end - time.monotonic()))]
    except (regex.error, TypeError, ValueError) as error:
        raise LightAdaptError(f"{shown(pattern)} is not a regular expression ({error}).") from error
    except TimeoutError as error:
        raise LightAdaptError(
            f"The regular expression {shown(pattern)} takes too long to match. Write it without repeats inside "
            "repeats, such as 'layer.0.*query', or name the modules."
        ) from error


def write_out(config: PeftConfig, model: nn.Module) -> None:
    """Put the paths that they match in a model in the place of the patterns in a config.

    Raises:
        LightAdaptError: a pattern is not a regular expression, takes too long, or PEFT reads it in a way of its own.
    """
    for name in ("target_modules", "feedforward_modules"):
        pattern = getattr(config, name, None)
        if isinstance(pattern, str):
            setattr(config, name, paths_of(pattern, [path for path, _ in model.named_modules() if path]))
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    for name in REFUSED:
        if getattr(config, name, None):
            raise LightAdaptError(f"PEFT's {kind}: {name} is not supported here. Name the targets in target_modules.")
    for name, patterns in vars(config).items():
        if not name.endswith("_pattern") or not isinstance(patterns, Mapping) or all(map(_is_plain, patterns)):
            continue
        if name not in BY_END or kind in OTHERWISE:
            raise LightAdaptError(f"PEFT's {kind}: {name} takes names of modules here, and no regular expressions.")
        values = values_of(patterns, _targeted(config, model))
        setattr(config, name, {re.escape(path): value for path, value in values.items()})


def _is_plain(key: Any) -> bool:
    return isinstance(key, str) and PLAIN.fullmatch(key) is not None


def _targeted(config: PeftConfig, model: nn.Module) -> list[str]:
    """The modules that a config names by their ends, and those around the parameters that it names."""
    modules = _ending(getattr(config, "target_modules", None), (path for path, _ in model.named_modules()))
    parameters = _ending(getattr(config, "target_parameters", None), (path for path, _ in model.named_parameters()))
    return list(dict.fromkeys([*modules, *(path.rpartition(".")[0] for path in parameters)]))


def _ending(names: Iterable[str] | None, paths: Iterable[str]) -> list[str]:
    known = set(names or ())
    ends = tuple(f".{name}" for name in known)
    return [path for path in paths if path in known or path.endswith(ends)]
