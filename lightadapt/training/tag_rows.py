"""Where the rows of a head that tags tokens start when there are few sentences: at the means of the tags' tokens.

A fresh row has to turn towards the tokens of its tag first, for which few sentences give too few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lightadapt.adaptation.layer_inputs import answers_of
from lightadapt.adaptation.runner import Runner
from lightadapt.heads.apart import FAR, nearest_apart
from lightadapt.heads.outputs import output_layer

SURE = 8.0
"""How sure the rows are at first: a token as far from one mean as tokens are from their own on average is less probable
there by the factor exp(-SURE / 2) than at the mean itself."""


def start_tags(runner: Runner, features: Sequence[Any]) -> None:
    """Let the rows of a fresh head tell tags apart by the distances to the means of their tokens.

    As in a network of prototypes (Snell et al. 2017), with the frequency of the tags beside it:
    logit_k(x) = log p_k - SURE / 2 |x - m_k|² / s², where s² is the mean of |x - m|² over tokens and the means of their
    own tags, or so much that no tags are further apart than `FAR`: the one token of a tag is at its mean, which says
    nothing of others. What all logits have in common is left out, so it is linear in x. A tag of no token has its
    frequency alone. A head without an output layer stays as it is.

    Args:
        features: with targets.
    """
    layer = output_layer(runner.adaptation.head.modules, len(runner.outputs))
    if layer is None:
        return
    answers = answers_of(runner, layer, features)
    tags = np.array([each.outputs[0] for each in answers])
    rows, biases = rows_of(np.stack([each.inputs for each in answers]).astype(np.float64), tags, layer.out_features)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(rows))
        if layer.bias is not None:
            layer.bias.copy_(torch.as_tensor(biases))


def rows_of(inputs: np.ndarray, tags: np.ndarray, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows `(K, width)` and the biases `(K,)` of `start_tags`, from the inputs of tokens `(N, width)`.

    Args:
        tags: the output of each token, `(N,)`.
        outputs: K.
    """
    counts = np.bincount(tags, minlength=outputs)
    sums = np.zeros((outputs, inputs.shape[1]))
    np.add.at(sums, tags, inputs)
    centre = inputs.mean(0)
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centre)
    there = means[counts > 0]
    around = float(np.square(inputs - means[tags]).sum(1).mean())
    spread = max(around, SURE / FAR * nearest_apart(there, there), 1e-12)
    apart = means - centre
    rows = SURE / spread * apart
    shares = (counts + 1) / (counts.sum() + outputs)
    return rows, np.log(shares) - 0.5 * (rows * apart).sum(1) - rows @ centre
