"""Tables of any library give the same plain records, or are refused by what they are."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

import lightadapt as la
from lightadapt.data import is_collection, read
from lightadapt.tasks import NER, Classification

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": None}]


class Frame:
    """A frame of a library that nobody knows, which gives its content in one way."""

    def __init__(self, way):
        table = pyarrow.Table.from_pylist(ROWS)
        self.columns = table.column_names
        setattr(self, way, {"to_dicts": lambda: ROWS}.get(way, getattr(table, way, None)))


class Exchanged:
    columns = ("text", "label")

    def __dataframe__(self, *args, **options):
        return pyarrow.Table.from_pylist(ROWS).__dataframe__(*args, **options)


class Planned:
    columns = ("text", "label")

    def collect(self):
        return ROWS


class Broken(Planned):
    def to_dicts(self):
        raise RuntimeError("no memory")


class Mapped(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"text": "ab"[index], "label": torch.tensor(index)}


class Streamed(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(ROWS)


def tables():
    table = pyarrow.Table.from_pylist(ROWS)
    return [table, table.to_batches()[0], table.to_reader(), Frame("to_dicts"), Exchanged(), Streamed()]


@pytest.mark.parametrize("table", tables(), ids=lambda table: type(table).__name__)
def test_frames_of_any_library_are_read(table):
    assert list(read(table)) == ROWS


def test_what_is_no_frame_yet_or_fails_is_refused_by_what_it_is():
    with pytest.raises(la.DataError, match=r"Planned, which is not computed yet\. Give what its collect\(\) returns"):
        read(Planned())
    with pytest.raises(la.DataError, match=r"Broken, which cannot be read \(RuntimeError: no memory\)"):
        read(Broken())
    twice = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    with pytest.raises(la.DataError, match="two columns named 'text'"):
        read(twice)


def test_whole_numbers_that_pandas_made_floats_of_are_whole_again():
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [0, None, 3], "score": [0.5, None, 1], "none": [None] * 3})
    rows = list(read(frame))
    assert [row["label"] for row in rows] == [0, None, 3]
    assert [type(row["label"]) for row in rows] == [int, type(None), int]
    assert [row["score"] for row in rows] == [0.5, None, 1.0]
    assert [row["none"] for row in rows] == [None] * 3
    assert type(list(read(frame[["score"]].dropna()))[1]["score"]) is float


def test_a_series_of_texts_is_a_collection_and_a_frame_is_none():
    assert is_collection(pyarrow.array(["a"]))
    assert is_collection(np.array(["a"]))
    assert not is_collection(pyarrow.table({"text": ["a"]}))
    assert not is_collection(b"a")


def test_a_data_set_of_torch_is_read_by_its_numbers():
    found = Classification().parse(Classification().read(Mapped()))
    assert [(example.text, example.label) for example in found] == [("a", 0), ("b", 1)]
    assert type(found[0].label) is int


@pytest.mark.parametrize("form", ["torch", "numpy", "pandas", "arrow"])
def test_the_format_of_a_data_set_does_not_matter(form):
    entities = [[{"start": 0, "end": 3, "label": "PER"}]]
    data = datasets.Dataset.from_dict({"text": ["Ann ran"], "entities": entities, "label": [1]})
    assert read(data.with_format(form)).items == [{"text": "Ann ran", "entities": entities[0], "label": 1}]
    if form != "pandas":
        assert next(iter(read(data.to_iterable_dataset().with_format(form))))["label"] == 1


NAMED = datasets.ClassLabel(names=["PER", "LOC"])


def test_class_numbers_become_names_however_deep_they_are():
    number = datasets.Value("int64")
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "entities": datasets.List({"start": number, "end": number, "label": NAMED}),
            "deep": {"lists": datasets.List(datasets.List(NAMED)), "other": number},
        }
    )
    entities = [{"start": 0, "end": 3, "label": 0}, {"start": 4, "end": 7, "label": 1}]
    rows = {"text": ["Ann ran"], "entities": [entities], "deep": [{"lists": [[0], [1, -1]], "other": 1}]}
    (record,) = read(datasets.Dataset.from_dict(rows, features=features)).items
    assert record["deep"] == {"lists": [["PER"], ["LOC", None]], "other": 1}
    (example,) = NER().parse(NER().read([record]))
    assert example.entities == [(0, 3, "PER"), (4, 7, "LOC")]


def test_a_class_number_without_a_name_is_refused():
    class Row(dict):
        features = {"label": NAMED}  # noqa: RUF012

        def with_format(self, _):
            return [{"label": 0}, {"label": 7}]

    class Data:
        features = Row.features
        with_format = Row.with_format

        def __len__(self):
            return 2

    with pytest.raises(la.DataError, match="Record 1: label holds the class number 7, but its ClassLabel has"):
        read(Data())


def test_a_row_that_cannot_be_decoded_is_named():
    class Data:
        features = None

        def with_format(self, _):
            yield {"text": "a"}
            raise OSError("no such image")

    with pytest.raises(la.DataError, match=r"Record 1 cannot be read from the data set \(OSError: no such image\)"):
        read(Data())
