"""What `evaluate` returns: a dict, and what it is made of."""

from __future__ import annotations

import json
import pickle

import pytest
from scored import CASES, scores_of
from task_records import RECORDS

import lightadapt as la
from lightadapt.evaluation.scores import Evidence, Scores

CLASSES = ("classification", "multilabel", "ner", "relation")


@pytest.fixture(params=sorted(CASES))
def case(request):
    task, records, predictions, wrong = CASES[request.param]
    return request.param, scores_of(task, records, predictions), wrong


def test_scores_are_a_dict(case):
    name, scores, _ = case
    assert scores == dict(scores)
    assert dict(scores) == scores
    assert next(iter(scores)) == CASES[name][0].headline
    assert json.loads(json.dumps(scores)) == scores
    assert repr(scores) == repr(dict(scores))


def test_errors_come_in_order_and_only_they(case):
    _, scores, wrong = case
    found = scores.errors()
    assert [each["number"] for each in found] == wrong
    assert scores.errors(1) == found[:1]
    for each in found:
        assert {"place", "text", "expected", "predicted", "confidence"} <= each.keys()
        assert each["text"]
        assert each["place"] in str(found)
        assert each["place"] in found._repr_html_()


def test_all_that_is_kept_can_be_pickled(case):
    _, scores, _ = case
    again = pickle.loads(pickle.dumps(scores))
    assert again == scores
    assert again.errors() == scores.errors()
    assert again.report == scores.report
    assert str(again.confusion) == str(scores.confusion)


def test_tasks_with_classes_have_a_report_and_a_confusion(case):
    name, scores, _ = case
    assert (scores.report is not None) == (scores.confusion is not None) == (name in CLASSES)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_every_task_draws_something(case, suffix, tmp_path):
    name, scores, _ = case
    path = tmp_path / "new" / f"scores{suffix}"
    titles = {axes.get_title() for axes in scores.plot(path).axes}
    assert path.stat().st_size > 1_000
    assert ("reliability" in titles) == (name in ("classification", "multilabel", "relation", "multiple-choice", "ner"))
    assert ("predicted against true" in titles) == (name == "regression")
    assert any(title.startswith("F1") for title in titles) == (name in CLASSES)


def test_what_tells_how_wrong_an_answer_is():
    found = {name: scores_of(*CASES[name][:3]).errors() for name in CASES}
    assert found["classification"][0]["confidence"] == 0.9
    assert found["multilabel"][1]["confidence"] == 0.6  # of the label that is missing
    assert found["multilabel"][1]["expected"] == ["a", "b"]
    assert found["regression"][0]["error"] == 4.5
    assert found["qa"][1]["f1"] == pytest.approx(2 / 3)
    assert found["qa"][0]["expected"] == []
    assert found["generation"][0]["rougeL"] == 0
    assert found["generation"][0]["expected"] == ["parcel of my friend", "it"]
    assert found["generation"][1]["loss"] == 1.0
    assert found["dialogue"][0]["text"].endswith("user: Rome")
    in_tokens, spurious, missed = found["ner"]
    assert in_tokens["expected"] == [{"start": 0, "end": 1, "label": "P", "text": "Maria"}]
    assert in_tokens["predicted"] == [{"start": 0, "end": 1, "label": "L", "text": "Maria", "score": 0.8}]
    assert (spurious["expected"], missed["confidence"]) == ([], None)


def test_the_diagonal_of_entities_is_what_counts_as_right():
    scores = scores_of(*CASES["ner"][:3])
    confusion = scores.confusion
    assert confusion.labels == ("L", "P", "none")
    assert confusion.counts.tolist() == [[1, 0, 1], [1, 2, 0], [0, 1, 0]]
    for row in scores.report.rows:
        place = confusion.labels.index(row["label"])
        assert confusion.counts[place, place] / confusion.counts[place].sum() == pytest.approx(row["recall"])
        assert confusion.counts[place].sum() == row["support"]


def test_files_that_are_no_pictures_are_refused(tmp_path):
    scores = scores_of(*CASES["regression"][:3])
    for path in ("scores.bmp", "scores", 3):
        with pytest.raises(la.LightAdaptError, match=r"ends in \.png, \.svg, \.pdf"):
            scores.plot(path)
    (tmp_path / "file").touch()
    with pytest.raises(la.LightAdaptError, match="cannot be written"):
        scores.plot(tmp_path / "file" / "scores.png")
    with pytest.raises(la.LightAdaptError, match="n=0"):
        scores.errors(0)


def test_data_without_a_record_gives_no_picture():
    empty = Scores({}, {}, Evidence(la.Regression(), la.Regression().read(RECORDS["regression"]), [], []))
    assert str(empty.errors()) == "No mistakes."
    with pytest.raises(la.LightAdaptError, match="no record"):
        empty.plot()


def test_texts_are_shortened_when_printed_and_whole_in_the_dict():
    task, _, predictions, _ = CASES["classification"]
    text = "<b>first</b> " + "word " * 200 + "last"
    (mistake,) = found = scores_of(task, [{"text": text, "label": "a"}], predictions[:1]).errors()
    assert mistake["text"] == text
    assert max(map(len, str(found).splitlines())) < 200
    assert "<b>" not in found._repr_html_()


def test_evaluate_returns_them(classifier, messages, capsys, tmp_path):
    """With the file and line of a record, from whatever it was read."""
    adapted = classifier()
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in messages[:20]), encoding="utf-8")
    scores = adapted.evaluate(path, report=True)
    assert isinstance(scores, la.Scores)
    assert capsys.readouterr().out == f"{scores.report}\n"
    assert scores.confusion.counts.sum() == 20
    answers = adapted.predict([record["text"] for record in messages[:20]])
    wrong = [number for number, record in enumerate(messages[:20]) if answers[number] != record["label"]]
    assert sorted(each["number"] for each in scores.errors(20)) == wrong
    first = scores.errors(1)[0]
    assert first["place"] == f"Record {first['number']} ({path}, line {first['number'] + 1})"
    assert first["predicted"] == answers[first["number"]]


def test_a_stream_that_lies_in_a_file_can_be_pickled(classifier, messages):
    from datasets import Dataset

    stream = Dataset.from_list([{"text": each["text"], "label": each["label"]} for each in messages[:5]])
    scores = classifier().evaluate(stream.to_iterable_dataset())
    dumped, errors = pickle.dumps(scores), scores.errors()
    del scores
    assert pickle.loads(dumped).errors() == errors
