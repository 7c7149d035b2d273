"""Names: packed files, several files, patterns, pairs of files, folders, splits, and columns of CoNLL files."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import zlib
from types import ModuleType, SimpleNamespace

import datasets
import pytest

import lightadapt as la
from lightadapt.data import lines, read
from lightadapt.data.skipping import BadRecords
from lightadapt.tasks import NER, Classification, Translation

ROWS = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(6)]
JSONL = "\n".join(map(json.dumps, ROWS))


# ---- packed files


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("x.jsonl.gz", JSONL, "JSON lines in .gz"),
        ("x.JSON.GZ", json.dumps(ROWS), "JSON in .gz"),
        ("x.csv.gz", "text,label\n" + "\n".join(f"{row['text']},{row['label']}" for row in ROWS), "CSV in .gz"),
    ],
)
def test_packed_files_are_read(write, monkeypatch, name, content, form, large):
    if large:
        monkeypatch.setattr(lines, "LARGE", 10)
    path = write(name, gzip.compress(content.encode()))
    records = read(path)
    assert list(records) == ROWS
    assert records.form == form
    if records.lines is not None:
        assert records.place(2).startswith(f"Record 2 ({path}, line")
    if large and name == "x.jsonl.gz":
        again = pickle.loads(pickle.dumps(records.items))
        assert list(again) == ROWS


@pytest.mark.parametrize("large", [False, True])
def test_broken_packed_files_are_named(write, monkeypatch, large):
    if large:
        monkeypatch.setattr(lines, "LARGE", 10)
    whole = gzip.compress(JSONL.encode())
    for content in (b"plain", whole[:-9], whole[:20]):
        with pytest.raises(la.DataError, match=r"x\.jsonl\.gz cannot be unpacked"):
            read(write("x.jsonl.gz", content))
    with pytest.raises(la.DataError, match=r"x\.csv\.gz is not UTF-8: byte 0xff in line 2"):
        read(write("x.csv.gz", gzip.compress(b"text,label\n\xff,a\n" * 9)))
    with pytest.raises(la.DataError, match=r"is packed, but \.parquet is read as it is only"):
        read(write("x.parquet.gz", whole))


def test_zstandard_is_named_where_it_is_missing_and_used_where_it_is_not(write, monkeypatch):
    path = write("x.jsonl.zst", JSONL)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(la.DataError, match="pip install zstandard"):
        read(path)

    pretended = ModuleType("zstandard")  # zlib has the same interface
    pretended.ZstdDecompressor = lambda: SimpleNamespace(decompressobj=zlib.decompressobj)
    monkeypatch.setitem(sys.modules, "zstandard", pretended)
    half = len(JSONL) // 2
    frames = zlib.compress(JSONL[:half].encode()) + zlib.compress(JSONL[half:].encode())
    for large in (2**23, 10):
        monkeypatch.setattr(lines, "LARGE", large)
        assert list(read(write("x.jsonl.zst", frames))) == ROWS
        for broken in (frames[:-9], frames[: len(frames) // 4], b"plain"):
            with pytest.raises(la.DataError, match=r"x\.jsonl\.zst cannot be unpacked"):
                read(write("x.jsonl.zst", broken))


# ---- several files


def test_several_files_are_one_behind_the_other_and_known_by_name(write, tmp_path):
    first, second = (
        write("a.jsonl", f"{json.dumps(ROWS[0])}\n\n{json.dumps(ROWS[1])}"),
        write("b.jsonl", json.dumps(ROWS[2])),
    )
    for source in ([first, second], (str(first), second), str(tmp_path / "*.jsonl"), tmp_path / "?.jsonl"):
        records = read(source)
        assert list(records) == ROWS[:3]
        assert records.place(1) == f"Record 1 ({first}, line 3)"
        assert records.place(2) == f"Record 2 ({second}, line 1)"
        assert records.only([2]).place(0) == f"Record 2 ({second}, line 1)"
        assert records.form == "JSON lines, 2 files"
    task = Classification(labels=["b", "c"])
    examples = task.parse(records)
    with pytest.raises(la.DataError, match=rf"Record 2 \({second}, line 1\): label 'a' is not among"):
        task.check_answers(examples[2:], records.part(2, 3))


@pytest.mark.parametrize("large", [False, True])
def test_what_is_left_out_of_several_files_is_counted_over_all(write, tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr(lines, "LARGE", 0)
    write("a.jsonl", f"{json.dumps(ROWS[0])}\nbroken\n{json.dumps(ROWS[1])}")
    write("b.jsonl", f"broken\n{json.dumps(ROWS[2])}")
    bad = BadRecords("skip")
    records = read(str(tmp_path / "*.jsonl"), bad=bad)
    assert bad.count == 2
    assert [records.number(index) for index in range(3)] == [0, 2, 4]
    assert [record["text"] for record in records] == [row["text"] for row in ROWS[:3]]
    assert records.items[-1] == ROWS[2]
    with pytest.raises(la.DataError, match=r"a\.jsonl, line 2 is not JSON"):
        read(str(tmp_path / "*.jsonl"))


def test_several_files_of_one_form_only(write, tmp_path):
    write("a.jsonl", JSONL)
    write("b.csv", "text,label\na,b\n")
    with pytest.raises(la.DataError, match=r"b\.csv is CSV, but .*a\.jsonl is JSON lines"):
        read(str(tmp_path / "*"))
    with pytest.raises(la.DataError, match="No file matches"):
        read(str(tmp_path / "*.tsv"))
    with pytest.raises(la.DataError, match="does not exist"):
        read([tmp_path / "a.jsonl", tmp_path / "c.jsonl"])
    with pytest.raises(la.DataError, match="Record 0 is a str, not a dict"):
        read(["a text", "another"])


def test_a_pattern_is_predicted_from(classifier, write, tmp_path):
    write("a.jsonl", JSONL)
    write("b.jsonl", JSONL)
    model = classifier(labels=["a", "b"])
    assert model.predict(str(tmp_path / "*.jsonl")) == model.predict([row["text"] for row in ROWS] * 2)


def test_a_folder_of_texts_is_predicted_from(tiny, write, tmp_path):
    write("a.txt", "Maria came.")
    write("a.ann", "")
    model = la.adapt(tiny("bert"), "ner", labels=["PER"])
    assert model.predict(str(tmp_path)) == model.predict(["Maria came."])


# ---- pairs of files


def test_two_files_of_lines_are_a_translation(write):
    pair = (write("train.en", "one\n\ntwo\n\n"), write("train.de", "eins\n\nzwei\n"))
    with pytest.raises(la.DataError, match=r"train\.en has 4 lines but .*train\.de has 3"):
        Translation().read(pair)
    write("train.en", "one\n\ntwo")
    for source in (pair, tuple(map(str, pair))):
        records = Translation().read(source)
        assert list(records) == [{"source": "one", "target": "eins"}, {"source": "two", "target": "zwei"}]
        assert list(records.lines) == [1, 3]
        assert list(read(source)) == list(records)
    write("train.de", "eins\nzwei\n")
    write("train.en", "one\n \n")
    with pytest.raises(la.DataError, match=r"line 2.*source is empty"):
        Translation().parse(Translation().read(pair))
    with pytest.raises(la.DataError, match=r"train\.fr does not exist"):
        Translation().read((pair[0], "train.fr"))


def test_two_texts_of_lines_are_no_conll_where_there_is_a_target(write):
    pair = (write("a.txt", "one\n"), write("b.txt", "eins\n"))
    assert list(Translation().read(pair)) == [{"source": "one", "target": "eins"}]
    tagged = (write("c.txt", "a O\n"), write("d.txt", "b O\n"))
    assert [record["tokens"] for record in NER().read(tagged)] == [["a"], ["b"]]


# ---- splits and folders


def test_of_several_splits_the_one_is_read_that_the_data_is_for():
    parts = {name: datasets.Dataset.from_list([row]) for name, row in zip(("train", "dev", "test"), ROWS, strict=False)}
    data = datasets.DatasetDict(parts)
    for split, row in zip(("train", "validation", "test"), ROWS, strict=False):
        assert list(read(data, split=split)) == [row]
    with pytest.raises(la.DataError, match=r"splits \(train\), none of which is called 'test'"):
        read(datasets.DatasetDict({"train": parts["train"]}), split="test")


def test_a_model_takes_the_splits_by_what_it_does(classifier):
    data = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS) for name in ("train", "validation", "test")})
    model = classifier(labels=["a", "b"])
    model.fit(data, data, args={"max_steps": 1, "disable_tqdm": True})
    assert model.runner.last_run.settings["records"] == len(ROWS)
    assert model.evaluate(data)["accuracy"] >= 0
    assert len(model.predict(data)) == len(ROWS)


def test_a_folder_is_answered_with_the_file_that_it_should_have_been(write, tmp_path):
    write("train.jsonl", JSONL)
    write("dev.csv", "text,label\na,b\n")
    write("notes.md", "x")
    for split, name in (("train", "train.jsonl"), ("validation", "dev.csv"), ("test", "dev.csv")):
        with pytest.raises(
            la.DataError, match=rf"is a folder\. Give one file of it, such as \S*{name}\. It has dev\.csv, train"
        ):
            read(tmp_path, split=split)


# ---- what is in a file


def test_a_list_under_the_name_of_lines(write):
    for content in (json.dumps(ROWS), json.dumps(ROWS, indent=1)):
        records = read(write("x.jsonl", content))
        assert list(records) == ROWS
        assert records.form == "JSON"
    with pytest.raises(la.DataError, match="line 1 is not JSON"):
        read(write("x.jsonl", "[{\n"))


COLUMNS = "# global.columns = ID FORM UPOS NER\n1\tAnn\tPROPN\tB-PER\n2\tran\tVERB\tO\n\n"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (COLUMNS, {"tags": "NER"}),
        (COLUMNS, {"tokens": "FORM", "tags": 3}),
        (COLUMNS, {"tokens": 1}),
        (COLUMNS, {"tokens": 1, "tags": -1}),
        ("Word POS NER Chunk\n\nAnn PROPN B-PER x\nran VERB O y\n", {"tags": "NER"}),
        ("Ann PROPN B-PER x\nran VERB O y\n", {"tags": 2}),
        ("Ann PROPN B-PER x\nran VERB O y\n", {"tags": "2"}),
        ("Ann B-PER\nran O\n", {"tokens": "tokens", "tags": "tags"}),
    ],
)
def test_the_column_of_the_tags_is_chosen(write, content, columns):
    records = NER().read(write("x.conll", content), columns=columns)
    assert list(records) == [{"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}]
    assert records.form == "CoNLL"


def test_the_column_is_chosen_where_the_tags_do_not_count_too(write):
    path = write("x.conll", "Ann PROPN B-PER x\nran VERB O y\n")
    for task in (NER(columns={"tags": 2}), NER()):
        columns = None if task.columns else {"tags": 2}
        assert task.read(path, columns=columns, labelled=False).items[0]["tokens"] == ["Ann", "ran"]


def test_a_column_that_is_not_there_is_refused(write):
    path = write("x.conll", COLUMNS)
    with pytest.raises(la.DataError, match=r"no column of \S+ is called so\. Did you mean 'NER'\?"):
        NER().read(path, columns={"tags": "ner"})
    with pytest.raises(la.DataError, match="is not a token with a tag"):
        NER().read(path, columns={"tokens": 1, "tags": 9})
    with pytest.raises(la.DataError, match="counts the tokens"):
        NER().read(path)
    with pytest.raises(la.DataError, match=r"columns=\{'text': 1\}: there is no column 1"):
        Classification().read(ROWS, columns={"text": 1})
