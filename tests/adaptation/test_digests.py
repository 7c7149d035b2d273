"""Every file of an artifact is as it was saved, or that is said; and the number format is that of the training."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from learned import stir, trainable

import lightadapt as la
from lightadapt.adaptation.placing import MANIFEST_NAME

TEXTS = ["where is my parcel", "thank you"]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An artifact that has learned something, and what it predicts."""
    folder = tmp_path_factory.mktemp("digests") / "saved"
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b", "c"], dtype="float32")
    stir(trainable(adapted.model).values())
    adapted.save(folder)
    return folder, adapted.predict(TEXTS, scores=True)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "saved")


def test_every_file_is_listed_with_its_digest(folder):
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    names = {entry.name for entry in folder.iterdir()}
    assert set(manifest["files"]) == names
    assert set(manifest["digests"]) == names - {MANIFEST_NAME}


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_found(folder, whole, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(la.ArtifactError, match=rf"{name} is damaged or from another save.*verify=False"):
        la.load(folder)
    (folder / name).write_bytes(content)
    assert la.load(folder).predict(TEXTS, scores=True) == whole[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["outputs"].reverse(),
        lambda manifest: (manifest["outputs"].reverse(), manifest["labels"].reverse()),
        lambda manifest: manifest["labels"].__setitem__(0, "x"),
        lambda manifest: manifest["task"]["settings"].update(overflow="error"),
        lambda manifest: manifest.update(seed=5),
        lambda manifest: manifest["digests"].update({"tokenizer.json": "0" * 64}),
    ],
)
def test_edits_of_the_manifest_are_found_and_can_be_meant(folder, change):
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    change(manifest)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(la.ArtifactError, match=rf"{MANIFEST_NAME} is damaged or edited.*verify=False"):
        la.load(folder)


def test_labels_that_were_renamed_on_purpose_are_taken(folder, whole):
    text = (folder / MANIFEST_NAME).read_text()
    (folder / MANIFEST_NAME).write_text(text.replace('"a"', '"first"'))
    assert la.load(folder, verify=False).labels == ["first", "b", "c"]


def test_the_card_is_free_and_the_layout_of_the_manifest_too(folder, whole):
    (folder / "README.md").write_text("My words.")
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    (folder / MANIFEST_NAME).write_text(json.dumps(dict(reversed(manifest.items()))))
    assert la.load(folder).predict(TEXTS, scores=True) == whole[1]
    (folder / "README.md").unlink()
    assert la.load(folder).predict(TEXTS, scores=True) == whole[1]


def test_the_number_format_is_kept(folder, whole, monkeypatch):
    monkeypatch.setenv("LIGHTADAPT_PROCESSOR", "bfloat16")
    again = la.load(folder)
    assert again.model.dtype == torch.float32
    assert again.predict(TEXTS, scores=True) == whole[1]
    assert la.load(folder, dtype="bfloat16").model.dtype == torch.bfloat16


def test_a_number_format_that_the_processor_lacks_is_said(tiny, tmp_path, monkeypatch):
    la.adapt(tiny("bert"), "classification", labels=["a", "b"], dtype="bfloat16").save(tmp_path / "saved")
    monkeypatch.setenv("LIGHTADAPT_PROCESSOR", "plain")
    with pytest.warns(UserWarning, match=r"trained on a base in bfloat16 and is loaded on one in float32"):
        assert la.load(tmp_path / "saved").model.dtype == torch.float32
    assert la.load(tmp_path / "saved", dtype="float32").model.dtype == torch.float32


def test_another_number_format_of_a_shared_base_is_said(tiny, tmp_path, folder):
    onto = la.adapt(tiny("bert"), "classification", labels=["a", "b"], dtype="bfloat16")
    with pytest.warns(UserWarning, match=r"trained on a base in float32 and is loaded on one in bfloat16"):
        la.load(folder, onto=onto)


def test_a_base_with_one_value_that_is_not_finite_is_refused(tiny, folder):
    from transformers import AutoModel

    base = AutoModel.from_pretrained(tiny("bert"))
    base.encoder.layer[0].output.dense.weight.data[3, 5] = float("inf")
    with pytest.raises(la.LightAdaptError, match=r"layer.0.output.dense.weight holds values that are not finite"):
        la.load(folder, base=base)


def test_saving_needs_no_installed_metadata(tiny, tmp_path, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from lightadapt.adaptation import manifest

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(manifest, "version", missing)
    la.adapt(tiny("bert"), "classification", labels=["a", "b"]).save(tmp_path / "saved")
    versions = json.loads((tmp_path / "saved" / MANIFEST_NAME).read_text())["versions"]
    assert versions["lightadapt"] == la.__version__
    assert versions["torch"] == torch.__version__


@pytest.mark.parametrize("task", ["classification", "ner", "multilabel"])
def test_labels_with_half_a_character_are_refused_before_the_training(tiny, task):
    with pytest.raises(la.LightAdaptError, match="half a character"):
        la.adapt(tiny("bert"), task, labels=["P\ud800", "Q"])


def test_labels_with_half_a_character_are_refused_in_data(tiny):
    ner = la.adapt(tiny("bert"), "ner")
    with pytest.raises(la.LightAdaptError, match="half a character"):
        ner.fit([{"text": "Maria met", "entities": [{"start": 0, "end": 5, "label": "P\ud800"}]}] * 2, epochs=1)
