"""Which class transformers' Auto classes have for an architecture."""

from __future__ import annotations

import transformers
from transformers import PretrainedConfig, PreTrainedModel


def mapped_class(auto_class: str, config: PretrainedConfig) -> type[PreTrainedModel] | None:
    """The class that transformers' Auto class of this name has for an architecture; None without one."""
    known = getattr(transformers, auto_class)._model_mapping if hasattr(transformers, auto_class) else {}
    if type(config) not in known:
        return None
    found = known[type(config)]
    return found[0] if isinstance(found, tuple) else found  # type: ignore[no-any-return]


def is_mapped(auto_class: str, config: PretrainedConfig) -> bool:
    """Whether that Auto class knows the architecture."""
    return mapped_class(auto_class, config) is not None
