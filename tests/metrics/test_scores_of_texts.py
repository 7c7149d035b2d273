"""Scores of answers are SQuAD's, and of texts those of the libraries."""

from __future__ import annotations

import itertools
import string
import sys

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from lightadapt import LightAdaptError
from lightadapt.metrics import (
    TEXT_METRICS,
    answer_f1,
    multilabel_scores,
    normalize_answer,
    question_scores,
    regression_scores,
    relation_scores,
    text_scores,
)

SOME = settings(deadline=None, max_examples=60)
WORDS = ["the", "The", "a", "an", "Ann", "theory", "the-end", "“the”", "U.S.", "it's", "1,991", "—", "!", "É", "İ", "ß"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=4).flatmap(
    lambda words: st.sampled_from([" ", "  ", "\n", "\u00a0"]).map(lambda space: space.join(words))
)


def squad_words(text):
    """The words that SQuAD compares, by its rules in other code: runs of letters and digits instead of a pattern."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    runs = ["".join(run) for _, run in itertools.groupby(kept, str.isalnum)]
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def squad_f1(prediction, reference):
    """Precision and recall of words, each used up once; a side without a word is right only beside another."""
    guess, left = squad_words(prediction), squad_words(reference)
    if not guess or not left:
        return float(guess == left)
    count, shared = len(left), 0
    for word in guess:
        if word in left:
            left.remove(word)
            shared += 1
    precision, recall = shared / len(guess), shared / count
    return 2 * precision * recall / (precision + recall) if shared else 0.0


@given(st.one_of(TEXTS, st.text(max_size=20)))
@SOME
def test_answers_are_normalised_as_in_squad(text):
    assert normalize_answer(text) == " ".join(squad_words(text))


@given(TEXTS, TEXTS)
@SOME
def test_the_f1_of_an_answer_is_squads(prediction, reference):
    assert answer_f1(prediction, reference) == pytest.approx(squad_f1(prediction, reference))


@given(st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), min_size=1, max_size=5))
@SOME
def test_questions_are_scored_as_in_squad_2(records):
    references, predictions = [texts for texts, _ in records], [prediction for _, prediction in records]
    f1, exact = [], []
    for texts, prediction in records:
        wanted = [text for text in texts if squad_words(text)] or [""]
        f1.append(max(squad_f1(prediction, text) for text in wanted))
        exact.append(max(squad_words(prediction) == squad_words(text) for text in wanted))
    scores = question_scores(references, predictions)
    assert list(scores)[:2] == ["f1", "exact_match"]
    assert scores["f1"] == pytest.approx(np.mean(f1))
    assert scores["exact_match"] == pytest.approx(np.mean(exact))


@pytest.mark.parametrize(
    ("references", "prediction", "f1", "exact"),
    [
        (["The Old Town!"], "old town", 1, 1),
        (["an apple"], "a apple", 1, 1),
        (["the-end"], "end", 0, 0),  # punctuation goes first, so "theend" holds no article
        (["“the” end"], "“ ” end", 1, 1),  # these quotes are not ASCII: they stay, and the article between them goes
        (["Émile"], "émile", 1, 1),
        (["Émile"], "Emile", 0, 0),
        (["in 1991", "August 1991", "1991"], "1991", 1, 1),
        (["a b c d", "b x"], "b c d", 1, 1),
        (["red red car"], "red car car", 2 / 3, 0),
        (["1991"], "", 0, 0),
        ([], "", 1, 1),
        ([], "the", 1, 1),  # nothing is left of it
        ([], "1991", 0, 0),
        (["", "the"], "", 1, 1),
        (["the", "1991"], "", 0, 0),
    ],
)
def test_one_question(references, prediction, f1, exact):
    assert question_scores([references], [prediction]) == pytest.approx({"f1": f1, "exact_match": exact})


def test_data_with_both_kinds_of_questions_scores_each_kind():
    scores = question_scores([["in 1991"], ["Tallinn"], [], [""], []], ["1991", "Tallinn", "", "x", "the"])
    assert scores == pytest.approx(
        {
            "f1": (2 / 3 + 1 + 1 + 0 + 1) / 5,
            "exact_match": 3 / 5,
            "has_answer_f1": (2 / 3 + 1) / 2,
            "has_answer_exact_match": 1 / 2,
            "no_answer_accuracy": 2 / 3,
        }
    )


def test_no_question_scores_zero():
    assert question_scores([], []) == {"f1": 0, "exact_match": 0}


REFERENCES = [
    ["the cat sat on the mat .", "a cat sat on a mat ."],
    ["there is a dog", "a dog is there"],
    ["год 1991", "x"],
]
PREDICTIONS = ["a cat sat on the mat .", "", "год 1991 "]


def test_text_scores_are_those_of_the_libraries():
    scores = text_scores(REFERENCES, PREDICTIONS, TEXT_METRICS)
    streams = [[texts[number] for texts in REFERENCES] for number in range(2)]
    assert list(scores) == list(TEXT_METRICS)
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(PREDICTIONS, streams).score)
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(PREDICTIONS, streams).score)
    for name in ("rouge1", "rouge2", "rougeL"):
        rouge = RougeScorer([name], use_stemmer=False)
        best = [
            max(rouge.score(text, prediction)[name].fmeasure for text in texts)
            for texts, prediction in zip(REFERENCES, PREDICTIONS, strict=True)
        ]
        assert scores[name] == pytest.approx(np.mean(best))
    assert 0 < scores["rouge2"] < scores["rouge1"] < 1 < scores["bleu"] < scores["chrf"]


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_record_may_have_more_references_than_another(name):
    uneven = [["dogs bark at night"], ["x", "the cat sat on the mat"], ["y", "two", "two or three apples are left"]]
    predictions = ["dogs", "the cat sat on it", "two or three apples were left"]
    scores = text_scores(uneven, predictions, [name])
    even = [texts + texts[:1] * (3 - len(texts)) for texts in uneven]  # one that is there twice changes nothing
    assert scores == pytest.approx(text_scores(even, predictions, [name]))
    if name != "exact_match":
        assert scores[name] > text_scores([texts[:1] for texts in uneven], predictions, [name])[name]


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_the_reference_itself_is_best_and_nothing_is_worst(name):
    best = 100 if name in ("bleu", "chrf") else 1
    texts = [["a cat sat on the mat"], ["dogs may bark all night"]]
    assert text_scores(texts, [one for (one,) in texts], [name]) == pytest.approx({name: best})
    assert text_scores(texts, ["", ""], [name]) == {name: 0}
    assert text_scores([], [], [name]) == {name: 0}


def test_exact_match_looks_past_white_space_around_the_text_only():
    assert text_scores([["Ja"], ["nein", "no"], ["a  b"]], [" Ja\n", "no", "a b"], ["exact_match"]) == {
        "exact_match": pytest.approx(2 / 3)
    }


def test_rouge_does_not_stem():
    assert text_scores([["apples"]], ["apple"], ["rouge1"]) == {"rouge1": 0}


@pytest.mark.parametrize(
    ("reference", "prediction", "rouge1"),
    [("новый год", "Новый, дом", 0.5), ("我的包裹", "我的钱", 4 / 7), ("naïve café", "naive cafe", 0)],
)
def test_rouge_reads_words_of_other_scripts_and_leaves_latin_texts_as_they_are(reference, prediction, rouge1):
    assert text_scores([[reference]], [prediction], ["rouge1"])["rouge1"] == pytest.approx(rouge1)


@pytest.mark.parametrize(
    ("language", "split"), [("我的包裹在哪里", "zh"), ("荷物はどこにありますか", "char"), ("Wo ist mein Paket", "13a")]
)
def test_bleu_splits_as_the_script_asks(language, split):
    references, predictions = [[language], [language[::-1]]], [language, f"{language[:-2]}x"]
    expected = sacrebleu.corpus_bleu(predictions, [[texts[0] for texts in references]], tokenize=split, force=True)
    assert text_scores(references, predictions, ["bleu"])["bleu"] == pytest.approx(expected.score)


def test_only_what_is_asked_is_computed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    assert text_scores([["a"]], ["a"], ["rougeL", "exact_match"]) == {"rougeL": 1, "exact_match": 1}
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    assert text_scores([["a"]], ["a"], ["exact_match"]) == {"exact_match": 1}
    assert text_scores([["a"]], ["a"], []) == {}


def test_bleu_gives_no_advice(caplog):
    text_scores([["one ."]] * 100, ["one ."] * 100, ["bleu"])
    assert not caplog.records


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: text_scores([["a"]], ["a"], ["blue"]), r"Unknown text metric 'blue'\. Did you mean 'bleu'\?"),
        (lambda: text_scores([["a"], []], ["a", "b"], ["bleu"]), r"Record 1 has no reference\."),
        (lambda: text_scores(["ab"], ["ab"], ["bleu"]), r"Record 0: .* Give a list of texts: \['ab'\]"),
        (lambda: question_scores([["a"], "b"], ["a", "b"]), r"Record 1: .* Give a list of texts: \['b'\]"),
        (lambda: question_scores([["a"]], []), "1 true values but 0 predictions"),
        (lambda: regression_scores([1, 2], [1]), "2 true values but 1 predictions"),
        (lambda: relation_scores(["a"], ["a", "b"], []), "1 true values but 2 predictions"),
        (lambda: multilabel_scores([], [["a"]], ["a"]), "0 true values but 1 predictions"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(LightAdaptError, match=message):
        call()
