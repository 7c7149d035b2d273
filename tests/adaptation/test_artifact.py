"""The saved folder: small, complete, readable by stock PEFT, and refused when anything about it is wrong."""

from __future__ import annotations

import json
import os
import shutil

import peft
import pytest
import torch
from learned import stir, trainable
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.adaptation import artifact
from lightadapt.adaptation.digests import digests_of, seal
from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.adaptation.stored import REQUIRED


@pytest.fixture
def saved(tiny, messages, tmp_path):
    """A saved adaptation whose trained tensors are not at their start."""

    def make(task="classification", method="lora", name="bert", **options):
        adapted = la.adapt(tiny(name), task, method, labels=messages, **options)
        stir(trainable(adapted.model).values())
        adapted.save(tmp_path / "saved")
        return adapted, tmp_path / "saved"

    return make


def change(folder, tensors):
    """Other weights, with a manifest that fits them."""
    save_file(tensors, folder / peft_bridge.WEIGHTS_NAME)
    edit(folder)


def edit(folder, **fields):
    """A manifest with other fields, and with digests that fit what lies in the folder."""
    file = folder / MANIFEST_NAME
    facts = {"sha256": artifact._digest(folder), "digests": digests_of(folder)}
    file.write_text(json.dumps(seal({**json.loads(file.read_text()), **facts, **fields})))


def test_the_folder_holds_json_safetensors_tokenizer_and_card(saved):
    adapted, folder = saved()
    names = {entry.name for entry in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "lightadapt.json", "README.md"} <= names
    assert {entry.suffix for entry in folder.iterdir()} <= {".json", ".safetensors", ".md", ".txt"}
    card = (folder / "README.md").read_text()
    base = adapted.runner.adaptation.design.blueprint.source.name
    assert str(adapted).replace(base, "bert") in card
    assert "pipeline_tag: text-classification" in card
    assert "`refund`" in card


@pytest.mark.parametrize("method", ["lora", "probe", "full"])
@pytest.mark.parametrize("task", ["classification", "ner"])
def test_stock_peft_reads_it(plain_processor, saved, tiny, messages, task, method):
    adapted, folder = saved(task, method)
    auto = AutoModelForSequenceClassification if task == "classification" else AutoModelForTokenClassification
    base = auto.from_pretrained(tiny("bert"), num_labels=adapted.model.config.num_labels)
    stock = peft.PeftModel.from_pretrained(base, folder).eval()
    batch = adapted.tokenizer([record["text"] for record in messages[:4]], return_tensors="pt", padding=True)
    with torch.no_grad():
        torch.testing.assert_close(stock(**batch).logits, adapted.model(**batch).logits, rtol=1e-4, atol=1e-6)


def test_fresh_poolers_are_trained_and_saved(tiny, messages, tmp_path):
    folder = tmp_path / "headless"
    AutoModel.from_pretrained(tiny("bert"), add_pooling_layer=False).save_pretrained(folder)
    la.adapt(tiny("bert"), "classification", labels=messages).tokenizer.save_pretrained(folder)
    adapted = la.adapt(folder, "classification", labels=messages)
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} <= adapted.runner.adaptation.base.head
    assert adapted.model.bert.pooler.dense.weight.requires_grad
    adapted.save(tmp_path / "saved")
    texts = [record["text"] for record in messages]
    expected = adapted.predict(texts, scores=True)
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == expected
    # An instance of the bare model has a pooler of its own, which is not the one that was trained.
    assert la.load(tmp_path / "saved", base=AutoModel.from_pretrained(folder)).predict(texts, scores=True) == expected


def test_a_backbone_that_would_stay_random_is_refused(tiny, tmp_path):
    shutil.copytree(tiny("bert"), tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1." not in name}
    save_file(kept, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(la.LightAdaptError, match=r"16 tensors of the backbone are not in the checkpoint"):
        la.adapt(tmp_path / "broken", "ner", labels=["PER"])


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 100])
def test_damaged_base_weights_are_refused(tiny, tmp_path, content):
    shutil.copytree(tiny("bert"), tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(content)
    with pytest.raises(la.LightAdaptError, match=r"The weights of .* cannot be loaded"):
        la.adapt(tmp_path / "broken", "ner", labels=["PER"])


def test_a_base_with_values_that_are_not_finite_is_refused(tiny, messages):
    base = AutoModel.from_pretrained(tiny("bert"))
    base.encoder.layer[0].output.dense.bias.data.fill_(float("nan"))
    with pytest.raises(la.LightAdaptError, match=r"layer.0.output.dense.bias holds values that are not finite"):
        la.adapt(base, "classification", labels=messages)


def test_training_goes_on_after_loading(saved, messages):
    _, folder = saved()
    assert la.load(folder).fit(messages, epochs=1).steps > 0


# ---- saving is atomic


def test_a_crash_while_writing_leaves_the_last_save(saved, messages, monkeypatch):
    adapted, folder = saved()
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    adapted.model.classifier.weight.data += 1

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(adapted.tokenizer, "save_pretrained", crash)
    with pytest.raises(la.ArtifactError, match=r"disk full.*unchanged"):
        adapted.save(folder)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def test_a_full_disk_is_an_artifact_error(saved, monkeypatch):
    adapted, folder = saved()

    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(artifact, "save_file", full)
    with pytest.raises(la.ArtifactError, match=r"No space left on device. What was saved there before is unchanged"):
        adapted.save(folder)
    assert la.load(folder).labels == adapted.labels


def test_a_crash_between_the_two_renames_is_mended(saved, monkeypatch):
    adapted, folder = saved()
    expected = adapted.predict(["a late parcel"], scores=True)
    real, calls = os.replace, []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) > 1:  # the process is gone: nothing is put back either
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        adapted.save(folder)
    monkeypatch.undo()
    assert not folder.exists()
    assert la.load(folder).predict(["a late parcel"], scores=True) == expected
    assert not folder.exists()  # a reader only reads; the next save puts things in order
    adapted.save(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def test_a_linked_folder_stays_a_link(saved, tmp_path):
    adapted, _ = saved()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real", target_is_directory=True)
    for _ in range(2):
        adapted.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert la.load(tmp_path / "link").labels == adapted.labels
    assert [entry.name for entry in (tmp_path / "disk").iterdir()] == ["real"]
    for nowhere in ("", ".", "new/..", None):
        with pytest.raises(la.ArtifactError, match="does not name a folder"):
            adapted.save(nowhere)


def test_the_remains_of_a_killed_save_are_cleared_and_the_only_copy_is_kept(saved):
    adapted, folder = saved()
    (folder.parent / ".saved.0a1b2c3d.part").mkdir()
    folder.rename(folder.with_name(".saved.previous"))
    folder.mkdir()
    assert la.load(folder).labels == adapted.labels
    adapted.save(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def test_a_folder_with_other_files_is_not_touched(saved, tmp_path):
    adapted, folder = saved()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(la.ArtifactError, match="holds other files"):
        adapted.save(tmp_path / "mine")
    (folder / "notes.txt").write_text("keep me")
    adapted.save(folder)
    assert (folder / "notes.txt").read_text() == "keep me"


# ---- loading is strict


def test_missing_extra_and_misshapen_tensors_are_named(saved):
    _, folder = saved()
    tensors = load_file(folder / peft_bridge.WEIGHTS_NAME)
    name = next(entry for entry in tensors if "lora_A" in entry)
    change(folder, {entry: tensor for entry, tensor in tensors.items() if entry != name})
    with pytest.raises(la.ArtifactError, match=f"the tensor '{name}' is missing"):
        la.load(folder)
    change(folder, {**tensors, "base_model.model.extra": torch.zeros(1)})
    with pytest.raises(la.ArtifactError, match=r"the tensor 'base_model.model.extra' is not part of this adaptation"):
        la.load(folder)
    change(folder, {**tensors, name: torch.zeros(2, 2)})
    with pytest.raises(la.ArtifactError, match=r"has the shape \[2, 2\], but the model needs \[8, 32\]"):
        la.load(folder)


def test_damage_is_found(saved):
    _, folder = saved()
    weights = folder / peft_bridge.WEIGHTS_NAME
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(la.ArtifactError, match="is damaged or from another save"):
        la.load(folder)
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert la.load(folder).labels
    config = folder / peft_bridge.CONFIG_NAME
    config.write_text(config.read_text().replace('"lora_alpha": 16.0', '"lora_alpha": 32.0'))
    with pytest.raises(la.ArtifactError, match="is damaged or from another save"):
        la.load(folder)
    weights.unlink()
    with pytest.raises(la.ArtifactError, match=r"is incomplete: adapter_model.safetensors is missing"):
        la.load(folder)
    (folder / MANIFEST_NAME).write_text("{")
    with pytest.raises(la.ArtifactError, match="is damaged"):
        la.load(folder)
    (folder / MANIFEST_NAME).unlink()
    with pytest.raises(la.ArtifactError, match="It is a PEFT adapter of another library"):
        la.load(folder)
    with pytest.raises(la.ArtifactError, match="There is no folder"):
        la.load(folder / "nowhere")


def test_a_newer_schema_and_unknown_parts_are_refused(saved):
    _, folder = saved()
    edit(folder, schema=99, versions={"lightadapt": "7.0"})
    with pytest.raises(la.ArtifactError, match=r"has schema 99, written by lightadapt 7.0; this one reads up to 3"):
        la.load(folder)
    for name in REQUIRED:
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
        (folder / MANIFEST_NAME).write_text(
            json.dumps({**{key: value for key, value in manifest.items() if key != name}, "schema": 2})
        )
        with pytest.raises(la.ArtifactError, match=f"'{name}' is missing"):
            la.load(folder)
        (folder / MANIFEST_NAME).write_text(json.dumps({**manifest, "schema": 2}))
    edit(folder, schema=2, task={"name": "poetry", "settings": {}})
    with pytest.raises(la.ArtifactError, match="task 'poetry' is not known here"):
        la.load(folder)


def test_another_base_is_refused(saved, tiny, tmp_path):
    _, folder = saved()
    torch.manual_seed(2)
    other = AutoModel.from_config(AutoModel.from_pretrained(tiny("bert")).config)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(la.ArtifactError, match="trained on another base"):
        la.load(folder, base=tmp_path / "other")
    with pytest.raises(la.LightAdaptError):
        la.load(folder, base=tiny("distilbert"))


def test_one_changed_matrix_is_another_base(saved, tiny, tmp_path):
    _, folder = saved()
    base = AutoModel.from_pretrained(tiny("bert"))
    base.encoder.layer[1].output.dense.weight.data *= 1.02
    with pytest.raises(la.ArtifactError, match="trained on another base"):
        la.load(folder, base=base)


def test_a_base_that_moved_is_asked_for(saved, tiny, tmp_path):
    adapted, folder = saved()
    moved = shutil.copytree(tiny("bert"), tmp_path / "moved")
    edit(folder, base={**json.loads((folder / "lightadapt.json").read_text())["base"], "id": "/gone/away"})
    with pytest.raises(la.ArtifactError, match=r"the model in /gone/away, which is not there\. Pass base="):
        la.load(folder)
    texts = ["where is it", "thank you"]
    assert la.load(folder, base=moved).predict(texts, scores=True) == adapted.predict(texts, scores=True)


def test_the_ner_artifact_of_a_small_encoder_is_small(tokenizers, tmp_path):
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    base = AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=400, **shape))  # MiniLM's, but for the words
    ner = la.adapt(base, "ner", labels=["LOC", "MISC", "ORG", "PER"], tokenizer=tokenizers("word"))
    ner.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter_model.safetensors").stat().st_size < 1.5e6


def test_the_files_of_a_tokenizer_tell_nothing_of_the_calls_before(saved, tmp_path):
    adapted, first = saved()
    adapted.tokenizer(["some text", "more"], padding="max_length", truncation=True, max_length=7)
    adapted.save(tmp_path / "again")
    assert (first / "tokenizer.json").read_bytes() == (tmp_path / "again" / "tokenizer.json").read_bytes()
    assert json.loads((first / "tokenizer.json").read_text())["truncation"] is None
