"""Streams of records: read once into a file, and learned from there as a list would be."""

from __future__ import annotations

import gc
import os
import pickle
import tracemalloc
from pathlib import Path

import datasets
import pytest
import torch

import lightadapt as la
from lightadapt.adaptation import reader
from lightadapt.data import read
from lightadapt.data.stored import Stored, pieces, stored_like

QUIET = {"disable_tqdm": True, "logging_steps": 1, "per_device_train_batch_size": 6}


def stream(records) -> datasets.IterableDataset:
    return datasets.Dataset.from_list(records).to_iterable_dataset()


def test_a_stored_sequence_is_a_sequence():
    items = [{"a": [number] * number} for number in range(30)]
    stored = Stored(iter(items))
    assert len(stored) == 30
    assert list(stored) == items
    assert stored[7] == items[7]
    assert stored[-1] == items[-1]
    assert stored[3:9:2] == items[3:9:2]
    assert stored.index(items[4]) == 4
    with pytest.raises(IndexError):
        stored[30]
    assert len(Stored([])) == 0


def test_the_file_goes_with_the_object():
    stored = Stored(range(3))
    path = Path(stored._file.name)
    assert path.exists()
    del stored
    assert not path.exists()


def test_forked_workers_read_for_themselves():
    stored = Stored(range(200))
    loader = torch.utils.data.DataLoader(stored, batch_size=10, num_workers=2)
    assert torch.cat(list(loader)).tolist() == list(range(200))
    assert stored[5] == 5


def test_one_that_was_sent_reads_the_same_file():
    """Workers get the data by pickling where processes are not forked: macOS, Windows, Python 3.14."""
    stored = Stored(range(3))
    sent = pickle.loads(pickle.dumps(stored))
    assert list(sent) == [0, 1, 2]
    del sent
    assert stored[2] == 2
    assert Path(stored._name).exists()


def test_stored_like_and_pieces():
    assert stored_like([1], iter("ab")) == ["a", "b"]
    stored = stored_like(Stored([1]), iter("ab"))
    assert isinstance(stored, Stored)
    assert list(stored) == ["a", "b"]
    assert list(pieces(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_memory_does_not_grow_with_the_records():
    def peak(count: int) -> int:
        tracemalloc.start()
        stored = Stored({"text": "word " * 200, "label": number} for number in range(count))
        assert sum(record["label"] for record in stored) == count * (count - 1) // 2
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert (peak(4000) - peak(400)) / 3600 < 32  # bytes a record, which has more than 1,000


@pytest.mark.parametrize("task", ["classification", "ner", "generation", "multiple-choice"])
def test_a_stream_is_learned_as_a_list_is(tiny, messages, monkeypatch, task):
    """The same losses and scores, whatever the pieces that are encoded; the last record has a label of its own."""
    records = {
        "classification": [{"text": each["text"], "label": each["label"]} for each in messages],
        "ner": [{"tokens": ["see", "Rome"] * (1 + n % 3), "tags": ["O", "B-LOC"] * (1 + n % 3)} for n in range(20)],
        "generation": [{"prompt": f"say {n}", "completion": "yes " * (1 + n % 4)} for n in range(20)],
        "multiple-choice": [{"question": f"which {n}", "choices": ["a", "b c"], "answer": n % 2} for n in range(20)],
    }[task]
    model = "gpt2" if task == "generation" else "bert"
    losses, scores = [], []
    for data, piece in ((records, 1_000), (stream(records), 7)):
        monkeypatch.setattr(reader, "PIECE", piece)
        adapted = la.adapt(tiny(model), task)
        history = adapted.fit(data, validation=None if task == "generation" else data, epochs=2, args=QUIET)
        losses.append([loss for _, loss in history.losses])
        scores.append(adapted.predict(records) if task != "generation" else [])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert scores[0] == scores[1]


@pytest.mark.parametrize("form", [list, stream])
def test_what_had_to_be_cut_is_said_once_for_all_pieces(tiny, monkeypatch, form):
    monkeypatch.setattr(reader, "PIECE", 7)
    longest = la.adapt(tiny("bert"), "ner", labels=["LOC"]).runner.max_length
    texts = form([{"text": "so " * (2 * longest if n % 5 == 0 else 3), "label": "ab"[n % 2]} for n in range(20)])
    cut = [
        {"text": "Merkels Haus", "entities": [{"start": 0, "end": 6, "label": "PER"}]},
        {"text": "a", "entities": []},
    ]
    for task, data, said in (
        (la.Classification(), texts, f"4 of 20 texts are longer than {longest} tokens"),
        (la.NER(), form(cut * 10), "10 of 10 entities begin or end where this tokenizer cannot"),
    ):
        with pytest.warns(UserWarning, match=said) as caught:
            la.adapt(tiny("bert"), task).fit(data, epochs=1, args=QUIET)
        assert len([each for each in caught if " of " in str(each.message)]) == 1


def test_a_bad_record_of_a_stream_is_named(tiny, monkeypatch):
    monkeypatch.setattr(reader, "PIECE", 7)
    records = [{"tokens": ["a"], "tags": ["O"]} for _ in range(20)]
    records[15]["tags"] = ["O", "O"]
    with pytest.raises(la.DataError, match="Record 15: tags has 2 items but tokens has 1"):
        la.adapt(tiny("bert"), "ner").fit(stream(records))


def test_columns_and_class_names_of_a_stream():
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [1, 0]}, features=features)
    found = read(data.to_iterable_dataset(), columns={"text": "sentence"})
    assert isinstance(found.items, Stored)
    assert list(found) == [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_file_outlives_a_forked_copy_of_the_object():
    stored = Stored(["one", "two"])
    child = os.fork()
    if not child:
        del stored
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert pickle.loads(pickle.dumps(stored))[1] == "two"  # which opens the file by its name
    name = Path(stored._file.name)
    del stored
    gc.collect()
    assert not name.exists()
