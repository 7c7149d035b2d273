"""How a fit goes about it by default: the usual way, and one for a few records of each class."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lightadapt.errors import LightAdaptError, nearest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What differs from one way of training to another, where the user says nothing."""

    name: str
    records_per_step: int
    """Records in a batch of the default token budget."""
    steps_wanted: int
    """Steps that the default number of epochs aims at: small data sets are seen more often."""
    epochs_least: int
    epochs_most: int
    evaluations: int | None
    """The most evaluations of a run; None: one an epoch."""


STANDARD = Recipe(
    name="standard", records_per_step=16, steps_wanted=1000, epochs_least=3, epochs_most=20, evaluations=None
)
FEW_SHOT = Recipe(name="few-shot", records_per_step=32, steps_wanted=40, epochs_least=2, epochs_most=40, evaluations=4)
"""Rows of the head start at the means of their classes, and a contrast between classes is learned beside them
(`benchmarks/few_labels.py`)."""
FEW_SHOT_OF_MANY = replace(STANDARD, name=FEW_SHOT.name)
"""Likewise for more records than are few, where it is asked for: it takes no longer than the usual way."""
FEW_TAGS = Recipe(
    name="few-shot", records_per_step=16, steps_wanted=120, epochs_least=20, epochs_most=60, evaluations=10
)
"""Likewise for tags of tokens, whose rows start at the means of their tokens."""
RECIPES = {recipe.name: recipe for recipe in (STANDARD, FEW_SHOT)}


def check_recipe(name: str | None) -> None:
    """Raise for a name that no recipe has.

    Raises:
        LightAdaptError: with those that there are.
    """
    if name is not None and name not in RECIPES:
        raise LightAdaptError(
            f"recipe={name!r} is unknown. {nearest(str(name), RECIPES)}Known: {', '.join(map(repr, RECIPES))}. Leave "
            "it out to choose by the number of records."
        )
