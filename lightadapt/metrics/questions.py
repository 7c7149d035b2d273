"""Scores of answers to questions, by the rules of SQuAD 2.0."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from lightadapt.metrics.pairs import with_references
from lightadapt.metrics.tally import Counted, ratio

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:an?|the)\b")


def normalize_answer(text: str) -> str:
    """The text as SQuAD compares it: lower case, without ASCII punctuation and a, an, the; single spaces.

    >>> normalize_answer("The  Tallinn-based company, Ltd.")
    'tallinnbased company ltd'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def answer_f1(prediction: str, reference: str) -> float:
    """The F1 of the words that both share after normalisation; without any word in either, 1 if both have none.

    >>> round(answer_f1("in the old town", "old town of Tallinn"), 3)
    0.571
    """
    guess, truth = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not guess or not truth:
        return float(guess == truth)
    return 2 * (Counter(guess) & Counter(truth)).total() / (len(guess) + len(truth))


def question_scores(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """F1 and exact match, 0 to 1: the mean over records of the best over the references of each.

    The rules of SQuAD (Rajpurkar et al., 2016, aclanthology.org/D16-1264) and, for unanswerable questions, SQuAD 2.0
    (Rajpurkar et al., 2018, aclanthology.org/P18-2124). A question without a reference that holds a word has no
    answer; only an empty prediction is right. Data with both kinds of questions gets the scores of either kind too.

    >>> question_scores([["in 1991"], []], ["1991", ""])["has_answer_f1"]
    0.6666666666666666
    """
    rows = _rows(references, predictions)
    answered, unanswered = ([row for wanted, *row in rows if wanted is side] for side in (True, False))
    f1, exact_match = _means(answered + unanswered)
    scores = {"f1": f1, "exact_match": exact_match}
    if answered and unanswered:
        scores["has_answer_f1"], scores["has_answer_exact_match"] = _means(answered)
        scores["no_answer_accuracy"] = _means(unanswered)[1]
    return scores


def question_tally(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> Counted:
    """The scores of `question_scores` for any choice of the records."""
    rows = _rows(references, predictions)
    table = np.array([[wanted, wanted * f1, wanted * exact, not wanted, f1, exact] for wanted, f1, exact in rows])
    both = len({wanted for wanted, *_ in rows}) == 2

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        answered, own_f1, own_exact, unanswered, f1, exact = sums.T
        found = {"f1": f1 / (answered + unanswered), "exact_match": exact / (answered + unanswered)}
        if both:  # a choice may hold none of a kind
            found["has_answer_f1"] = ratio(own_f1, answered, empty=np.nan)
            found["has_answer_exact_match"] = ratio(own_exact, answered, empty=np.nan)
            found["no_answer_accuracy"] = ratio(exact - own_exact, unanswered, empty=np.nan)
        return found

    return Counted.of(table.reshape(len(rows), 6), scores)


def _rows(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> list[tuple[bool, float, float]]:
    """Of each record whether it has an answer, F1 and exact match."""
    found = []
    for texts, prediction in with_references(references, predictions):
        wanted = [text for text in texts if normalize_answer(text)]
        f1 = max(answer_f1(prediction, text) for text in wanted or [""])
        exact = normalize_answer(prediction) in [normalize_answer(text) for text in wanted or [""]]
        found.append((bool(wanted), f1, float(exact)))
    return found


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    count = len(rows) or 1
    return sum(f1 for f1, _ in rows) / count, sum(exact for _, exact in rows) / count
