"""Labels: which records to label next, and which of those that are there are probably wrong."""

from lightadapt.labelling.choosing import choose
from lightadapt.labelling.results import Choice, Choices, Suspect, Suspects
from lightadapt.labelling.suspecting import find_suspects

__all__ = ["Choice", "Choices", "Suspect", "Suspects", "choose", "find_suspects"]
