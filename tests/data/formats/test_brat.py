"""brat: texts with annotations beside them, as files or a folder of them."""

from __future__ import annotations

import pytest

import lightadapt as la
from lightadapt.data import read
from lightadapt.data.skipping import BadRecords
from lightadapt.tasks import NER, Relation

TEXT = "Maria met Tom.\r\nShe lives in Rome.\n"
ANNOTATIONS = (
    "T1\tPER 0 5\tMaria\n"
    "T2\tLOC 29 33\tRome\n"
    "R1\tlives_in Arg1:T1 Arg2:T2\t\n"
    "A1\tNegated R1\n"
    "#1\tAnnotatorNotes T1\tsure\n"
    "*\tEquiv T1 T2\n\n"
)


@pytest.fixture
def folder(write, tmp_path):
    write("a.txt", TEXT)
    write("a.ann", ANNOTATIONS)
    write("b.txt", "Nothing here.")
    write("b.ann", "")
    return tmp_path


def test_a_text_its_annotations_and_their_folder_are_read_alike(folder):
    for source in (folder / "a.ann", folder / "a.txt", str(folder / "a.txt")):
        records = NER().read(source)
        (example,) = NER().parse(records)
        assert example.text == TEXT
        assert [(e.start, e.end, e.label) for e in example.entities] == [(0, 5, "PER"), (29, 33, "LOC")]
    assert [len(example.entities) for example in NER().parse(NER().read(folder))] == [2, 0]
    assert NER().read(folder).form == "brat"


def test_relations_are_records_of_their_own(folder):
    (record,) = Relation().read(folder)
    assert record == {"text": TEXT, "head": [0, 5], "tail": [29, 33], "label": "lives_in"}
    (asked,) = Relation().read(folder, labelled=False)
    assert "label" not in asked


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("T1\tPER 0 2;4 5\tMa a", "line 1: T1 is in several pieces"),
        ("T1 PER 0 5 Maria", "line 1: 'T1 PER 0 5 Maria' is not a line of brat"),
        ("T1\tPER 0 5\tTom", "says that it is 'Tom', but its span 0-5 holds 'Maria'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(folder, write, line, said):
    write("a.ann", line)
    with pytest.raises(la.DataError, match=said):
        NER().parse(NER().read(folder / "a.ann"))
    bad = BadRecords("skip")
    NER().parse_usable(NER().read(folder, bad=bad), bad)
    assert bad.count == 1


def test_annotations_without_a_text_are_refused(folder):
    (folder / "b.txt").unlink()
    with pytest.raises(la.DataError, match=r"b\.ann has no text beside it\. Put b\.txt"):
        read(folder)
    bad = BadRecords("skip")
    records = read(folder, bad=bad)
    assert [records.number(index) for index in range(len(records))] == [0]
    assert bad.count == 1
