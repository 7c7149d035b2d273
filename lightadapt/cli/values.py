"""Values of options as the library takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightadapt.errors import LightAdaptError, shown, unquoted


def parse_layers(text: str | None) -> str | list[int] | None:
    """The blocks: numbers with commas between become a list.

    >>> parse_layers("0,1,5"), parse_layers("last:4")
    ([0, 1, 5], 'last:4')
    """
    try:
        return [int(part) for part in (text or "").split(",")]
    except ValueError:
        return text  # the library reads it, or says what may stand here


def parse_names(text: str | None) -> list[str] | None:
    """The names in a text with commas between.

    >>> parse_names("refund, delivery")
    ['refund', 'delivery']
    """
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def parse_labels(text: str | None) -> Any:
    """The labels: names with commas between, or what a YAML file holds, a list or `{label: description}`.

    Raises:
        LightAdaptError: there is no such file, or it holds something else.

    >>> parse_labels("refund, delivery")
    ['refund', 'delivery']
    """
    if text is None or not text.lower().endswith((".yaml", ".yml", ".json")):
        return parse_names(text)
    from lightadapt.cli import yaml_file

    found = yaml_file.load(Path(text))
    if not isinstance(found, (list, dict)):
        raise LightAdaptError(
            f"{text} holds {shown(found)}. It must hold labels: a list, or a line `label: what it means` for each."
        )
    return found


def parse_columns(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """`{field: column}` of texts such as `text=sentence`; None where there are none.

    Raises:
        LightAdaptError: a text is no such pair.
    """
    for pair in pairs or ():
        if not all(pair.partition("=")):
            raise LightAdaptError(f"--columns {pair}: write field=column, such as text=sentence.")
    return {field: column for field, _, column in (pair.partition("=") for pair in pairs)} if pairs else None


def parse_settings(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`{name: value}` of texts such as `opset=20`, whose values are YAML.

    Raises:
        LightAdaptError: a text is no such pair, or its value cannot be read.

    >>> parse_settings(["opset=20", "dtype=float32"])
    {'opset': 20, 'dtype': 'float32'}
    """
    return dict(parse_setting(pair, "opset=20") for pair in pairs or ())


def parse_setting(pair: str, example: str) -> tuple[str, Any]:
    """The name and the value of a text such as `opset=20`, whose value is YAML.

    Args:
        example: a right one, for the error.

    Raises:
        LightAdaptError: the text is no such pair, or its value cannot be read.
    """
    from lightadapt.cli import yaml_file

    name, separator, text = pair.partition("=")
    if not separator or not name:
        raise LightAdaptError(f"--set {unquoted(pair)}: write name=value, such as {example}.")
    try:
        return name, yaml_file.parse(text)
    except ValueError as error:
        raise LightAdaptError(f"--set {unquoted(pair)}: the value is not YAML ({error}). Quote a text.") from error


def parse_share(text: str | None) -> Any:
    """Validation data: a number is a share of the training data, anything else names the data.

    >>> parse_share("0.1"), parse_share("dev.conll")
    (0.1, 'dev.conll')
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def given(**options: Any) -> dict[str, Any]:
    """The options that were written, as opposed to left out."""
    return {name: value for name, value in options.items() if value is not None}
