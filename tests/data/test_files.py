"""Files that are broken, or that have two readings, are refused by name, and what reads them leaves nothing changed."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

import lightadapt as la
from lightadapt.data import read
from lightadapt.tasks import Classification

# ---- encodings


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "“well” done, 5 €"),
        ("gb18030", "包裹在哪里"),
        ("shift_jis", "荷物はどこですか"),
        ("big5", "包裹在哪裡"),
        ("euc_kr", "소포는 어디에 있나요"),
        ("cp1251", "Где моя посылка"),
    ],
)
def test_an_encoding_is_offered_among_others_with_what_the_line_would_be(write, encoding, text):
    with pytest.raises(la.DataError) as caught:
        read(write("x.csv", f"text,label\n{text}\n".encode(encoding)))
    offered = dict(re.findall(r"(\w+) '(.*?)'[;.]", str(caught.value)))
    assert offered[encoding] == text
    assert 2 <= len(offered) <= 4
    assert "in line 2" in str(caught.value)
    assert "iconv" not in str(caught.value)


def test_the_advice_for_another_encoding_is_right_when_it_is_followed(write, tmp_path):
    old = write("x.csv", "text,label\ncafé,a\n".encode("cp1252"))
    with pytest.raises(la.DataError, match=r"write_text\(.*read_text\(encoding="):
        read(old)
    new = tmp_path / "new.csv"
    new.write_text(old.read_text(encoding="cp1252"), encoding="utf-8")
    assert read(new).items == [{"text": "café", "label": "a"}]


def test_marks_holes_and_what_is_no_text(write):
    for content, said in (
        ("a\n".encode("utf-32"), "Its byte order mark says utf-32"),
        ("text\na\n".encode("utf-16-le"), "line 1 holds the character NUL"),
        (b"text\n\x81\x00\xff\x01\n", "No usual encoding fits"),
    ):
        with pytest.raises(la.DataError, match=said):
            read(write("x.csv", content))


# ---- .csv

SWALLOWED = 'text,label\n"hello,a\nmid,b\nbye",c\nx,a\ny,b\nz,c\n'


def test_two_stray_quotes_that_swallow_records_are_refused(write):
    with pytest.raises(la.DataError, match=r"Record 0 .*line 2\): text goes over 3 lines, each of which would be"):
        read(write("x.csv", SWALLOWED))


def test_lines_that_may_be_records_are_warned_of(write):
    with pytest.warns(UserWarning, match="text goes over 3 lines"):
        found = read(write("x.csv", 'text,label\n"hello,a\nmid,b\nbye",c\nx,q\n'))
    assert found.items[0] == {"text": "hello,a\nmid,b\nbye", "label": "c"}


@pytest.mark.parametrize("text", ["Dear Ann, hello\nthanks, Bob", "one\ntwo", "a, b, c\nd"])
def test_texts_of_several_lines_are_read(write, text):
    assert read(write("x.csv", f'text,label\n"{text}",c\nx,c\n')).items[0] == {"text": text, "label": "c"}


def test_the_limit_of_csv_fields_stays_as_it_was(write):
    text = "a" * 200_000
    before = csv.field_size_limit(1_000)
    try:
        assert read(write("x.csv", f"text,label\n{text},a\n")).items == [{"text": text, "label": "a"}]
        with pytest.raises(la.DataError, match="is broken"):
            read(write("x.csv", f'text,label\n{text},a\n"b'))
        assert csv.field_size_limit() == 1_000
    finally:
        csv.field_size_limit(before)


def test_many_columns_take_seconds_only(write):
    names = ["text", "label", *(f"tabel{number}" for number in range(100_000))]
    path = write("x.csv", "\n".join(",".join(row) for row in (names, ["1"] * len(names))))
    start = time.perf_counter()
    task = Classification()
    assert len(task.parse(task.read(path))) == 1
    with pytest.raises(la.DataError, match="there is no column 'body'") as caught:
        task.read(path, columns={"text": "body"})
    assert len(str(caught.value)) < 1_000
    assert time.perf_counter() - start < 8


# ---- JSON and parquet

OK = '{"text":"x","label":"a"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text":"x","meta":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"text":"x","id":' + "1" * 5_000 + "}", "a whole number of thousands of digits"),
        ('{"text":"x","text":"y"}', "an object names 'text' twice"),
        ('{"text":"x"', "Expecting"),
    ],
)
def test_lines_that_are_no_record_are_named_in_short(write, line, said):
    with pytest.raises(la.DataError, match=said) as caught:
        read(write("x.jsonl", OK + line))
    assert "line 2" in str(caught.value)
    assert len(str(caught.value)) < 500
    with pytest.raises(la.DataError, match=said):
        read(write("x.json", f"[{line}]"))


def test_a_value_of_parquet_that_python_cannot_hold_is_named(tmp_path):
    late = pyarrow.array([0, 2**50], pyarrow.timestamp("ms"))
    offsets = pyarrow.array([0, 1, 2], pyarrow.int32()).buffers()[1]
    bad = pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, offsets, pyarrow.py_buffer(b"a\xff")])
    for name, column in (("when", late), ("note", bad)):
        path = tmp_path / "x.parquet"
        parquet.write_table(pyarrow.table({"text": ["x", "y"], name: column}), path)
        with pytest.raises(la.DataError, match=rf"Record 1 \(.*\): {name} holds a value that cannot be read"):
            read(path)


def test_a_column_of_parquet_whose_name_is_no_text_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"a longer name": ["x"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"a longer name", b"a l\xffnger name"))
    with pytest.raises(la.DataError, match=r"x\.parquet is not a readable parquet file: 'utf-8' codec"):
        read(path)


def test_files_that_cannot_be_read(write, tmp_path, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    path = write("x.jsonl", OK)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        with pytest.raises(la.DataError, match=r"x\.jsonl cannot be read \(Permission denied\)"):
            read(path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(la.DataError, match="is not a regular file"):
        read(tmp_path / "pipe.csv")


# ---- CoNLL


def test_comments_of_conll_are_none_of_the_tokens(write):
    path = write("x.conll", "# text = Vitamin O\nTake O\nRome B-LOC\n\n#metoo O\n# O\n")
    assert [record["tokens"] for record in read(path)] == [["Take", "Rome"], ["#metoo", "#"]]
    assert list(read(path).lines) == [2, 5]


def test_a_comment_within_a_sentence_may_be_a_token_that_lost_its_tag(write):
    with pytest.raises(la.DataError, match="line 2: '#one' is not a token with a tag"):
        read(write("x.conll", "Take O\n#one\n"))


@pytest.mark.parametrize(
    "rows", [["1 Ann B-PER", "2 ran O"], ["0 a O", "1 b O"], ["1-2 am O", "1 a O", "2 m O", "2.1 x O"]]
)
def test_numbered_columns_are_refused(write, rows):
    with pytest.raises(la.DataError, match="counts the tokens"):
        read(write("x.conll", "# sent_id = 1\n" + "\n".join(row.replace(" ", "\t") for row in rows)))


# ---- names


@pytest.mark.parametrize(
    "name", ["data/a/b", "my data", "~/x", "data.trian", "owner/x.jsn", "owner/x.xlsx", "C:\\x", "a\0b", "x\ud800"]
)
def test_a_name_that_looks_like_a_path_is_never_asked_of_the_hub(name, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(la.DataError, match=r"does not exist|is not a file name"):
        read(name)


def test_a_slip_beside_a_file_that_is_there_is_not_asked_of_the_hub(tmp_path, monkeypatch):
    import datasets

    asked, found = [], datasets.Dataset.from_list([{"text": "a"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **_: asked.append(name) or found)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parcels").mkdir()
    (tmp_path / "parcels" / "train.jsonl").write_text(json.dumps({"text": "a"}))
    with pytest.raises(la.DataError, match="parcels/trainjsonl does not exist"):
        read("parcels/trainjsonl")
    read("parcels/other")
    assert asked == ["parcels/other"]
