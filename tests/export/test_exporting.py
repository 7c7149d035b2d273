"""Exports as a whole: what is refused and when, that the folder comes whole or not at all, and the plain model."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import transformers
from learned import as_learned, assert_equal
from task_records import RECORDS

import lightadapt as la
from lightadapt.adaptation.placing import EXPORT_NAME
from lightadapt.export import FORMATS, Format, Merged, exporting
from lightadapt.export.proof import Found, without_scores

CELLS = [
    ("bert", "classification"),
    ("bert", "multilabel"),
    ("distilbert", "regression"),
    ("roberta", "ner"),
    ("deberta-v2", "qa"),
    ("bert", "multiple-choice"),
    ("gpt2", "generation"),
    ("llama", "classification"),
    ("t5", "summarization"),
    ("bart", "classification"),
]


@pytest.mark.parametrize(("name", "task"), CELLS)
def test_merged_folder_gives_the_same_without_lightadapt(moved, tmp_path, name, task):
    adapted = moved(name, task)
    exported = adapted.export(tmp_path / "out", "merged", check=RECORDS[task])
    assert exported.difference < 1e-5
    assert exported.equal in (None, 1.0)
    assert exported.after == pytest.approx(exported.before, abs=1e-3)
    assert adapted.task.headline in exported.after
    auto = adapted.task.auto_classes[adapted.runner.family]
    again = getattr(transformers, auto).from_pretrained(tmp_path / "out")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").vocab_size == adapted.tokenizer.vocab_size
    assert_equal(again.state_dict(), adapted.merge().state_dict())
    if adapted.labels:
        assert set(adapted.runner.outputs) == set(again.config.id2label.values())


def test_export_says_what_was_found_in_print_and_in_a_file(moved, tmp_path):
    exported = moved("bert", "classification").export(tmp_path / "out", Merged(dtype="bfloat16"))
    text = str(exported)
    assert "merged (dtype=bfloat16)" in text
    assert "on 2 records" in text
    assert f"AutoModelForSequenceClassification.from_pretrained({str(tmp_path / 'out')!r})" in text
    assert "accuracy" not in text  # the answers of samples mean nothing
    content = json.loads((tmp_path / "out" / EXPORT_NAME).read_text())
    assert content["settings"] == {"dtype": "bfloat16"}
    assert content["difference"] == exported.difference > 1e-5
    assert sorted(content["files"]) == sorted(each.name for each in (tmp_path / "out").iterdir())


def test_one_of_several_is_exported(moved, tmp_path):
    adapted = moved("bert", "classification")
    expected = adapted.merge().state_dict()
    adapted.add("other", task="ner", labels=["P"])
    as_learned(adapted.use("other"))
    assert adapted.export(tmp_path / "other", "merged").difference < 1e-5
    adapted.use("default").export(tmp_path / "out", "merged")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert_equal(again.state_dict(), expected)


@pytest.mark.parametrize(
    ("format", "options", "phrase"),
    [
        ("merge", {}, "Did you mean 'merged'"),
        ("merged", {"quantize": "int8"}, "has no quantize='int8'"),
        ("merged", {"max_loss": 0.1}, "check="),
        ("merged", {"max_loss": -1, "check": []}, "max_loss=-1"),
        (Merged(base="relode"), {}, "Did you mean 'reload'"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(moved, tmp_path, format, options, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        moved("bert", "classification").export(tmp_path / "out", format, **options)
    assert list(tmp_path.iterdir()) == []


FRESH_HEADS = [
    *(("bert", task) for task in ("classification", "multilabel", "regression", "ner", "qa", "relation")),
    ("bert", "multiple-choice"),
    ("llama", "classification"),
    ("t5", "classification"),
]


@pytest.mark.parametrize("format", [each for each in FORMATS.values() if each.with_head], ids=lambda each: each.name)
@pytest.mark.parametrize(("name", "task"), FRESH_HEADS)
def test_a_head_that_has_learned_nothing_does_not_leave(settled, tmp_path, monkeypatch, format, name, task):
    monkeypatch.setattr(format, "packages", ())
    adapted, _ = settled(name, task)
    try:
        format().check(adapted.runner)
    except la.LightAdaptError:
        phrase = rf"export\('{format.name}'\)"  # it holds no such model, learned or not
    else:
        phrase = rf"export\('{format.name}'\): nothing has been learned yet.* random one. Train it with fit\(…\) first"
    with pytest.raises(la.LightAdaptError, match=phrase):
        adapted.export(tmp_path / "out", format)
    adapted.save(tmp_path / "saved")
    with pytest.raises(la.LightAdaptError, match=phrase):
        la.load(tmp_path / "saved").export(tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_what_has_learned_or_has_no_new_head_leaves(settled, tiny, tmp_path):
    adapted, _ = settled("bert", "qa")
    adapted.fit(RECORDS["qa"], args={"max_steps": 1})
    adapted.export(tmp_path / "out", "lora")
    la.adapt(tiny("llama"), "generation").export(tmp_path / "other", "merged")


def test_labels_must_be_known(tiny, tmp_path):
    with pytest.raises(la.LightAdaptError, match="labels are not known"):
        la.adapt(tiny("bert"), "classification").export(tmp_path / "out", "merged")


@pytest.mark.parametrize(("task", "method", "phrase"), [("relation", "lora", "onnx"), ("ner", "prefix", "artifact")])
def test_what_no_plain_model_holds_is_refused(moved, tmp_path, task, method, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        moved("bert", task, method).export(tmp_path / "out", "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_its_extra(moved, tmp_path, monkeypatch):
    monkeypatch.setattr(Merged, "packages", ("no_such_package",))
    monkeypatch.setattr(Merged, "extra", "things")
    with pytest.raises(la.LightAdaptError, match=r"no_such_package.*pip install 'lightadapt\[things\]'"):
        moved("bert", "classification").export(tmp_path / "out", "merged")


def test_an_adaptation_and_foreign_files_stay(moved, tmp_path):
    adapted = moved("bert", "classification")
    adapted.save(tmp_path / "saved")
    with pytest.raises(la.ArtifactError, match="is a saved adaptation"):
        adapted.export(tmp_path / "saved", "merged")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(la.ArtifactError, match="not an export"):
        adapted.export(tmp_path / "mine", "merged")
    assert la.load(tmp_path / "saved").labels == adapted.labels
    adapted.export(tmp_path / "out", "merged")
    with pytest.raises(la.ArtifactError, match="not a saved adaptation"):
        adapted.save(tmp_path / "out")


def test_an_export_replaces_an_export_and_leaves_files_of_others(moved, tmp_path):
    adapted = moved("bert", "classification")
    adapted.export(tmp_path / "out", "merged")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    adapted.export(tmp_path / "out", Merged(dtype="float16"))
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_a_full_disk_leaves_what_was_there(moved, tmp_path, monkeypatch):
    adapted = moved("bert", "classification")
    adapted.export(tmp_path / "out", "merged")
    before = {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_write_manifest", full)
    with pytest.raises(la.ArtifactError, match=r"No space left.*is unchanged"):
        adapted.export(tmp_path / "out", Merged(dtype="float16"))
    assert {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()} == before
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.fixture
def own(formats_of_users):
    """A format of a user, which claims to find what it is told."""

    @dataclass(frozen=True, kw_only=True)
    class Mine(Format):
        name: ClassVar[str] = "mine"
        found: ClassVar[Found] = Found()
        allowed: ClassVar[float | None] = None

        def write(self, runner, folder):
            (folder / "file").write_text("it")
            return []

        def prove(self, runner, folder, prover):
            return self.found

        def tolerance(self, runner):
            return self.allowed

    return Mine


def test_another_answer_is_warned_of_and_a_loss_can_be_refused(moved, tmp_path, own):
    adapted = moved("bert", "classification")
    records = RECORDS["classification"]
    headline = adapted.evaluate(records)["accuracy"]
    own.found = Found(difference=0.5, equal=0.75, after={"accuracy": headline - 0.25})
    with pytest.warns(UserWarning, match=r"25\.00% of the answers changed.* accuracy .* became"):
        adapted.export(tmp_path / "out", "mine", check=records, max_loss=0.3)
    with pytest.raises(la.LightAdaptError, match=r"loses 0\.2500 of accuracy, more than max_loss=0\.1"):
        adapted.export(tmp_path / "other", "mine", check=records, max_loss=0.1)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("difference", [0.01, float("nan")])
def test_outputs_that_rounding_does_not_explain_are_refused(moved, tmp_path, own, difference):
    own.found, own.allowed = Found(difference=difference, scale=2.0), 1e-4
    with pytest.raises(la.LightAdaptError, match=r"more than rounding explains \(0\.0002\)"):
        moved("bert", "classification").export(tmp_path / "out", "mine")
    assert list(tmp_path.iterdir()) == []


def test_answers_are_compared_without_their_probabilities():
    one = [{"start": 1, "label": "P", "score": 0.5}]
    assert without_scores(one) == without_scores([{"start": 1, "label": "P", "score": 0.6}])
    assert without_scores(one) != without_scores([{"start": 2, "label": "P", "score": 0.5}])


def test_every_format_has_a_file_of_its_own():
    files = [known.__module__.rpartition(".")[2] for known in FORMATS.values()]
    assert files == [name.replace("-", "_") for name in FORMATS]
    assert {"merged", "onnx", "lora", "vllm"} <= set(FORMATS)
