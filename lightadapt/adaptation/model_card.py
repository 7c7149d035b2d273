"""The model card of an artifact, written from the facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def write_card(facts: Mapping[str, Any], description: str, pipeline: str) -> str:
    """The README.md of an artifact, with the hub's metadata on top.

    Args:
        facts: the manifest.
        description: what the model printed about itself.
        pipeline: the hub's name of the task.
    """
    base, labels = facts["base"]["id"], facts["labels"]
    hub_base = base and not base.startswith(("/", "\\")) and ":" not in base
    metadata = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if hub_base else []),
        f"pipeline_tag: {pipeline}",
        f"tags: [lightadapt, {facts['method']['name']}]",
        "---",
    ]
    sections = [
        f"# {facts['method']['name']} for {facts['task']['name']}, on {base or 'a model in memory'}",
        "Trained with lightadapt: a frozen base model, and the small part "
        "in this folder that was trained on top of it.",
        f"```text\n{description}\n```",
        "## Use\n\n```python\nimport lightadapt as la\n\n"
        'model = la.load("path/to/this/folder")\nmodel.predict([…])\n```',
    ]
    if labels:
        sections.append("## Labels\n\n" + ", ".join(f"`{label}`" for label in labels))
    if facts["metrics"]:
        rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in facts["metrics"].items())
        sections.append(f"## Scores on the validation data\n\n| metric | value |\n|---|---|\n{rows}")
    if facts["training"]:
        rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts["training"].items())
        sections.append(f"## Training\n\n| setting | value |\n|---|---|\n{rows}")
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    sections.append(f"## Versions\n\n{versions}")
    return "\n".join(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else json.dumps(value)
