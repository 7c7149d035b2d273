"""What a folder from a stranger cannot do: run code, reach out of itself, or end in another library's exception."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from sealed import reseal, rewrite

import lightadapt as la
from lightadapt import peft_bridge

CONFIG, MANIFEST, TOKENIZER = "adapter_config.json", "lightadapt.json", "tokenizer_config.json"


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An artifact as it was saved."""
    folder = tmp_path_factory.mktemp("whole") / "saved"
    la.adapt(tiny("bert"), "classification", labels=["no", "yes"]).save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(whole, tmp_path / "saved")


@pytest.fixture
def trap(folder, monkeypatch):
    """A module in the folder, importable as when Python runs beside it, that leaves a trace when it is run."""
    (folder / "trap.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w').close()\nclass Model: pass\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.syspath_prepend(str(folder))
    yield "trap"
    assert not (folder.parent / "ran").exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("megatron_config", {"hidden_size": 1}),
        ("megatron_core", "trap"),
        ("auto_mapping", {"parent_library": "trap", "base_model_class": "Model"}),
        ("corda_config", {"cache_file": "trap.py"}),
        ("lora_ga_config", {"cache_file": "trap.py"}),
        ("arrow_config", {"top_k": 1}),
        ("eva_config", {"rho": 2.0}),
        ("layer_replication", [[0, 2], [0, 2]]),
        ("runtime_config", {"ephemeral_gpu_offload": True}),
        ("_custom_modules", {"torch.nn.Linear": "trap.Model"}),
        ("tokenizer_kwargs", {"trust_remote_code": True}),
        ("a_field_of_the_future", 1),
    ],
)
def test_no_field_of_an_adapters_config_reaches_beyond_it(folder, trap, field, value):
    def change(config):
        config.update(megatron_config={"hidden_size": 1}) if field == "megatron_core" else None
        config[field] = value

    rewrite(folder, CONFIG, change)
    with pytest.raises(
        la.ArtifactError, match=rf"{CONFIG} cannot be used: .*{field if field != 'megatron_core' else ''}"
    ):
        la.load(folder)


@pytest.mark.parametrize(
    "kind", ["XLORA", "MULTITASK_PROMPT_TUNING", "SHADOW", "PREFIX_TUNING", "NEWEST", 5, None, ["LORA"]]
)
def test_adapters_that_load_something_of_their_own_are_refused(folder, kind):
    rewrite(folder, CONFIG, lambda config: config.update(peft_type=kind))
    with pytest.raises(la.ArtifactError, match=CONFIG):
        la.load(folder)


def test_the_config_in_a_method_is_read_as_strictly(tiny, tmp_path, trap, folder):
    from peft import VeraConfig

    la.adapt(tiny("bert"), "classification", VeraConfig(r=4), labels=["no", "yes"]).save(folder)
    rewrite(folder, MANIFEST, lambda saved: saved["method"]["settings"]["config"].update(tokenizer_name_or_path="trap"))
    with pytest.raises(la.LightAdaptError, match="tokenizer_name_or_path"):
        la.load(folder)


def test_null_fields_of_a_newer_peft_do_no_harm(folder):
    rewrite(folder, CONFIG, lambda config: config.update(a_field_of_the_future=None))
    assert la.load(folder).labels == ["no", "yes"]


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (TOKENIZER, {"auto_map": {"AutoTokenizer": ["trap.Model", None]}}),
        (TOKENIZER, {"auto_map": ["trap.Model", "trap.Model"]}),
        (TOKENIZER, {"tokenizer_class": "trap.Model"}),
        (TOKENIZER, {"tokenizer_class": "AutoModel"}),
        (TOKENIZER, {"tokenizer_class": 5}),
        (TOKENIZER, {"vocab_file": "../../vocab.txt"}),
        (TOKENIZER, {"fast_tokenizer_files": ["../tokenizer.4.0.json"]}),
        (TOKENIZER, {"init_inputs": ["trap.py"]}),
        (TOKENIZER, {"model_max_length": "many"}),
        (TOKENIZER, {"model_max_length": -5}),
        (TOKENIZER, {"added_tokens_decoder": {"x": 5}}),
        ("tokenizer.json", {"model": {"type": "WordLevel"}}),
    ],
)
def test_tokenizers_are_data(folder, trap, name, setting):
    rewrite(folder, name, lambda settings: settings.update(setting))
    with pytest.raises(la.ArtifactError, match="tokenizer"):
        la.load(folder)


def test_the_trust_in_a_base_is_not_handed_on(tiny, folder, trap):
    onto = la.adapt(tiny("bert"), "classification", labels=["a", "b"], trust_remote_code=True)
    rewrite(folder, TOKENIZER, lambda settings: settings.update(auto_map={"AutoTokenizer": [None, "trap.Model"]}))
    with pytest.raises(la.ArtifactError, match="auto_map"):
        la.load(folder, onto=onto)


@pytest.mark.parametrize("name", ["config.json", "added_tokens.json", "chat_template.jinja"])
def test_files_that_would_change_the_tokenizer_are_refused(folder, name):
    (folder / name).write_text("{}")
    with pytest.raises(la.ArtifactError, match=f"holds {name}, which is not part of the artifact"):
        la.load(folder)
    (folder / name).rename(folder / "mine.json")
    assert la.load(folder).labels == ["no", "yes"]


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.txt", "a/../../outside.txt", "..\\outside.txt", ""])
def test_paths_that_lead_out_are_refused(folder, name):
    (folder.parent / "outside.txt").write_text("x")
    rewrite(folder, MANIFEST, lambda saved: None)
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "files": [*content["files"], name]}))
    with pytest.raises(la.ArtifactError, match="is damaged"):
        la.load(folder, verify=False)


def test_links_that_lead_out_are_refused_and_those_of_the_hub_are_followed(folder, tmp_path):
    outside = tmp_path / "hub" / "blobs" / "1"
    outside.parent.mkdir(parents=True)
    (folder / "tokenizer.json").rename(outside)
    (folder / "tokenizer.json").symlink_to(outside)
    with pytest.raises(la.ArtifactError, match=r"tokenizer\.json is not a plain file"):
        la.load(folder)
    snapshot = tmp_path / "hub" / "snapshots" / "commit"
    snapshot.parent.mkdir()
    folder.rename(snapshot)
    assert la.load(snapshot).labels == ["no", "yes"]


def test_a_pipe_does_not_hang(folder):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(la.ArtifactError, match="is not a plain file"):
        la.load(folder)


@pytest.mark.parametrize("size", [2**62, 10**6])
def test_sizes_in_the_head_of_the_weights_are_checked(folder, size):
    weights = folder / peft_bridge.WEIGHTS_NAME
    weights.write_bytes(size.to_bytes(8, "little") + weights.read_bytes()[8:])
    reseal(folder)
    with pytest.raises(la.ArtifactError, match=r"adapter_model\.safetensors cannot be read"):
        la.load(folder)


@pytest.mark.parametrize(
    "content",
    ["[1]", "5", '"x"', "{", "", "[" * 100_000, '{"r": ' + "1" * 5000 + "}", "\ufeff{}", "\x00"],
)
@pytest.mark.parametrize("name", [CONFIG, MANIFEST, TOKENIZER, "tokenizer.json"])
def test_what_is_no_json_object_is_refused(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(la.ArtifactError):
        la.load(folder, verify=False)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("seed",), -1),
        (("seed",), 2**70),
        (("seed",), True),
        (("base", "fingerprint"), {}),
        (("base", "fingerprint"), None),
        (("base", "fingerprint"), {"other/float16": 5}),
        (("base", "id"), 5),
        (("base", "id"), "x" * 5000),
        (("base", "id"), "../elsewhere"),
        (("base", "revision"), []),
        (("labels",), [["no"], ["yes"]]),
        (("labels",), ["no", "no"]),
        (("labels",), ["no", 1]),
        (("labels",), ["no", "maybe"]),
        (("labels",), ["no", "yes", "maybe"]),
        (("outputs",), ["no", "maybe"]),
        (("outputs",), [["no"], ["yes"]]),
        (("head",), [["x"]]),
        (("head",), ["x"]),
        (("layers",), "last:" + "9" * 50),
        (("layers",), [True, "x"]),
        (("layers",), [{}]),
        (("task", "name"), None),
        (("task", "settings"), {"max_length": []}),
        (("task", "settings"), {"overflow": {}}),
        (("task", "fitted"), [1]),
        (("method",), {}),
        (("method", "settings"), {"rank": "eight"}),
        (("method", "settings"), {"rank_pattern": 5}),
        (("method", "settings"), []),
        (("quantize",), {"name": 5}),
        (("quantize",), "4bit"),
        (("dtype",), "int8"),
        (("versions",), 5),
        (("files",), {"x": 1}),
        (("digests",), {"lightadapt.json": 5}),
        (("metrics",), {"f1": "x"}),
    ],
)
def test_manifests_that_no_save_wrote_are_refused(folder, place, value):
    content = json.loads((folder / MANIFEST).read_text())
    holder = content
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(la.LightAdaptError):
        la.load(folder, verify=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", -1),
        ("r", "x"),
        ("r", 2**70),
        ("lora_alpha", []),
        ("bias", 5),
        ("target_modules", {"a": 1}),
        ("rank_pattern", 5),
    ],
)
def test_values_of_the_wrong_kind_in_an_adapters_config_are_refused(folder, field, value):
    rewrite(folder, CONFIG, lambda config: config.update({field: value}))
    with pytest.raises(la.ArtifactError):
        la.load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_loaded_nor_saved(folder, value):
    adapted = la.load(folder)
    before = (folder / peft_bridge.WEIGHTS_NAME).read_bytes()
    with torch.no_grad():
        adapted.model.classifier.weight[0, 0] = value
    with pytest.raises(la.ArtifactError, match=r"classifier.weight holds values that are not finite, so the training"):
        adapted.save(folder)
    assert (folder / peft_bridge.WEIGHTS_NAME).read_bytes() == before
    tensors = load_file(folder / peft_bridge.WEIGHTS_NAME)
    tensors["base_model.model.classifier.bias"][0] = value
    save_file(tensors, folder / peft_bridge.WEIGHTS_NAME)
    reseal(folder)
    with pytest.raises(la.ArtifactError, match=r"classifier.bias holds values that are not finite"):
        la.load(folder, verify=False)


@pytest.mark.parametrize("change", [{"r": 2**33}, {"rank_pattern": {"query": 2**33}}])
def test_adapters_larger_than_their_weights_take_no_memory(folder, change):
    rewrite(folder, CONFIG, lambda config: config.update(change))
    (name,) = change
    with pytest.raises(la.ArtifactError, match=f"{name}=8589934592, but no tensor of the weights is that large"):
        la.load(folder)
