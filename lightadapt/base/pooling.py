"""How the vectors of texts are made by an encoder that was trained so that they can be compared."""

from __future__ import annotations

import json
from typing import Any

from lightadapt.base.source import Source, find_file
from lightadapt.heads.pooling import POOLINGS, Pooling

MODULES = "modules.json"
"""Where sentence-transformers says what a model is made of."""
OLDER_NAMES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
"""What its older files call the ways that there are here; it has others, which few models use."""


def pooling_of(source: Source) -> Pooling | None:
    """How an encoder makes vectors that can be compared; None where nothing says that it does.

    That is said by the files that sentence-transformers writes beside a model.
    """
    modules = _read(source, MODULES)
    if not isinstance(modules, list):
        return None
    for module in modules:
        if isinstance(module, dict) and str(module.get("type", "")).endswith("Pooling"):
            return _way_of(_read(source, f"{module.get('path', '1_Pooling')}/config.json"))
    return None


def _way_of(config: Any) -> Pooling | None:
    if not isinstance(config, dict):
        return None
    named = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    ways = [OLDER_NAMES.get(name) for name in named] or [config.get("pooling_mode")]
    return ways[0] if len(ways) == 1 and ways[0] in POOLINGS else None  # several are set side by side


def _read(source: Source, name: str) -> Any:
    """The JSON file of that name beside the model; None where there is none that can be read."""
    if source.id is None:
        return None
    found = find_file(source, name)
    try:
        return None if found is None else json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
