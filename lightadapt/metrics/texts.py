"""Scores of texts against one or several references."""

from __future__ import annotations

from collections.abc import Sequence

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.metrics.pairs import with_references
from lightadapt.metrics.scripts import Words, bleu_tokenizer, is_mostly_ascii

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
    pairs = with_references(references, predictions)
    for index, (texts, _) in enumerate(pairs):
        if not texts:
            raise LightAdaptError(f"Record {index} has no reference. Give one at least, which may be empty: [''].")
    if not pairs:
        return dict.fromkeys(names, 0.0)
    scores = _rouge(pairs, [name for name in names if name.startswith("rouge")])
    if "exact_match" in names:
        hits = [prediction.strip() in [text.strip() for text in texts] for texts, prediction in pairs]
        scores["exact_match"] = sum(hits) / len(hits)
    scores |= {name: _sacrebleu(pairs, name) for name in names if name in ("bleu", "chrf")}
    return {name: scores[name] for name in names}


def _sacrebleu(pairs: list[tuple[list[str], str]], name: str) -> float:
    from sacrebleu.metrics import BLEU, CHRF

    if name == "chrf":
        metric = CHRF()
    else:  # force: no advice about tokenised texts on stderr
        metric = BLEU(force=True, tokenize=bleu_tokenizer(text for texts, _ in pairs for text in texts))
    most = max(len(texts) for texts, _ in pairs)
    # sacrebleu wants the first references of all records, then the second ones, None where a record has no more.
    streams = [[texts[number] if number < len(texts) else None for texts, _ in pairs] for number in range(most)]
    return float(metric.corpus_score([prediction for _, prediction in pairs], streams).score)


def _rouge(pairs: list[tuple[list[str], str]], names: list[str]) -> dict[str, float]:
    if not names:
        return {}
    from rouge_score.rouge_scorer import RougeScorer

    official = is_mostly_ascii(text for texts, _ in pairs for text in texts)
    scorer = RougeScorer(names, tokenizer=None if official else Words())
    best = [scorer.score_multi(texts, prediction) for texts, prediction in pairs]
    return {name: float(sum(row[name].fmeasure for row in best) / len(best)) for name in names}
