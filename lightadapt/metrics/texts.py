"""Scores of texts against one or several references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.metrics.pairs import with_references
from lightadapt.metrics.scripts import Words, bleu_tokenizer, is_mostly_ascii
from lightadapt.metrics.tally import Counted, Together, ratio

TEXT_METRICS = ("exact_match", "bleu", "chrf", "rouge1", "rouge2", "rougeL")
"""What `text_scores` can compute."""
OF_HUNDRED = ("bleu", "chrf")
"""Those whose best value is 100; that of the others is 1."""


def text_scores(
    references: Sequence[Sequence[str]], predictions: Sequence[str], names: Sequence[str]
) -> dict[str, float]:
    """The scores asked for in `names`, in that order.

    `exact_match` is the share of predictions equal to a reference but for white space around them (0 to 1). `bleu`
    and `chrf` are of the whole corpus (0 to 100, sacrebleu's defaults; texts in a script without spaces are split into
    characters for `bleu`). `rouge1`, `rouge2` and `rougeL` are the mean over records of the best F-measure over the
    references (0 to 1, rouge-score without stemming, which reads the letters a to z and digits; where most letters of
    the references are others, words of any script). Records may have different numbers of references, but each has one
    at least.

    >>> text_scores([["a red apple", "an apple"], ["a pear"]], ["an apple ", "the pear"], ["exact_match", "rouge1"])
    {'exact_match': 0.5, 'rouge1': 0.75}

    Raises:
        LightAdaptError: an unknown name, or a record without a reference.
    """
    for name in names:
        if name not in TEXT_METRICS:
            hint = nearest(name, TEXT_METRICS)
            raise LightAdaptError(f"Unknown text metric {name!r}. {hint}Text metrics: {', '.join(TEXT_METRICS)}.")
    pairs = _checked(references, predictions)
    if not pairs:
        return dict.fromkeys(names, 0.0)
    scores = {name: sum(values) / len(values) for name, values in _of_records(pairs, names).items()}
    scores |= {name: _sacrebleu(pairs, name) for name in names if name in OF_HUNDRED}
    return {name: scores[name] for name in names}


def text_tally(references: Sequence[Sequence[str]], predictions: Sequence[str], names: Sequence[str]) -> Together:
    """The scores of `text_scores` for any choice of the records, of which there is one at least.

    BLEU and chrF are those of the sums of what sacrebleu counts in each record, as in its own bootstrap.
    """
    pairs = _checked(references, predictions)
    single = _of_records(pairs, names)

    def means(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {name: ratio(sums[:, place], sums[:, 0]) for place, name in enumerate(single, 1)}

    rows = np.array([[1.0] * len(pairs), *single.values()]).T
    return Together([Counted.of(rows, means), *(_corpus_tally(pairs, name) for name in names if name in OF_HUNDRED)])


def _corpus_tally(pairs: list[tuple[list[str], str]], name: str) -> Counted:
    """One of sacrebleu's metrics; it opens what it counts in each record to nothing but its own bootstrap."""
    metric = _metric(pairs, name)

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.rint(sums).astype(int).tolist()
        return {name: np.array([float(metric._compute_score_from_stats(row).score) for row in rows])}

    return Counted.of(metric._extract_corpus_statistics(*_streams(pairs)), score)


def _checked(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> list[tuple[list[str], str]]:
    """The references and the prediction of each record.

    Raises:
        LightAdaptError: a record has no reference.
    """
    pairs = with_references(references, predictions)
    for index, (texts, _) in enumerate(pairs):
        if not texts:
            raise LightAdaptError(f"Record {index} has no reference. Give one at least, which may be empty: [''].")
    return pairs


def _of_records(pairs: list[tuple[list[str], str]], names: Sequence[str]) -> dict[str, list[float]]:
    """The scores that are means over the records, of each record."""
    scores = _rouge(pairs, [name for name in names if name.startswith("rouge")])
    if "exact_match" in names:
        scores["exact_match"] = [
            float(prediction.strip() in [text.strip() for text in texts]) for texts, prediction in pairs
        ]
    return scores


def _sacrebleu(pairs: list[tuple[list[str], str]], name: str) -> float:
    return float(_metric(pairs, name).corpus_score(*_streams(pairs)).score)


def _metric(pairs: list[tuple[list[str], str]], name: str) -> Any:
    """The metric of sacrebleu."""
    from sacrebleu.metrics import BLEU, CHRF

    if name == "chrf":
        return CHRF()
    # force: no advice about tokenised texts on stderr
    return BLEU(force=True, tokenize=bleu_tokenizer(text for texts, _ in pairs for text in texts))


def _streams(pairs: list[tuple[list[str], str]]) -> tuple[list[str], list[list[str | None]]]:
    """The predictions, and the references as sacrebleu wants them.

    First those that come first in each record, then the second ones, None where a record has no more.
    """
    most = max(len(texts) for texts, _ in pairs)
    streams = [[texts[number] if number < len(texts) else None for texts, _ in pairs] for number in range(most)]
    return [prediction for _, prediction in pairs], streams


def _rouge(pairs: list[tuple[list[str], str]], names: list[str]) -> dict[str, list[float]]:
    if not names:
        return {}
    from rouge_score.rouge_scorer import RougeScorer

    official = is_mostly_ascii(text for texts, _ in pairs for text in texts)
    scorer = RougeScorer(names, tokenizer=None if official else Words())
    best = [scorer.score_multi(texts, prediction) for texts, prediction in pairs]
    return {name: [float(row[name].fmeasure) for row in best] for name in names}
