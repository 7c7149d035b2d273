"""What has two plausible readings is refused or warned of with both; values are shown in short, whatever they are."""

from __future__ import annotations

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import lightadapt as la
from lightadapt.tasks import NER, QA, Classification, MultiLabel, MultipleChoice, Regression, Relation
from lightadapt.tasks.generation import Generation


def examples(task, records):
    return task.read_examples(records, split="train", columns=None)[0]


# ---- labels


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("neg", "neg "),
        ("neg", "Neg"),
        ("no relation", "no_relation"),
        ("a b", "a\u00a0b"),
        ("e\u0301", "é"),
        ("a\u200b", "a"),
        ("1", "1.0"),
    ],
)
def test_nearly_the_same_labels_are_named(one, other):
    record = {"text": "Ann", "head": [0, 1], "tail": [1, 2]}
    entities = [[{"start": 0, "end": 3, "label": label}] for label in (one, other)]
    for task, records in (
        (Classification(), [{**record, "label": label} for label in (one, other)]),
        (Relation(), [{**record, "label": label} for label in (one, other)]),
        (MultiLabel(), [{**record, "labels": [one, other]}]),
        (NER(), [{"text": "Ann", "entities": each} for each in entities]),
    ):
        with pytest.warns(UserWarning, match="Nearly the same labels") as caught:
            task.with_labels(task.find_labels(task.parse(task.read(records))))
        assert len(caught) == 1


def test_labels_that_differ_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for labels in (["Cause(e1,e2)", "Cause(e2,e1)"], ["C", "C++", "C#"], ["1.5", "15"], [1, 10], ["pos", "neg"]):
            assert Classification().with_labels(labels).labels == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a\ud800", "b"], "labels holds half a character at 1"),
        ([2**63, 1], "at most 18 digits"),
        ([" ", "b"], "labels holds an empty name"),
        (["z" * 10**6] * 2, "twice"),
    ],
)
def test_labels_that_no_file_can_keep_are_refused(labels, message):
    with pytest.raises(la.LightAdaptError, match=message) as caught:
        Classification(labels=labels)
    assert len(str(caught.value)) < 500
    records = [{"text": "a", "label": label} for label in labels]
    if message != "twice":
        with pytest.raises(la.DataError, match=r"Record 0: label"):
            Classification().parse(Classification().read(records))


@pytest.mark.parametrize("held", [[0, 1, 0], [1.0, 0.0], [True, False], ["0", "0"], np.array([0, 0, 1])])
def test_vectors_of_zeros_and_ones_have_two_readings(held):
    with pytest.raises(la.DataError, match=r"Record 0: labels is .* Two readings: a 0 or 1 for each class, or the cl"):
        MultiLabel().parse(MultiLabel().read([{"text": "a", "labels": held}]))


def test_vectors_of_two_are_told_by_all_records():
    task = MultiLabel(labels=[0, 1])
    both = [{"text": "a", "labels": [0, 1]}, {"text": "b", "labels": [1, 0]}]
    with pytest.raises(la.DataError, match="Two readings"):
        examples(task, both)
    found = examples(task, [*both, {"text": "c", "labels": [1]}])
    assert [example.label for example in found] == [(0, 1), (1, 0), (1,)]


# ---- entities and answers


def test_an_entity_that_says_another_text_than_its_span_is_refused():
    def entities(**own):
        record = {"text": "Jörg Ann ran", "entities": [{"start": 5, "end": 8, "label": "PER", **own}]}
        return NER().parse(NER().read([record]))[0].entities

    for own in ({"text": "Ann"}, {"word": "ann"}, {"text": "Ann "}, {"text": ""}, {"text": None}, {}):
        assert entities(**own) == [(5, 8, "PER")]
    with pytest.raises(
        la.DataError, match=r"entities: the entity PER says that it is 'Jörg', .*5-8 holds 'Ann'.*at 0-4"
    ):
        entities(text="Jörg")
    with pytest.raises(la.DataError, match=r"'Anna', but its span 5-8 holds 'Ann'\. Correct either"):
        entities(mention="Anna")


@pytest.mark.parametrize("value", [["Ann"], 5, Decimal(1)])
def test_the_own_text_of_an_entity_is_a_text(value):
    entity = {"start": 0, "end": 3, "label": "PER"}
    record = {"text": "Ann ran", "entities": [{**entity, "text": value}]}
    with pytest.raises(la.DataError, match=r"entity PER at 0-3 has the text .*but the text of its span is expected"):
        NER().parse(NER().read([record]))
    record["entities"] = [{**entity, "word": value, "type": "x", "score": 0.5}]  # a number of the word, say
    assert NER().parse(NER().read([record]))[0].entities == [(0, 3, "PER")]


@pytest.mark.parametrize("name", ["texts", "TEXT", "tex"])
def test_a_misspelt_text_of_an_entity_is_refused(name):
    entity = {"start": 0, "end": 3, "label": "PER", name: "ran"}
    with pytest.raises(la.DataError, match=rf"has the field '{name}'\. Did you mean 'text'"):
        NER().parse(NER().read([{"text": "Ann ran", "entities": [entity]}]))


def test_tags_as_types_of_entities_have_two_readings():
    entities = [{"start": 0, "end": 3, "label": "B-PER"}, {"start": 4, "end": 7, "label": "I-PER"}]
    task = NER()
    with pytest.raises(la.DataError, match=r"'B-PER' and 'I-PER'\. Two readings"):
        task.find_labels(task.parse(task.read([{"text": "Ann Lee", "entities": entities}])))


def test_an_answer_that_is_a_choice_and_the_index_of_another_has_two_readings():
    def answer(given, choices):
        return examples(MultipleChoice(), [{"question": "?", "choices": choices, "answer": given}])[0].answer

    assert answer("1", ["one", "two"]) == 1
    assert answer(1, ["1", "2"]) == 1
    assert answer("B", ["A", "B"]) == 1
    for given, choices in (("1", ["1", "2"]), ("A", ["B", "A"])):
        with pytest.raises(la.DataError, match="is one of the choices, and as an index or a letter names another"):
            answer(given, choices)


def test_a_right_choice_that_stands_twice_has_two_readings():
    record = {"question": "?", "choices": ["a", "b", "a"], "answer": 2}
    with pytest.warns(
        UserWarning, match=r"Record 1: the right choice 'a' stands twice .* 1 of 2 records\. Two readings"
    ):
        found = examples(MultipleChoice(), [{**record, "answer": 1}, record])
    assert [example.answer for example in found] == [1, 2]


# ---- values


def test_digits_with_underscores_are_no_number():
    assert examples(Regression(), [{"text": "a", "label": " 1.5e3 "}])[0].label == 1500.0
    with pytest.raises(la.DataError, match="label is '1_5', but a number is needed"):
        examples(Regression(), [{"text": "a", "label": "1_5"}])


def test_numbers_of_numpy_torch_and_decimal_are_numbers():
    for one in (np.int64(1), np.array(1), torch.tensor(1)):
        assert examples(Classification(labels=[0, 1]), [{"text": "a", "label": one}])[0].label == 1
        assert examples(MultipleChoice(), [{"question": "?", "choices": ["a", "b"], "answer": one}])[0].answer == 1
        entity = {"start": one - one, "end": one, "label": "PER"}
        assert examples(NER(labels=["PER"]), [{"text": "Ann", "entities": [entity]}])[0].entities == [(0, 1, "PER")]
        assert examples(Regression(), [{"text": "a", "label": one}])[0].label == 1.0
    assert examples(Regression(), [{"text": "a", "label": Decimal("0.5")}])[0].label == 0.5
    relation = {"text": "Ann Lee", "head": torch.tensor([0, 3]), "tail": np.array([4, 7]), "label": "a"}
    assert examples(Relation(labels=["a", "b"]), [relation])[0].tail == (4, 7)
    answers = {"text": ["Ann"], "answer_start": np.array([0])}
    assert examples(QA(), [{"question": "?", "context": "Ann", "answers": answers}])[0].answers == [(0, 3)]


class Odd:
    def __repr__(self):
        raise RuntimeError("no repr")


DEEP: list = []
for _ in range(3_000):
    DEEP = [DEEP]
ODD = [Odd(), [Odd()], DEEP, np.array("x"), 10**5_000, Fraction(10**400), "1" * 5_000, [5] * 10**6, {5: Odd()}]


@pytest.mark.parametrize("value", ODD, ids=[str(number) for number in range(len(ODD))])
def test_values_of_any_kind_are_refused_in_short_with_their_field(value):
    for task, record, field in (
        (Classification(labels=["a", "b"]), {"text": "a"}, "label"),
        (MultiLabel(labels=["a", "b"]), {"text": "a"}, "labels"),
        (Regression(), {"text": "a"}, "label"),
        (NER(labels=["a"]), {"text": "a"}, "entities"),
        (QA(), {"question": "?", "context": "c"}, "answers"),
        (Relation(labels=["a", "b"]), {"text": "a b", "tail": [2, 3], "label": "a"}, "head"),
        (MultipleChoice(), {"question": "?", "choices": ["a", "b"]}, "answer"),
        (MultipleChoice(), {"question": "?", "answer": 0}, "choices"),
        (Generation(), {"prompt": "a"}, "completion"),
    ):
        if field == "completion" and isinstance(value, str):
            continue  # a text, as it should be
        with pytest.raises(la.DataError, match=rf"Record 0\b.*{field.removesuffix('s')}") as caught:
            examples(task, [{**record, field: value}])
        assert len(str(caught.value)) < 700


def test_what_a_foreign_value_raises_is_an_error_of_the_record():
    class Hostile:
        @property
        def shape(self):
            raise RuntimeError("not now")

    with pytest.raises(
        la.DataError, match=r"Record 0 cannot be read as a record of task 'classification': RuntimeError"
    ):
        examples(Classification(labels=["a", "b"]), [{"text": "a", "label": Hostile()}])


def test_a_list_that_a_csv_holds_as_a_text_has_two_readings(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("prompt,completion\na,\"['b', 'c']\"\n")
    with pytest.raises(la.DataError, match=r"Record 0 .*line 2\): completion is .*Two readings: several texts, or one"):
        examples(Generation(), path)
    path.write_text('prompt,completion\na,"[b] and [c]"\n')
    assert examples(Generation(), path)[0].references == ["[b] and [c]"]
