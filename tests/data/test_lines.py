"""Large files: the same records and the same errors as of small ones, in memory that does not grow with them."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path

import pytest
import torch

import lightadapt as la
from lightadapt.data import lines, read
from lightadapt.data.lines import FileLines
from lightadapt.data.stored import OnDisk, Stored

LINE = '{"text": "café", "label": "a"}'
FILES = {
    "plain.jsonl": f"{LINE}\n\n  \n{LINE}\n",
    "no end.jsonl": f"{LINE}\n{LINE}",
    "ends.jsonl": f"{LINE}\r\n{LINE}\r{LINE}\r\r\n{LINE}\n",
    "mark.jsonl": f"\ufeff{LINE}\n{LINE}\n",
    "separators.jsonl": '{"text": "a\u2028b\x85c\x0bd", "label": "a"}\n\u00a0\n' + LINE,
    "empty.jsonl": "\n\n",
    "nothing.jsonl": "",
    "broken.jsonl": f'{LINE}\n\n{{"text": "b"\n{LINE}\n',
    "twice.jsonl": '{"text": "a", "text": "b"}\n',
    "list.jsonl": f"{LINE}\n\n[1]\n",
    "nul.jsonl": f"{LINE}\n{LINE}\0\n",
    "latin.jsonl": f"{LINE}\n".encode() + LINE.encode("latin-1"),
    "broken, then latin.jsonl": b"{\n" + LINE.encode("latin-1"),
    "wide.jsonl": LINE.encode("utf-16"),
    "plain.csv": 'text,label\na,b\n\n"c\nd",\ne,f',
    "ends.csv": "text,label\r\na,b\r\nc,d\r\n",
    "fields.csv": "text,label\na,b\nc,d,e\n",
    "open.csv": 'text,label\na,b\n"c,d\ne,f\n',
    "swallowed.csv": 'text,label\n"a,b\nc",b\nc,b\n',
    "header.csv": "text,text\na,b\n",
    "quotes.tsv": 'text\tlabel\n"a\tb\nc\tb\n"d\tb\n',
    "plain.conll": "-DOCSTART- O\n\n# text = b\na O\nb B-X\n\n\nc O",
    "broken.conll": "a O\n\nb\n",
    "counted.conll": "1 a O\n2 b O\n\n1 c O\n",
}


def outcome(path: Path):
    """What a file is read as, or why not."""
    try:
        records = read(path)
    except la.DataError as error:
        return str(error)
    return list(records), list(records.lines), [records.place(index) for index in range(len(records))], records.fields


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:Record 1")  # of a field over two lines
def test_a_large_file_is_read_as_a_small_one(write, monkeypatch, name):
    path = write(name, FILES[name])
    small = outcome(path)
    monkeypatch.setattr(lines, "LARGE", 0)
    assert outcome(path) == small


def test_large_files_stay_on_the_disk(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 10)
    assert isinstance(read(write("a.jsonl", LINE)).items, OnDisk)
    assert isinstance(read(write("a.csv", "text,label\na,b\n")).items, Stored)
    assert isinstance(read(write("a.conll", "word B-X\nword O\n")).items, Stored)
    assert isinstance(read(write("a.jsonl", "{}")).items, list)
    renamed = read(write("a.jsonl", LINE), columns={"body": "text"})
    assert isinstance(renamed.items, OnDisk)
    assert renamed.items[0] == {"body": "café", "label": "a"}


def test_lines_are_a_sequence(write):
    found = FileLines(write("x.txt", "a\n\nb\r\nc"))
    assert list(found) == ["a", "", "b", "c"]
    assert found[2] == found[-2] == "b"
    assert found[1:3] == ["", "b"]
    with pytest.raises(IndexError):
        found[4]


def test_a_file_that_changes_is_refused(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 0)
    path = write("x.jsonl", f"{LINE}\n{LINE}\n")
    for change in (lambda: write("x.jsonl", LINE), lambda: os.utime(path, (1, 1))):
        write("x.jsonl", f"{LINE}\n{LINE}\n")
        records = read(path)
        assert records.items[0]["label"] == "a"
        change()
        with pytest.raises(la.DataError, match=r"x\.jsonl has changed since it was read"):
            records.items[1]
        with pytest.raises(la.DataError, match=r"x\.jsonl has changed since it was read"):
            list(records)


def test_a_file_that_is_gone_is_missed_by_who_must_open_it_again(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 0)
    path = write("x.jsonl", f"{LINE}\n{LINE}\n")
    records = read(path)
    sent = pickle.loads(pickle.dumps(records))
    assert list(sent) == list(records)
    sent = pickle.loads(pickle.dumps(records))
    path.unlink()
    with pytest.raises(la.DataError, match=r"x\.jsonl cannot be read \(No such file"):
        sent.items[0]


def test_forked_workers_read_lines_for_themselves(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 0)
    records = read(write("x.jsonl", "".join(f'{{"label": {number}}}\n' for number in range(200))))
    loader = torch.utils.data.DataLoader(records.items, batch_size=10, num_workers=2)
    assert torch.cat([each["label"] for each in loader]).tolist() == list(range(200))
    assert records.items[5] == {"label": 5}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "conll"])
def test_memory_does_not_grow_with_a_file(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(lines, "LARGE", 0)
    word = "word" * 100
    made = {
        "jsonl": (la.Classification(labels=["a", "b"]), "", json.dumps({"text": word, "label": "a"})),
        "csv": (la.Classification(labels=["a", "b"]), "text,label\n", f"{word},a"),
        "conll": (la.NER(labels=["X"]), "", f"{word} B-X\n"),
    }
    task, header, record = made[kind]

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.{kind}"
        path.write_text(header + f"{record}\n" * count)
        tracemalloc.start()
        examples, _ = task.read_examples(path, split="train", columns=None)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(examples) == count
        return size

    peak(10)
    assert (peak(3000) - peak(600)) / 2400 < 80  # bytes a record, which has more than 400
