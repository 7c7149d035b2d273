"""Several methods on one data set, by the public names of `lightadapt.experiments.comparison`."""

from lightadapt.experiments.comparison import (
    USUAL_METHODS,
    Comparison,
    Measured,
    Outcome,
    Row,
    Setting,
    as_markdown,
    as_table,
    compare,
    draw_plots,
    read_comparison,
)

Run = Outcome
"""The name that an outcome had at first."""

__all__ = [
    "USUAL_METHODS",
    "Comparison",
    "Measured",
    "Outcome",
    "Row",
    "Run",
    "Setting",
    "as_markdown",
    "as_table",
    "compare",
    "draw_plots",
    "read_comparison",
]
