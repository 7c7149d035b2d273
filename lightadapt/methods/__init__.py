"""The methods, one file each, and how a name finds one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.bitfit import BitFit
from lightadapt.methods.bottleneck import Bottleneck
from lightadapt.methods.full import Full
from lightadapt.methods.ia3 import IA3
from lightadapt.methods.layernorm import LayerNorm
from lightadapt.methods.lora import LoRA
from lightadapt.methods.method import Method, Plan
from lightadapt.methods.peft_method import PeftMethod, method_named, method_of, names_of_peft
from lightadapt.methods.prefix import Prefix
from lightadapt.methods.probe import Probe
from lightadapt.methods.prompt import Prompt
from lightadapt.peft_bridge import PeftConfig

__all__ = [
    "IA3",
    "METHODS",
    "NAMES",
    "BitFit",
    "Bottleneck",
    "Full",
    "LayerNorm",
    "LoRA",
    "Method",
    "PeftMethod",
    "Plan",
    "Prefix",
    "Probe",
    "Prompt",
    "resolve_method",
]

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (LoRA, Prefix, Bottleneck, IA3, BitFit, LayerNorm, Prompt, Probe, Full, PeftMethod)
}
"""By the name under which they are saved."""

NAMES: dict[str, Callable[[], Method]] = {
    "lora": LoRA,
    "dora": lambda: LoRA(dora=True),
    "rslora": lambda: LoRA(rslora=True),
    "prefix": Prefix,
    "bottleneck": Bottleneck,
    "pfeiffer": Bottleneck,
    "houlsby": lambda: Bottleneck(placement="houlsby"),
    "parallel": lambda: Bottleneck(placement="parallel"),
    "ia3": IA3,
    "bitfit": BitFit,
    "layernorm": LayerNorm,
    "prompt": Prompt,
    "probe": Probe,
    "full": Full,
}
"""By the names that a caller may write; PEFT's own come on top."""


def resolve_method(method: Any) -> Method:
    """The method of that name with its defaults, or of a PEFT config, or the given method object.

    Raises:
        LightAdaptError: there is none.
    """
    if isinstance(method, Method):
        return method
    if isinstance(method, type) and issubclass(method, Method) and method not in (Method, PeftMethod):
        return method()
    if isinstance(method, (list, tuple)):
        raise LightAdaptError(
            f"method is a {type(method).__name__}: one adaptation has one method. Several can share a base by "
            "adapted.add(name, method=…, task=…), one at a time in use."
        )
    if isinstance(method, PeftConfig):
        return method_of(method)
    name = str(method).lower()
    found = NAMES[name]() if name in NAMES else method_named(name) if isinstance(method, str) else None
    if found is None:
        known = ", ".join(NAMES)
        near = nearest(name, [*NAMES, *names_of_peft()])
        raise LightAdaptError(f"Unknown method {method!r}. {near}Methods: {known}; and PEFT's own, such as vera.")
    return found


def method_of_json(saved):
    return METHODS[saved["name"]](**saved["settings"])
