"""Probabilities of labels by adaptations of the same base, each fine-tuned without the records that it judges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightadapt.adaptation.runner import Prepared
from lightadapt.adaptation.several import Several
from lightadapt.tasks import Label
from lightadapt.training.fit import fit
from lightadapt.training.settings import read_settings

NAME = "without-fold"
"""What each is called as long as it is there; a number makes it a new name."""
DEFAULTS = read_settings({"disable_tqdm": True})


def fine_tuned_out_of_fold(
    several: Several, learned: Prepared, judged: Sequence[int], folds: np.ndarray, names: Sequence[Label]
) -> np.ndarray:
    """The probability of each of the K labels for each record that is judged, `(N, K)`.

    For each fold an adaptation of the kind that is in use is hung on the base, learns from the other folds by the
    defaults of `fit`, and is taken off again.

    Args:
        judged: the places of N records among those learned from.
        folds: `(N,)`.
        names: the K labels.

    Raises:
        LightAdaptError: the method changes the base itself, which then cannot be shared.
    """
    runner, found = several.in_use, np.zeros((len(judged), len(names)))
    name = next(each for number in range(len(several.names) + 1) if (each := f"{NAME}-{number}") not in several.names)
    for fold in np.unique(folds):
        own, others = np.flatnonzero(folds == fold), [judged[int(row)] for row in np.flatnonzero(folds != fold)]
        several.hang(name, runner.adaptation.design, learned.task, runner.tokenizer)
        try:
            with several.computing(several.named(name), learning=True) as fresh:
                fit(
                    fresh,
                    learned.records.only(others),
                    None,
                    DEFAULTS,
                    unlabelled=None,
                    columns={},
                    callbacks=(),
                    on_error="raise",
                )
                places = [judged[int(row)] for row in own]
                examples = [learned.examples[place] for place in places]
                for row, prediction in zip(own, fresh.predict(examples, learned.records.only(places)), strict=True):
                    found[row] = [prediction[label] for label in names]
        finally:
            several.remove(name)
    return found
