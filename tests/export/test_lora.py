"""LoRA from other methods, and as vLLM reads it: stock PEFT computes the same with it."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import torch
from safetensors.torch import load_file
from task_records import RECORDS
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import lightadapt as la
from lightadapt.export import Lora, Vllm
from lightadapt.export.vllm import RANKS, check_layout

CELLS = [
    ("bert", "classification", "lora", {}),
    ("bert", "classification", la.LoRA(rank=3, rslora=True, rank_pattern={"0.*query": 5}), {}),
    ("roberta", "ner", "dora", {"max_error": 0.0}),
    ("gpt2", "classification", "dora", {"max_error": 0.0}),
    ("bert", "regression", "loha", {"max_error": 0.0}),
    ("llama", "ner", "lokr", {"max_error": 0.0}),
    ("bert", "multilabel", "vera", {"max_error": 0.0}),
]


@pytest.mark.parametrize(("name", "task", "method", "options"), CELLS, ids=str)
def test_stock_lora_computes_what_another_method_does(moved, tmp_path, name, task, method, options):
    adapted = moved(name, task, method)
    exported = adapted.export(tmp_path / "out", Lora(**options), check=RECORDS[task])
    assert exported.difference < 1e-3
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == config["lora_alpha"]
    assert {config[name] for name in ("use_dora", "use_rslora")} == {False}
    assert config["rank_pattern"] == config["alpha_pattern"] == {}


def test_stock_lora_brings_its_head(moved, tiny, tmp_path):
    from peft import PeftModel

    adapted = moved("bert", "regression", "loha")
    adapted.export(tmp_path / "out", Lora(max_error=0.0))
    base = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=1)
    model = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    inputs = adapted.tokenizer(["my order is late", "hello"], padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        given = model(**inputs).logits[:, 0].tolist()
    assert given == pytest.approx(adapted.predict(["my order is late", "hello"]), abs=1e-4)


def test_rank_is_chosen_by_what_it_leaves_out(moved, tmp_path):
    adapted = moved("bert", "classification", "loha")
    ranks = {}
    for error in (0.5, 0.1, 0.0):
        exported = adapted.export(tmp_path / str(error), Lora(max_error=error))
        ranks[error] = int(re.search(r"Rank (\d+)", str(exported))[1])
    assert 1 < ranks[0.5] < ranks[0.1] < ranks[0.0] == 32
    with pytest.raises(la.LightAdaptError, match=r"high rank: 4 leaves out \d+\.\d% of them.*max_error is 0\.01"):
        adapted.export(tmp_path / "out", Lora(max_rank=4))


@pytest.mark.parametrize(
    ("method", "phrase"),
    [
        ("bottleneck", "changes no matrix"),
        ("prefix", "changes no matrix"),
        ("bitfit", "changes no matrix"),
        ("full", "inserts nothing"),
        (la.LoRA(init="pissa"), "changed the base"),
    ],
    ids=str,
)
def test_what_is_no_lora_is_refused_with_the_reason(moved, tmp_path, method, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        moved("bert", "classification", method).export(tmp_path / "out", "lora")


@pytest.mark.parametrize(
    ("name", "method", "rank"),
    [("llama", la.LoRA(rank=5, alpha=7, rslora=True), 8), ("qwen3", la.LoRA(rank=1, alpha=1), 1), ("gpt2", "dora", 32)],
    ids=str,
)
def test_vllm_gets_a_rank_that_it_takes_and_the_same_update(moved, tiny, tmp_path, name, method, rank):
    from peft import PeftModel

    adapted = moved(name, "generation", method)
    exported = adapted.export(tmp_path / "out", "vllm", check=RECORDS["generation"])
    assert exported.difference < 1e-4
    assert exported.equal == 1
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["r"] == rank in RANKS
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {tensor.shape[0 if "lora_A" in key else 1] for key, tensor in tensors.items()} == {rank}
    line = str(exported).splitlines()[-1]
    assert line.startswith(f"vllm serve {tiny(name)} --tokenizer {tmp_path / 'out'} --enable-lora")
    assert f"--max-lora-rank {rank} --lora-modules adapted={tmp_path / 'out'} --dtype float32" in line
    read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny(name)), tmp_path / "out").eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(read(ids).logits, adapted.model(ids).logits, rtol=1e-3, atol=1e-4)


def test_the_line_that_serves_it_can_be_pasted_for_any_folder(moved, tmp_path):
    target = tmp_path / "it's a {folder}"
    line = str(moved("llama", "generation").export(target, "vllm")).splitlines()[-1]
    words = shlex.split(line)
    assert words[:2] == ["vllm", "serve"]
    assert words[words.index("--tokenizer") + 1] == str(target)
    assert words[words.index("--lora-modules") + 1] == f"adapted={target}"


@pytest.mark.parametrize(
    ("name", "task", "method", "phrase"),
    [
        ("bert", "ner", "lora", "has a head or an encoder"),
        ("t5", "summarization", "lora", "has a head or an encoder"),
        ("llama", "generation", "full", "modules_to_save"),
        ("llama", "generation", "prefix", "changes no matrix"),
    ],
)
def test_what_vllm_does_not_read_is_refused(moved, tmp_path, name, task, method, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        moved(name, task, method).export(tmp_path / "out", Vllm())


@pytest.mark.parametrize(
    "wrong", [{"use_dora": True}, {"modules_to_save": ["score"]}, {"r": 5}, {"bias": "all"}, {"rank_pattern": {"a": 1}}]
)
def test_layout_is_checked_by_the_rules_of_vllm(moved, tmp_path, wrong):
    moved("llama", "generation").export(tmp_path / "out", "vllm")
    file = tmp_path / "out" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(la.LightAdaptError, match=f"would not read {next(iter(wrong))}="):
        check_layout(tmp_path / "out")
