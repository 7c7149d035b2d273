"""PEFT tuners of our own; importing them makes them known to PEFT."""

from lightadapt.tuners.bitfit import BitFitConfig, BitFitLayer
from lightadapt.tuners.bottleneck import BottleneckConfig, BottleneckLayer
from lightadapt.tuners.prefix import PrefixConfig, PrefixLayer
from lightadapt.tuners.prompt import PromptConfig, PromptLayer

__all__ = [
    "BitFitConfig",
    "BitFitLayer",
    "BottleneckConfig",
    "BottleneckLayer",
    "PrefixConfig",
    "PrefixLayer",
    "PromptConfig",
    "PromptLayer",
]
