"""A search for the settings that suit a model and data best, on Optuna: one process a trial, within a budget."""

from lightadapt.experiments.tuning.results import Study, Trial
from lightadapt.experiments.tuning.search import tune

__all__ = ["Study", "Trial", "tune"]
