"""What `fit` keeps of its data, and where it is found again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from task_records import RECORDS

import lightadapt as la
from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.adaptation.training_summary import SUMMARY_NAME, TrainingSummary, read_summary
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.stream import summary as making

QUIET = {"disable_tqdm": True}
TEXTS = ["Where is my parcel?", "Money back, please."] * 15


def many(task: str, count: int = 60) -> list[dict]:
    records = RECORDS[task]
    return [records[number % len(records)] for number in range(count)]


def test_vectors_are_those_of_the_base_without_the_adapter(learned):
    kept = learned.runner.last_run.summary
    assert kept.vectors.shape == (120, learned.model.config.hidden_size)
    assert np.allclose(np.linalg.norm(kept.vectors, axis=1), 1, atol=1e-5)
    records = learned.task.read([{"text": "Where is my parcel?"}], labelled=False)
    (alone,) = vectors_of(learned.runner, learned.task.parse(records, labelled=False), adapted=False)
    with learned.disable():
        (disabled,) = vectors_of(learned.runner, learned.task.parse(records, labelled=False))
    assert np.allclose(alone, disabled, atol=1e-5)
    assert (kept.vectors @ alone).max() > 0.5


def test_it_is_saved_and_loaded_as_it_was(learned, tmp_path):
    kept = learned.runner.last_run.summary
    learned.save(tmp_path / "again")
    assert SUMMARY_NAME in json.loads((tmp_path / "again" / MANIFEST_NAME).read_text())["digests"]
    again = la.load(tmp_path / "again").runner.last_run.summary
    assert np.abs(again.vectors - kept.vectors).max() < 0.01
    assert again.counts == kept.counts
    assert again.known.labels == kept.known.labels
    assert again.known.limit == kept.known.limit
    assert learned.drift(TEXTS).p_values == pytest.approx(la.load(tmp_path / "again").drift(TEXTS).p_values, abs=0.02)


@pytest.mark.parametrize("outlier", [0, 50])
def test_eight_bits_turn_a_vector_by_less_than_a_degree(tmp_path, outlier):
    vectors = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    vectors[:, 7] += outlier  # encoders have dimensions that are large in every text
    vectors[3] = 0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    TrainingSummary(vectors).write(tmp_path / "file")
    found = read_summary(tmp_path / "file").vectors
    assert not found[3].any()
    apart = np.delete(found - vectors, 3, 0)
    assert np.linalg.norm(apart, axis=1).max() < np.radians(1)


def test_no_text_is_in_the_file(learned_folder):
    content = (learned_folder / SUMMARY_NAME).read_bytes().lower()
    assert b"parcel" not in content
    assert b"password" in content  # as in the name of a label


@pytest.mark.parametrize("damage", ["cut", "byte"])
def test_a_damaged_one_is_refused(learned_folder, tmp_path, damage):
    folder = shutil.copytree(learned_folder, tmp_path / "saved")
    content = (folder / SUMMARY_NAME).read_bytes()
    (folder / SUMMARY_NAME).write_bytes(content[:-9] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(la.ArtifactError, match=f"{SUMMARY_NAME} is damaged"):
        la.load(folder)
    (folder / SUMMARY_NAME).unlink()
    with pytest.raises(la.ArtifactError, match=f"{SUMMARY_NAME} is missing"):
        la.load(folder)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"vectors": np.zeros((0, 4), np.int8)}, {}),
        ({"vectors": np.zeros((3, 4), np.float32)}, {}),
        ({}, {"counted": 1}),
        ({}, {"counts": {"refund": "many"}}),
        ({"numbers": np.zeros(2, np.int32)}, {}),
        ({"numbers": np.full(120, 9, np.int32)}, {}),
        ({}, {"known": {"labels": ["a"], "usual": [[0, 1]], "limit": 0, "held_out": True}}),
        ({}, {"known": {"labels": ["a", "b", "c"], "usual": [[0, 0]], "limit": 0, "held_out": True}}),
        ({}, {"known": {"labels": ["a", "b", "c"], "usual": [[0, 1]], "limit": float("nan"), "held_out": True}}),
    ],
)
def test_values_that_no_summary_has_are_refused(learned_folder, tmp_path, change, facts):
    file = tmp_path / SUMMARY_NAME
    shutil.copy(learned_folder / SUMMARY_NAME, file)
    arrays = load_file(file)
    header = json.loads(file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")])
    told = json.loads(header["__metadata__"]["summary"])
    save_file({**arrays, **change}, file, metadata={"summary": json.dumps({**told, **facts})})
    with pytest.raises(la.ArtifactError, match="no summary of training data"):
        read_summary(file)


def test_a_second_fit_replaces_it_and_summary_false_leaves_it_out(classifier, messages):
    adapted = classifier()
    adapted.fit(messages, epochs=1, args=QUIET)
    first = adapted.runner.last_run.summary
    assert len(first.vectors) == len(messages)
    adapted.fit(messages[:55], epochs=1, args=QUIET)
    assert len(adapted.runner.last_run.summary.vectors) == 55
    adapted.fit(messages, epochs=1, args=QUIET, summary=False)
    assert adapted.runner.last_run.summary is None


def test_checkpoints_and_few_records_have_none(classifier, messages, tmp_path):
    adapted = classifier()
    adapted.fit(messages, epochs=1, output_dir=tmp_path / "run", args=QUIET)
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert la.load(checkpoint).runner.last_run.summary is None
    adapted.fit(messages[:49], epochs=1, args=QUIET)
    assert adapted.runner.last_run.summary is None


def test_what_fails_does_not_lose_the_training(classifier, messages, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(making, "base_vectors", fail)
    adapted = classifier()
    with pytest.warns(UserWarning, match=r"No summary .*out of memory.*reference="):
        adapted.fit(messages, epochs=1, args=QUIET)
    assert adapted.history is not None
    assert len(adapted.predict(TEXTS[:1])) == 1


TASKS = [
    ("bert", "classification"),
    ("bert", "multilabel"),
    ("bert", "regression"),
    ("bert", "ner"),
    ("bert", "qa"),
    ("bert", "relation"),
    ("bert", "multiple-choice"),
    ("llama", "classification"),
    ("llama", "multiple-choice"),
    ("llama", "generation"),
    ("llama", "dialogue"),
    ("t5", "summarization"),
    ("t5", "multiple-choice"),
    ("distilbert", "classification"),
]


@pytest.mark.filterwarnings("ignore")  # of what records that are repeated are warned of
@pytest.mark.parametrize(("model", "task"), TASKS)
def test_every_task_has_one_and_its_texts_can_be_compared(tiny, model, task):
    adapted = la.adapt(tiny(model), task)
    adapted.fit(many(task), epochs=1, args={**QUIET, "max_steps": 2})
    kept = adapted.runner.last_run.summary
    assert len(kept.vectors) == 60
    labelled = task in ("classification", "multilabel", "ner", "relation")
    assert (kept.counted == 60) == labelled
    found = adapted.drift(many(task, 30))
    assert set(found.p_values) == {"new texts", "labels" if labelled else "mixture"}
    assert found.unlike <= 0.5


def test_what_was_learned_by_full_cannot_be_compared(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    adapted.fit(messages, epochs=1, args=QUIET)
    assert not adapted.runner.last_run.summary.comparable
    with pytest.raises(la.LightAdaptError, match=r"'full' trained the base itself.*reference="):
        adapted.drift(TEXTS)
    assert adapted.drift(TEXTS, reference=messages).texts == len(TEXTS)
