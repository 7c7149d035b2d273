"""Adapt any pretrained transformer to any NLP task by training about 1 % of it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightadapt.errors import ArtifactError, DataError, LightAdaptError

if TYPE_CHECKING:
    from lightadapt.adaptation.history import History
    from lightadapt.adapted import Adapted
    from lightadapt.api import adapt, load
    from lightadapt.base.inspection import Inspection, inspect
    from lightadapt.methods import IA3, BitFit, Bottleneck, Full, LayerNorm, LoRA, Prefix, Probe, Prompt
    from lightadapt.tasks import (
        NER,
        QA,
        Classification,
        Dialogue,
        Generation,
        MultiLabel,
        MultipleChoice,
        Regression,
        Relation,
        Summarization,
        Translation,
    )

__version__ = "0.1.0"

# Loaded on first use: torch and transformers take seconds, and `import lightadapt` should not.
_HOMES = {
    "adapt": "api",
    "load": "api",
    "Adapted": "adapted",
    "History": "adaptation.history",
    "inspect": "base.inspection",
    "Inspection": "base.inspection",
    **dict.fromkeys(
        (
            "Classification",
            "Dialogue",
            "Generation",
            "MultiLabel",
            "MultipleChoice",
            "NER",
            "QA",
            "Regression",
            "Relation",
            "Summarization",
            "Translation",
        ),
        "tasks",
    ),
    **dict.fromkeys(
        ("LoRA", "Prefix", "Bottleneck", "IA3", "BitFit", "LayerNorm", "Prompt", "Probe", "Full"), "methods"
    ),
}

__all__ = [
    "IA3",
    "NER",
    "QA",
    "Adapted",
    "ArtifactError",
    "BitFit",
    "Bottleneck",
    "Classification",
    "DataError",
    "Dialogue",
    "Full",
    "Generation",
    "History",
    "Inspection",
    "LayerNorm",
    "LightAdaptError",
    "LoRA",
    "MultiLabel",
    "MultipleChoice",
    "Prefix",
    "Probe",
    "Prompt",
    "Regression",
    "Relation",
    "Summarization",
    "Translation",
    "adapt",
    "inspect",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lightadapt' has no attribute {name!r}")
    value = getattr(import_module(f"lightadapt.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
