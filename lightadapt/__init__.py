"""Adapt any pretrained transformer to any NLP task by training about 1 % of it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightadapt.errors import ArtifactError as ArtifactError
from lightadapt.errors import DataError as DataError
from lightadapt.errors import LightAdaptError as LightAdaptError
from lightadapt.errors import nearest as _nearest

__version__ = "0.1.0"

HOMES = {
    "adapt": "api",
    "load": "api",
    "serve": "serving.server",
    "load_onnx": "runtime.model",
    "inspect": "base.inspection",
    "split": "data.splitting",
    "compare_models": "evaluation.comparing",
    "tune": "experiments.tuning.search",
    "Adapted": "adapted",
    "History": "adaptation.history",
    "Exported": "export.exported",
    "OnnxModel": "runtime.model",
    "Inspection": "base.inspection",
    "Scores": "evaluation.scores",
    "Study": "experiments.tuning.results",
    "Drift": "stream.findings",
    "LoRA": "methods.lora",
    "Prefix": "methods.prefix",
    "Bottleneck": "methods.bottleneck",
    "IA3": "methods.ia3",
    "BitFit": "methods.bitfit",
    "LayerNorm": "methods.layernorm",
    "Prompt": "methods.prompt",
    "Probe": "methods.probe",
    "Full": "methods.full",
    "Classification": "tasks.classification",
    "MultiLabel": "tasks.multilabel",
    "Regression": "tasks.regression",
    "NER": "tasks.ner",
    "QA": "tasks.qa",
    "Relation": "tasks.relation",
    "MultipleChoice": "tasks.multiple_choice",
    "Generation": "tasks.generation",
    "Summarization": "tasks.summarization",
    "Translation": "tasks.translation",
    "Dialogue": "tasks.dialogue",
}
"""The module of each public name, which is loaded on first use: torch and transformers take seconds, and
`import lightadapt` should not. Methods and tasks are listed to users in this order."""

WITHOUT_TORCH = ("load_onnx", "OnnxModel")
"""The public names that work where neither torch nor transformers is installed."""

if TYPE_CHECKING:  # the same for readers of types; a test compares the two
    from lightadapt.adaptation.history import History as History
    from lightadapt.adapted import Adapted as Adapted
    from lightadapt.api import adapt as adapt
    from lightadapt.api import load as load
    from lightadapt.base.inspection import Inspection as Inspection
    from lightadapt.base.inspection import inspect as inspect
    from lightadapt.data.splitting import split as split
    from lightadapt.evaluation.comparing import compare_models as compare_models
    from lightadapt.evaluation.scores import Scores as Scores
    from lightadapt.experiments.tuning.results import Study as Study
    from lightadapt.experiments.tuning.search import tune as tune
    from lightadapt.export.exported import Exported as Exported
    from lightadapt.methods.bitfit import BitFit as BitFit
    from lightadapt.methods.bottleneck import Bottleneck as Bottleneck
    from lightadapt.methods.full import Full as Full
    from lightadapt.methods.ia3 import IA3 as IA3
    from lightadapt.methods.layernorm import LayerNorm as LayerNorm
    from lightadapt.methods.lora import LoRA as LoRA
    from lightadapt.methods.prefix import Prefix as Prefix
    from lightadapt.methods.probe import Probe as Probe
    from lightadapt.methods.prompt import Prompt as Prompt
    from lightadapt.runtime.model import OnnxModel as OnnxModel
    from lightadapt.runtime.model import load_onnx as load_onnx
    from lightadapt.serving.server import serve as serve
    from lightadapt.stream.findings import Drift as Drift
    from lightadapt.tasks.classification import Classification as Classification
    from lightadapt.tasks.dialogue import Dialogue as Dialogue
    from lightadapt.tasks.generation import Generation as Generation
    from lightadapt.tasks.multilabel import MultiLabel as MultiLabel
    from lightadapt.tasks.multiple_choice import MultipleChoice as MultipleChoice
    from lightadapt.tasks.ner import NER as NER
    from lightadapt.tasks.qa import QA as QA
    from lightadapt.tasks.regression import Regression as Regression
    from lightadapt.tasks.relation import Relation as Relation
    from lightadapt.tasks.summarization import Summarization as Summarization
    from lightadapt.tasks.translation import Translation as Translation

__all__ = sorted(["ArtifactError", "DataError", "LightAdaptError", *HOMES])


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'lightadapt' has no attribute {name!r}. {_nearest(name, __all__)}".rstrip())
    if name not in WITHOUT_TORCH:
        import_module("lightadapt.machine.late").import_peft()
    value = getattr(import_module(f"lightadapt.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
