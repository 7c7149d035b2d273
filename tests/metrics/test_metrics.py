"""Every score is the library's own, or the official scorer's; `evaluate` gets the same, offline and without files."""

from __future__ import annotations

import itertools
import math
import socket
import string
import subprocess
import sys

import evaluate
import numpy as np
import pytest
import sacrebleu
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score

from lightadapt import LightAdaptError
from lightadapt.data.spans import Span
from lightadapt.metrics import (
    METRICS,
    TEXT_METRICS,
    answer_f1,
    classification_scores,
    entity_scores,
    format_report,
    load_metric,
    multilabel_scores,
    normalize_answer,
    question_scores,
    regression_scores,
    relation_scores,
    text_scores,
)

SOME = settings(deadline=None, max_examples=60)


def sides(items, least=1):
    """The true and the predicted values of some records."""
    pairs = st.lists(st.tuples(items, items), min_size=least, max_size=8)
    return pairs.map(lambda rows: ([gold for gold, _ in rows], [predicted for _, predicted in rows]))


def test_import_is_light():
    heavy = "{'torch', 'datasets', 'sklearn', 'seqeval', 'scipy', 'sacrebleu', 'rouge_score', 'nltk', 'evaluate'}"
    script = f"import lightadapt.metrics, sys\nprint(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Labels


@given(sides(st.sampled_from(["a", "b", "c", 0, 1])))
@SOME
def test_classification_is_scikit_learns(case):
    gold, predicted = case
    scores, report = classification_scores(gold, predicted)
    texts = [list(map(str, side)) for side in case]
    assert list(scores) == ["accuracy", "macro_f1"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(*texts))
    assert scores["macro_f1"] == pytest.approx(f1_score(*texts, average="macro", zero_division=0))
    assert report.keys() == {*texts[0], *texts[1]}


def test_a_class_only_predicted_lowers_macro_f1_and_is_in_the_report():
    scores, report = classification_scores(["a", "a"], ["a", "b"])
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_class_may_be_named_like_an_average():
    _, report = classification_scores(["moving avg", "none"], ["moving avg", "none"])
    assert report["moving avg"]["f1"] == 1
    assert "moving avg" in format_report(report)


# Any number of labels


@given(sides(st.sets(st.sampled_from("abcd"))), st.permutations("abcd"))
@SOME
def test_multilabel_is_scikit_learns(case, labels):
    scores, report = multilabel_scores(*case, labels)
    tables = [np.array([[label in record for label in labels] for record in side], dtype=int) for side in case]
    assert list(scores) == ["micro_f1", "macro_f1"]
    for average in ("micro", "macro"):
        assert scores[f"{average}_f1"] == pytest.approx(f1_score(*tables, average=average, zero_division=0))
    assert [row["f1"] for row in report.values()] == pytest.approx(f1_score(*tables, average=None, zero_division=0))
    assert list(report) == list(labels)
    assert [row["support"] for row in report.values()] == tables[0].sum(0).tolist()


@given(sides(st.booleans()))
@SOME
def test_a_single_label_is_scored_as_present_or_not(case):
    scores, report = multilabel_scores(*[[["x"] if there else [] for there in side] for side in case], ["x"])
    expected = pytest.approx(f1_score(*case, zero_division=0))
    assert scores["micro_f1"] == scores["macro_f1"] == report["x"]["f1"] == expected


def test_macro_f1_of_labels_counts_those_that_never_occur():
    scores, report = multilabel_scores([["a"]], [["a"]], ["a", "b"])
    assert scores == {"micro_f1": 1.0, "macro_f1": 0.5}
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_label_named_twice_in_a_record_counts_once():
    assert multilabel_scores([["a", "a"]], [["a"]], ["a"])[1]["a"]["support"] == 1


def test_no_label_anywhere_scores_zero():
    assert multilabel_scores([[], []], [[], []], ["a", 1])[0] == {"micro_f1": 0, "macro_f1": 0}
    assert multilabel_scores([], [], ["a", 1])[0] == {"micro_f1": 0, "macro_f1": 0}


def test_an_unknown_label_is_refused_with_the_nearest():
    with pytest.raises(LightAdaptError, match=r"Record 1: 'bilings' is not among the labels\. Did you mean 'billing'"):
        multilabel_scores([["billing"], []], [[], ["bilings"]], ["billing", "delivery"])


# Entities


def test_a_duplicate_span_counts_once():
    span = Span(0, 4, "PER")
    assert entity_scores([[span]], [[span, span]]) == entity_scores([[span]], [[span]])


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([], [], (0, 0, 0)),
        ([Span(0, 2, "PER")], [], (0, 0, 0)),
        ([], [Span(0, 2, "PER")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 1, "PER")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 2, "LOC")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 2, "PER"), Span(2, 3, "PER")], (2 / 3, 1 / 2, 1)),
    ],
)
def test_entities_count_only_when_whole(gold, predicted, expected):
    scores, _ = entity_scores([gold], [predicted])
    assert tuple(scores[name] for name in ("f1", "precision", "recall")) == pytest.approx(expected)


# Numbers


@given(sides(st.floats(-100, 100).map(lambda value: round(value, 2)), least=2))
@SOME
def test_regression_is_scipys(case):
    gold, predicted = case
    scores = regression_scores(gold, predicted)
    assert list(scores) == ["pearson", "spearman", "rmse"]
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(np.subtract(gold, predicted) ** 2)))
    if len(set(gold)) > 1 and len(set(predicted)) > 1:
        assert scores["pearson"] == pytest.approx(scipy.stats.pearsonr(gold, predicted).statistic)
        assert scores["spearman"] == pytest.approx(scipy.stats.spearmanr(gold, predicted).statistic)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("gold", "predicted", "rmse"),
    [
        ([], [], 0),
        ([1.0], [3.0], 2),
        ([1, 2, 3], [2, 2, 2], math.sqrt(2 / 3)),
        ([2, 2], [1, 3], 1),
        ([0.1, 0.1], [0.1, 0.1], 0),
        ([1, 2], [math.nan, 2], math.inf),
        ([1, 2], [math.inf, 2], math.inf),
    ],
)
def test_a_correlation_that_is_not_defined_is_zero(gold, predicted, rmse):
    assert regression_scores(gold, predicted) == {"pearson": 0, "spearman": 0, "rmse": pytest.approx(rmse)}


@pytest.mark.filterwarnings("error")
def test_nearly_constant_and_huge_numbers_warn_of_nothing():
    assert regression_scores([1, 2, 3], [1, 1 + 1e-15, 1 + 2e-15])["spearman"] == pytest.approx(1)
    assert regression_scores([1e200, 2e200], [2e200, 4e200])["pearson"] == pytest.approx(1)


# Relations

CAUSE, EFFECT = "Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)"


def test_relations_by_the_rule_of_semeval_2010_task_8():
    gold = [CAUSE, CAUSE, EFFECT, "Entity-Origin(e1,e2)", "Other", "Other"]
    predicted = [CAUSE, EFFECT, EFFECT, "Other", CAUSE, "Other"]
    scores, report = relation_scores(gold, predicted, ["Other"])
    # Cause-Effect: 2 right of 4 predicted and of 3 true; Entity-Origin: none right of 0 and of 1.
    assert report["Cause-Effect"] == pytest.approx({"precision": 1 / 2, "recall": 2 / 3, "f1": 4 / 7, "support": 3})
    assert report["Entity-Origin"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert list(scores) == ["macro_f1", "accuracy"]
    assert scores == pytest.approx({"macro_f1": (4 / 7 + 0) / 2, "accuracy": 3 / 6})


def test_the_wrong_direction_is_wrong_and_still_predicted():
    scores, report = relation_scores([CAUSE, CAUSE], [CAUSE, EFFECT], [])
    assert report == {"Cause-Effect": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}}
    assert scores == {"macro_f1": 0.5, "accuracy": 0.5}


def test_a_relation_only_predicted_is_in_the_report_but_not_in_the_mean():
    scores, report = relation_scores(["a", "a"], ["a", "b"], [])
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


@given(sides(st.sampled_from(["a", "b(c)", "no_relation", "d"])))
@SOME
def test_relations_without_direction_get_plain_macro_f1(case):
    wanted = sorted({*case[0]} - {"no_relation"})
    expected = f1_score(*case, labels=wanted, average="macro", zero_division=0) if wanted else 0.0
    scores, _ = relation_scores(*case, without={"no_relation"})
    assert scores["macro_f1"] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(accuracy_score(*case))


def test_no_relation_at_all_scores_zero():
    assert relation_scores(["Other"], [CAUSE], ["Other"])[0] == {"macro_f1": 0, "accuracy": 0}
    assert relation_scores([], [], ["Other"])[0] == {"macro_f1": 0, "accuracy": 0}


def test_without_is_a_collection_of_labels():
    with pytest.raises(LightAdaptError, match=r"Give a list of labels: \['Other'\]"):
        relation_scores(["Other"], ["Other"], "Other")


# Answers

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


# Texts

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


def test_rouge_neither_stems_nor_reads_other_scripts():
    assert text_scores([["apples"]], ["apple"], ["rouge1"]) == {"rouge1": 0}
    assert text_scores([["год"]], ["год"], ["rouge1"]) == {"rouge1": 0}


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


# The library evaluate

SPANS = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [], [Span(0, 1, "LOC")]]
FOUND = [[Span(0, 2, "PER")], [Span(1, 2, "LOC")], [Span(0, 1, "LOC")]]
TAGS = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "O"], ["S-LOC"]]
TAGGED = [["B-PER", "E-PER", "O", "O"], ["O", "I-LOC"], ["B-LOC"]]


def as_dicts(records):
    """Entities as `predict` returns them."""
    return [[{**span._asdict(), "text": "…", "score": 0.9} for span in record] for record in records]


CASES = {
    "classification": (["a", 1, "a"], ["a", "1", "b"], lambda g, p: classification_scores(g, p)[0]),
    "multilabel": ([["a", "b"], [], ["c"]], [{"a"}, [], ("b",)], lambda g, p: multilabel_scores(g, p, "abc")[0]),
    "relation": ([CAUSE, EFFECT, "Other"], [CAUSE, CAUSE, "Other"], lambda g, p: relation_scores(g, p, [])[0]),
    "entities": (TAGS, TAGGED, lambda g, p: entity_scores(SPANS, FOUND)[0]),
    "regression": ([1, 2.5, 3], np.array([1, 2, 4], dtype=np.float32), regression_scores),
    "questions": ([["in 1991", "1991"], [], ["год"]], ["1991", "", "x"], question_scores),
    **{
        name: ([*REFERENCES[:2], ["год"]], PREDICTIONS, lambda g, p, name=name: text_scores(g, p, [name]))
        for name in TEXT_METRICS
    },
}


def test_every_metric_has_a_case():
    assert tuple(CASES) == METRICS


@pytest.mark.parametrize("name", METRICS)
def test_evaluate_gets_the_same_numbers(name):
    references, predictions, score = CASES[name]
    expected = pytest.approx(score(references, list(predictions)))
    metric = load_metric(name)
    assert metric.compute(predictions=predictions, references=references) == expected
    for start in (0, 1):  # of different length, and the metric is used a second time
        stop = 1 if start == 0 else None
        metric.add_batch(predictions=predictions[start:stop], references=references[start:stop])
    assert metric.compute() == expected
    for reference, prediction in zip(references, predictions, strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == expected


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An empty working directory and cache, and no network."""

    def refuse(*_):
        raise AssertionError("the network was asked")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def test_metrics_combine_offline_and_leave_no_file(nowhere):
    combined = evaluate.combine([load_metric(name) for name in TEXT_METRICS])
    expected = pytest.approx(text_scores(REFERENCES, PREDICTIONS, TEXT_METRICS))
    assert combined.compute(predictions=PREDICTIONS, references=REFERENCES) == expected
    for row in (slice(0, 2), slice(2, 3)):
        combined.add_batch(predictions=PREDICTIONS[row], references=REFERENCES[row])
    assert combined.compute() == expected
    for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True):
        combined.add(prediction=prediction, reference=reference)
    assert combined.compute() == expected
    assert [path.name for path in nowhere.rglob("*")] == ["work"]


def test_equal_names_get_the_name_of_their_metric():
    combined = evaluate.combine([load_metric("questions"), load_metric("exact_match")])
    scores = combined.compute(predictions=["the cat"], references=[["Cat"]])
    assert scores == {"f1": 1, "questions_exact_match": 1, "exact_match_exact_match": 0}


@pytest.mark.parametrize("name", ["questions", *TEXT_METRICS])
def test_a_single_reference_may_stand_without_a_list(name):
    references, predictions = ["a b", ["b c", "c"], "d"], ["a b", "c", "e"]
    lists = [[one] if isinstance(one, str) else one for one in references]
    plain, listed = (load_metric(name).compute(predictions=predictions, references=r) for r in (references, lists))
    assert plain == listed


def test_entities_are_taken_as_predict_returns_them():
    scores = load_metric("entities").compute(predictions=as_dicts(FOUND), references=as_dicts(SPANS))
    assert scores == entity_scores(SPANS, FOUND)[0]


def test_the_options_of_a_metric_reach_it():
    data = {"predictions": [["a"], []], "references": [["a"], []]}
    assert load_metric("multilabel").compute(**data)["macro_f1"] == 1
    assert load_metric("multilabel", labels=["a", "b"]).compute(**data)["macro_f1"] == 0.5
    data = {"predictions": ["Other", "Other"], "references": ["Other", CAUSE]}
    assert load_metric("relation").compute(**data)["macro_f1"] == pytest.approx(1 / 3)
    assert load_metric("relation", without=["Other"]).compute(**data)["macro_f1"] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_metric("rogue1"), r"Unknown metric 'rogue1'\. Did you mean 'rouge1'\?"),
        (lambda: load_metric("bleu", labels=["a"]), "'bleu' has no option labels, which 'multilabel' has"),
        (lambda: load_metric("bleu", without=["a"]), "'bleu' has no option without, which 'relation' has"),
        (lambda: load_metric("bleu").compute(predictions=["a"]), "bleu needs predictions and references"),
    ],
)
def test_metrics_are_asked_for_rightly(call, message):
    with pytest.raises(LightAdaptError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("classification", "a", ["a"]),
        ("classification", "a", None),
        ("multilabel", ["a"], "a"),
        ("entities", ["B-A"], "B-A"),
        ("entities", ["B-A"], [{"start": 0, "end": 1}]),
        ("regression", 1.0, "much"),
        ("bleu", "a", 1),
        ("bleu", "a", None),
        ("questions", "a", [None]),
    ],
)
def test_a_record_of_the_wrong_kind_is_refused_and_not_kept(name, good, bad):
    metric = load_metric(name)
    with pytest.raises(LightAdaptError, match=r"is given for one record\. Give a"):
        metric.add_batch(predictions=[good, good], references=[good, bad])
    with pytest.raises(ValueError, match="Mismatch in the number of"):
        metric.add_batch(predictions=[good, good], references=[good])
    alone = load_metric(name).compute(predictions=[good], references=[good])
    assert metric.compute(predictions=[good], references=[good]) == alone
