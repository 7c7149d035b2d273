"""The adapted model: what `adapt` and `load` return."""

from __future__ import annotations

from lightadapt.adaptation.manifest import describe
from lightadapt.adapted.answering import Answering
from lightadapt.adapted.growing import Growing
from lightadapt.adapted.keeping import Keeping
from lightadapt.adapted.learning import Learning
from lightadapt.display import html


class Adapted(Learning, Answering, Growing, Keeping):
    """A base model with a method inserted and a head for a task; made by `adapt` and `load`.

    Several adaptations can share the base: `add` and `load(…, onto=…)` make others, `use` says which one is meant.
    """

    def __str__(self) -> str:
        own = self.runner.adaptation.name
        others = [name for name in self.names if name != own]
        shown = describe(self.runner)
        return f"{shown}\n{'in use':<10} {own}; also {', '.join(others)}" if others else shown

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: the facts of `print` as a table."""
        return html.facts(str(self))
