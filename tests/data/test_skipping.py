"""Bad records that are left out: which they are, what the others are called, and what is still refused."""

from __future__ import annotations

import warnings

import pytest

import lightadapt as la
from lightadapt.data import Records, lines, read
from lightadapt.data.skipping import LONGEST, BadRecords, usable
from lightadapt.errors import RecordError

FILES = {
    "x.jsonl": ('{"text": "a"}\n\n{"text"\n{"text": "b"}\n[1]\n{"text": "c"}\n', [0, 2, 4], [1, 4, 6], 2),
    "x.json": ('{"text": "a"}\n{"text"\n{"text": "b"}\n', [0, 2], [1, 3], 1),
    "x.csv": ('text,label\na,b\nc\n"d\ne", f\ng,h,i\nj,k\n', [0, 2, 4], [2, 4, 7], 2),
    "long.csv": (f"text,label\na\n{'b' * 140_000},c\n", [1], [3], 1),
    "x.tsv": ('text\tlabel\na\tb\nc\n"d\te\n', [0, 2], [2, 4], 1),
    "x.conll": ("a O\n\nb O\nc\nd e f\n\n# text = e\ne O\n\nf\n", [0, 2], [1, 8], 2),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", [name for name in FILES if name != "x.tsv"])
@pytest.mark.filterwarnings("ignore:Record")
def test_broken_records_of_files_are_left_out(write, monkeypatch, name, large):
    content, numbers, places, count = FILES[name]
    if large:
        monkeypatch.setattr(lines, "LARGE", 0)
    bad = BadRecords("skip")
    found = read(write(name, content), bad=bad)
    assert [found.number(index) for index in range(len(found))] == numbers
    assert list(found.lines) == places
    assert bad.count == count
    assert f"Record {numbers[-1]} (" in found.place(len(found) - 1)
    assert f"line {places[-1]})" in found.place(len(found) - 1)
    with pytest.raises(la.DataError):
        read(write(name, content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.tsv", FILES["x.tsv"][0], "is broken"),  # an open quote: where the next record begins cannot be known
        ("x.csv", 'text,label\na,b\n"c,d\n', "is broken"),
        ("x.csv", "text,text\na,b\n", "two columns named 'text'"),
        ("x.json", '[{"text": "a"}, {"text"]', "is not JSON"),
        ("x.jsonl", b"\xff\n{}", "is not UTF-8"),
        ("x.jsonl", "\n", "holds no records"),
        ("x.conll", "1 a O\n2 b O\n", "counts the tokens"),
    ],
)
def test_what_is_wrong_with_a_file_as_a_whole_is_refused(write, name, content, said):
    with pytest.raises(la.DataError, match=said):
        read(write(name, content), bad=BadRecords("skip"))


def test_what_is_no_record_is_left_out_of_a_list():
    bad = BadRecords("skip")
    found = read([{"a": 1}, 5, {"b": 2}], bad=bad)
    assert list(found) == [{"a": 1}, {"b": 2}]
    assert found.place(1) == "Record 2"
    assert found.fields == ("a", "b")
    assert bad.count == 1
    assert list(read([{"a": 1}, None], columns={"c": "a"}, bad=BadRecords("skip"))) == [{"c": 1}]


@pytest.mark.parametrize("count", [1, 2, 7, 2_345])
@pytest.mark.parametrize("wrong", [set(), {0}, {1, 2}, {2, 3, 2_000}])
def test_halving_finds_all_that_do_not_pass(count, wrong):
    def check(examples, records):
        for index, example in enumerate(examples):
            if example in wrong:
                raise la.DataError(f"{records.place(index)} is wrong")

    examples, records = list(range(count)), Records([{}] * count, "x.jsonl", range(10, 10 + count))
    bad = BadRecords("skip")
    good, rest = usable(examples, records, check, bad)
    expected = [example for example in examples if example not in wrong]
    assert good == expected
    assert [rest.number(index) for index in range(len(rest))] == expected
    assert [rest.lines[index] - 10 for index in range(len(rest))] == expected
    assert bad.count == count - len(expected)
    if bad.count:
        with pytest.warns(UserWarning, match=rf"Record {min(wrong)} \(x.jsonl, line {min(wrong) + 10}\) is wrong"):
            bad.tell(len(rest))
        with pytest.raises(la.DataError, match=f"Record {min(wrong)} "):
            usable(examples, records, check, BadRecords())


def test_what_is_wrong_with_all_together_is_refused():
    def together(examples, records):
        if len(examples) > 1:
            raise la.DataError("two readings")

    with pytest.raises(la.DataError, match="two readings"):
        usable([1, 2, 3], Records([{}] * 3), together, BadRecords("skip"))


def test_who_does_not_go_with_the_others_is_left_out():
    def alike(examples, records):
        for index, example in enumerate(examples):
            if example != examples[0]:
                raise RecordError(index, "is another")

    good, rest = usable([1, 1, 2, 1, 1, 1], Records([{}] * 6), alike, BadRecords("skip"))
    assert len(set(good)) == 1
    assert 0 < len(good) == len(rest)


def test_the_warning_counts_and_gives_the_first_reasons():
    bad, other = BadRecords("skip"), BadRecords("skip")
    for number in (9, 4, 7, 1):
        bad.meet(number, la.DataError(f"Record {number}: " + "long " * 200))
    other.meet(0, la.DataError("Record 0: text is empty."))
    bad.take(other)
    with pytest.warns(UserWarning, match=r"^5 of 1,005 records cannot be used and are left out\.") as caught:
        bad.tell(1_000)
    text = str(caught[0].message)
    assert text.index("Record 0") < text.index("Record 1:") < text.index("Record 4")
    assert "Record 7" not in text
    assert len(text) < 3 * LONGEST + 120
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BadRecords("skip").tell(3)


def test_none_left_and_none_allowed():
    bad = BadRecords("skip")
    bad.check_rest(0)
    bad.check_none()
    bad.meet(3, la.DataError("Record 3: text is empty."))
    bad.check_rest(1)
    with pytest.raises(
        la.DataError, match=r"No record can be used, of 1 in all\. The first of them: Record 3: text is"
    ):
        bad.check_rest(0)
    with pytest.raises(la.DataError, match=r"^Record 3: text is empty"):
        bad.check_none()
    with pytest.raises(la.DataError, match="Record 4"):
        BadRecords().meet(4, la.DataError("Record 4"))
    with pytest.raises(la.LightAdaptError, match=r"on_error='skipp': Did you mean 'skip'\? Give 'raise', .* or 'skip'"):
        BadRecords("skipp")
