"""Conversations as text by a chat template, without transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from packaging.version import Version

from lightadapt.errors import LightAdaptError

SAFE = Version("3.1.6")
"""Templates come with models; before this release of jinja2 they could run code."""


def render_chat(template: str, values: Mapping[str, Any]) -> str:
    """What a template makes of messages, with what transformers gives templates beside them.

    Raises:
        LightAdaptError: jinja2 is missing.
    """
    return str(_compiled(template).render(**values))


@cache
def _compiled(template: str) -> Any:
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.nodes import CallBlock
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from jinja2.utils import Namespace
    except ImportError:
        raise LightAdaptError("Conversations need jinja2, not installed here: pip install 'jinja2>=3.1.6'") from None
    if Version(jinja2.__version__) < SAFE:
        raise LightAdaptError(
            f"Templates could leave the sandbox of jinja2 {jinja2.__version__}: pip install -U 'jinja2>=3.1.6'"
        )

    class Generation(Extension):
        """`{% generation %}` marks what the assistant says, and changes nothing of it."""

        tags = {"generation"}  # noqa: RUF012, jinja2 says so

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return CallBlock(self.call_method("_given"), [], [], body).set_lineno(line)

        def _given(self, caller: Any) -> str:
            return str(caller())

    class Names(Namespace):
        """A namespace of a template, which holds nothing that Python itself looks for."""

        def __init__(*args: Any, **values: Any) -> None:
            Namespace.__init__(*args, **values)
            given = dict(*args[1:], **values)
            if any(name.startswith("_") for name in given):
                _refuse("a namespace takes no names that begin with an underscore")

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                _refuse("a namespace takes no names that begin with an underscore")
            super().__setitem__(name, value)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["namespace"] = Names
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _as_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON without the escapes for HTML that jinja2's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise ValueError(message)
