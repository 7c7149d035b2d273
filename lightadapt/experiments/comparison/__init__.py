"""Several methods on one data set: what each trains, what it takes, and what comes of it."""

from lightadapt.experiments.comparison.inputs import USUAL_METHODS
from lightadapt.experiments.comparison.plots import draw_plots
from lightadapt.experiments.comparison.results import Comparison, Measured, Outcome, Row, Setting, read_comparison
from lightadapt.experiments.comparison.runs import compare
from lightadapt.experiments.comparison.tables import as_markdown, as_table

__all__ = [
    "USUAL_METHODS",
    "Comparison",
    "Measured",
    "Outcome",
    "Row",
    "Setting",
    "as_markdown",
    "as_table",
    "compare",
    "draw_plots",
    "read_comparison",
]
