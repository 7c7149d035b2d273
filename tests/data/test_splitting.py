"""`la.split` and what it is made of: each class has its share in both parts, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import lightadapt as la
from lightadapt.data import lines
from lightadapt.data.splitting import divide


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("counts", [{"a": 100}, {"a": 90, "b": 10}, {"a": 61, "b": 31, "c": 8}, {None: 40, "a": 40}])
def test_each_class_has_its_share(counts, share):
    classes = [() if name is None else (name,) for name, count in counts.items() for _ in range(count)]
    first, second = divide(classes, share, seed=0)
    assert sorted([*first, *second]) == list(range(len(classes)))
    assert first == sorted(first)
    assert second == sorted(second)
    assert abs(len(second) - share * len(classes)) <= 1
    held = Counter(classes[index] for index in second)
    for name, count in counts.items():
        assert abs(held[() if name is None else (name,)] - share * count) <= 1


def test_many_small_classes_have_their_share_together():
    classes = [(name,) for name in range(100) for _ in range(3)]
    first, second = divide(classes, 0.1, seed=0)
    assert len(second) == 30
    assert {classes[index] for index in first} == set(classes), "each class is still learned"


def test_a_class_of_one_record_is_learned():
    for seed in range(20):
        first, _ = divide([("a",)] * 9 + [("rare",)], 0.5, seed=seed)
        assert 9 in first


def test_a_record_with_several_classes_counts_as_its_rarest():
    classes = [("common",)] * 80 + [("common", "rare")] * 20
    _, second = divide(classes, 0.2, seed=1)
    assert sum(index >= 80 for index in second) == 4


def test_the_choice_goes_by_the_seed_and_is_no_piece_of_the_order():
    classes = [("a",)] * 100
    assert divide(classes, 0.2, seed=3) == divide(classes, 0.2, seed=3)
    _, second = divide(classes, 0.2, seed=3)
    assert second != divide(classes, 0.2, seed=4)[1]
    assert second[-1] - second[0] > 50


@pytest.mark.parametrize("share", [0, 1, -0.5, 2, True, "0.1", None, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(la.DataError, match=r"cannot be held out\. Give a number between 0 and 1"):
        divide([("a",)] * 10, share, seed=0)


@pytest.mark.parametrize("classes", [[("a",)], [(n,) for n in range(10)], [("a",)] * 3])
def test_parts_that_would_be_empty_are_refused(classes):
    with pytest.raises(la.DataError, match="leave one part empty"):
        divide(classes, 0.1, seed=0)


FIELDS = [
    ({"label": "a"}, {"label": "b"}),
    ({"label": 0}, {"label": 1}),
    ({"labels": ["a", "c"]}, {"labels": ["b"]}),
    ({"tags": ["O", "B-A"]}, {"tags": ["B-B", "I-B"]}),
    ({"entities": [{"start": 0, "end": 1, "label": "A"}]}, {"entities": [[0, 1, "B"]]}),
]


@pytest.mark.parametrize(("one", "other"), FIELDS)
def test_classes_are_found_in_the_fields_of_the_tasks(one, other):
    rows = [{"text": str(number), **(one if number < 30 else other)} for number in range(40)]
    for seed in range(5):
        first, second = la.split(rows, 0.1, seed=seed)
        assert sum(all(record[name] == other[name] for name in other) for record in second) == 1
        assert len(first) == 36


@pytest.mark.parametrize("odd", [{"label": 0.5}, {"label": [1]}, {"labels": "a"}, {"tags": None}, {"entities": 5}, {}])
def test_records_without_classes_are_divided_all_the_same(odd):
    first, second = la.split([{"text": str(number), **odd} for number in range(10)], 0.3)
    assert (len(first), len(second)) == (7, 3)


def test_parts_of_a_file_know_their_lines_and_stay_on_the_disk(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 0)
    path = write("x.jsonl", "".join(json.dumps({"body": str(n), "label": "a"}) + "\n\n" for n in range(10)))
    first, second = la.split(path, 0.2, columns={"text": "body"})
    assert not isinstance(first.items, list)
    numbers = [int(record["text"]) for record in second]
    assert len(numbers) == 2
    assert [second.place(index) for index in range(2)] == [
        f"Record {number} ({path}, line {2 * number + 1})" for number in numbers
    ]
    assert sorted([*numbers, *(int(record["text"]) for record in first)]) == list(range(10))


def test_parts_are_taken_by_fit_and_evaluate(classifier, messages):
    first, second = la.split(messages, 0.2)
    model = classifier()
    model.fit(first, second, args={"max_steps": 1, "disable_tqdm": True})
    assert len(model.predict(second)) == len(second)
