"""The methods, one file each, and how a name finds one."""

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.full import Full
from lightadapt.methods.lora import LoRA
from lightadapt.methods.method import Method, Plan
from lightadapt.methods.probe import Probe

__all__ = ["METHODS", "Full", "LoRA", "Method", "Plan", "Probe", "resolve_method"]

METHODS: dict[str, type[Method]] = {method.name: method for method in (LoRA, Probe, Full)}


def resolve_method(method: str | Method) -> Method:
    """The method of that name with its defaults, or the given method object."""
    if isinstance(method, Method):
        return method
    if isinstance(method, type) and issubclass(method, Method):
        return method()
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]()
    if type(method).__module__.startswith("peft."):
        raise LightAdaptError(
            f"method is a {type(method).__name__}: configs of PEFT come with a later version of lightadapt. "
            f"Methods: {', '.join(METHODS)}"
        )
    raise LightAdaptError(f"Unknown method {method!r}. {nearest(str(method), METHODS)}Methods: {', '.join(METHODS)}")
