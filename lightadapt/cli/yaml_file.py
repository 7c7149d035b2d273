"""YAML as people mean it: `no`, `off` and `1e-4` are what they look like, and no key is written twice.

PyYAML follows YAML 1.1, where a class named `no` is False and `1e-4` is a text. This is the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema), for reading and for writing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from lightadapt.errors import LightAdaptError, shown, unquoted

PLAIN = {
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    "null": re.compile(r"~|null|Null|NULL|"),
}
"""What stands for something other than a text, where it is written without quotes."""


class _Reader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, as PyYAML declares it

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is written twice", key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Writer(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, as PyYAML declares it

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _each in (_Reader, _Writer):
    for _name, _pattern in PLAIN.items():
        _each.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern.pattern})$"), None)


def parse(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: it is none; the message says where.

    >>> parse("[no, 1e-4, 3, true, last:4]")
    ['no', 0.0001, 3, True, 'last:4']
    """
    try:
        return yaml.load(text, Loader=_Reader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error


def load(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        LightAdaptError: it cannot be read.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LightAdaptError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise LightAdaptError(f"{path} is not YAML in UTF-8: {unquoted(str(error), 300)}") from error


def read(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        LightAdaptError: it cannot be read, or holds something else.
    """
    content = load(path)
    if not isinstance(content, dict):
        raise LightAdaptError(
            f"{path} holds {shown(content)}. It must hold settings, such as `model: bert-base-cased`."
        )
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping, in its own order, so that `read` gives it again."""
    path.write_text(
        yaml.dump(content, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8"
    )
