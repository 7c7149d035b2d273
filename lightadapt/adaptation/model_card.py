"""The model card of an artifact, written from the facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

PLACE = "path/to/this/folder"
"""Stands for the folder of the artifact, or for its id on the hub once it has one."""


def write_card(
    facts: Mapping[str, Any], description: str, pipeline: str, *, stock_class: str | None, own_tuner: bool
) -> str:
    """The README.md of an artifact, with the hub's metadata on top; it names no folder of the machine it is written on.

    Args:
        facts: the manifest.
        description: what the model printed about itself.
        pipeline: the hub's name of the task.
        stock_class: the Auto class of transformers whose model PEFT hangs the adapter on; None where transformers has
            none that computes the same.
        own_tuner: whether the adapter is of a kind that PEFT learns of from lightadapt.
    """
    full = facts["base"]["id"]
    base = None if full is None else _base_name(full)
    metadata = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if base and base == full else []),
        f"pipeline_tag: {pipeline}",
        f"tags: [lightadapt, {facts['method']['name']}]",
        "---",
    ]
    shown = description if full is None else description.replace(full, str(base))
    sections = [
        f"# {facts['method']['name']} for {facts['task']['name']}, on {base or 'a model in memory'}",
        "Trained with lightadapt: a frozen base model, and the small part "
        "in this folder that was trained on top of it.",
        f"```text\n{shown}\n```",
        _use(facts, base),
    ]
    if stock_class is not None:
        sections.append(_stock_use(facts, base, stock_class, own_tuner=own_tuner))
    if facts["labels"]:
        sections.append("## Labels\n\n" + _labels(facts))
    if facts["metrics"]:
        rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in facts["metrics"].items())
        sections.append(f"## Scores on the validation data\n\n| metric | value |\n|---|---|\n{rows}")
    if facts["training"]:
        rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts["training"].items())
        sections.append(f"## Training\n\n| setting | value |\n|---|---|\n{rows}")
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    sections.append(f"## Versions\n\n{versions}")
    return "\n".join(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _labels(facts: Mapping[str, Any]) -> str:
    """The labels in a row; as a list, where it is said what they mean."""
    meant = facts["task"]["settings"].get("descriptions")
    if not meant:
        return ", ".join(f"`{label}`" for label in facts["labels"])
    return "\n".join(f"- `{label}`: {'; '.join(meant.get(str(label), ('–',)))}" for label in facts["labels"])


def _base_name(base: str) -> str:
    """The id on the hub, or of a folder its own name."""
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(base).is_absolute():
            return kind(base).name or "base"
    return base


def _place_of_base(facts: Mapping[str, Any], base: str | None) -> str:
    """Where the base is for whoever reads the card."""
    return base if base is not None and base == facts["base"]["id"] else f"path/to/{base or 'the-base-model'}"


def _use(facts: Mapping[str, Any], base: str | None) -> str:
    place = _place_of_base(facts, base)
    where = "" if place == base else f", base={place!r}"
    return (
        f'## Use\n\n```python\nimport lightadapt as la\n\nmodel = la.load("{PLACE}"{where})\n'
        "print(model.predict([…]))\n```"
    )


def _stock_use(facts: Mapping[str, Any], base: str | None, stock_class: str, *, own_tuner: bool) -> str:
    """How transformers and PEFT use the artifact: logits, under the names of the outputs."""
    revision = facts["base"]["revision"] if _place_of_base(facts, base) == base else None
    options = [
        *([f"revision={revision!r}"] if revision else []),
        *(["id2label=dict(enumerate(outputs))"] if facts["outputs"] else []),
        f"dtype={facts['dtype']!r}",
    ]
    lines = [
        *(["import lightadapt.tuners  # tells PEFT of this kind of adapter"] if own_tuner else []),
        "from peft import PeftModel",
        f"from transformers import {stock_class}, AutoTokenizer",
        "",
        *([f"outputs = {list(facts['outputs'])!r}"] if facts["outputs"] else []),
        f'folder = "{PLACE}"',
        f'base = {stock_class}.from_pretrained("{_place_of_base(facts, base)}", {", ".join(options)})',
        "model = PeftModel.from_pretrained(base, folder).eval()",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        *(["model.config.pad_token_id = tokenizer.pad_token_id"] if "SequenceClassification" in stock_class else []),
    ]
    text = "\n".join(lines)
    return f"With transformers and PEFT:\n\n```python\n{text}\n```"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)
