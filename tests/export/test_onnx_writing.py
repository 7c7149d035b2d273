"""Models that write, as ONNX: the same logits and texts with a cache, and without torch and transformers."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from task_records import RECORDS
from transformers import AutoConfig, AutoModelForCausalLM

import lightadapt as la
from lightadapt.export import Onnx
from lightadapt.runtime.chats import render_chat
from lightadapt.runtime.writer import _greedily, _likelihoods

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

HEAVY = ["torch", "transformers", "peft", "datasets", "pandas", "sklearn", "scipy", "pyarrow", "huggingface_hub"]
CELLS = [
    ("llama", la.Generation(max_new_tokens=30), "dora"),
    ("gpt2", la.Generation(max_new_tokens=30), "bottleneck"),
    ("qwen3", la.Dialogue(max_new_tokens=20), "lora"),
    ("t5", la.Summarization(max_new_tokens=30), "lora"),
    ("mbart", la.Translation(max_new_tokens=20), "bottleneck"),
]
ASKED = {
    "generation": [record["prompt"] for record in RECORDS["generation"]],
    "dialogue": [[{"role": "user", "content": "hello"}], "where is it"],
    "summarization": [record["source"] for record in RECORDS["summarization"]],
    "translation": [record["source"] for record in RECORDS["translation"]],
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task", "method"), CELLS, ids=[f"{name}-{each.name}" for name, each, _ in CELLS])
def test_graph_with_a_cache_writes_the_same(moved, tmp_path, name, task, method):
    adapted = moved(name, task, method)
    exported = adapted.export(tmp_path / "out", "onnx", check=RECORDS[task.name])
    assert exported.difference < 1e-5
    assert exported.equal == 1.0
    model = la.load_onnx(tmp_path / "out", threads=1)
    asked = [*ASKED[task.name] * 2, ASKED[task.name][0]]  # several lengths in one batch
    for options in ({}, {"max_new_tokens": 3}):
        assert model.predict(asked, options=options) == adapted.predict(asked, options=options)
    assert dict(model.evaluate(RECORDS[task.name])) == pytest.approx(
        dict(adapted.evaluate(RECORDS[task.name])), abs=1e-3
    )


@pytest.mark.slow
def test_a_decoder_weighs_choices(moved, tmp_path):
    adapted = moved("gpt2", "multiple-choice")
    exported = adapted.export(tmp_path / "out", "onnx", check=RECORDS["multiple-choice"])
    assert exported.difference < 1e-5
    assert exported.equal == 1.0
    questions = [{**each, "answer": None} for each in RECORDS["multiple-choice"]]
    assert la.load_onnx(tmp_path / "out").predict(questions) == adapted.predict(questions)


CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.slow
def test_runtime_writes_without_torch_and_transformers(moved, chatting, tmp_path):
    task = la.Dialogue(max_new_tokens=20, options={"stop_strings": ["a", "e", "i"], "do_sample": False})
    adapted = moved("qwen3", task, tokenizer=chatting(CHAT, "gpt2"))
    folder = tmp_path / "out"
    whole = adapted.export(folder, "onnx")
    asked = [[{"role": "user", "content": "hello"}], "where is it?"]
    script = (
        "import json, sys\n"
        f"sys.modules.update(dict.fromkeys({HEAVY!r}))\n"  # as if none of them were installed
        "import lightadapt as la\n"
        f"model = la.load_onnx({str(folder)!r}, threads=1)\n"
        f"print(json.dumps(model.predict({asked!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == adapted.predict(asked)
    model = la.load_onnx(folder, threads=1)
    with pytest.raises(la.LightAdaptError, match="Did you mean 'max_new_tokens'"):
        model.predict(asked, options={"max_new_token": 3})
    with pytest.raises(la.LightAdaptError, match="writes greedily"):
        model.predict(asked, options={"num_beams": 3})
    small = adapted.export(folder, "onnx", quantize="int8")
    assert small.size < whole.size
    assert len(la.load_onnx(folder).predict(asked)) == 2


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_positions_without_tokens_are_refused(settled, tmp_path, method):
    adapted, _ = settled("gpt2", "generation", method=method)
    with pytest.raises(la.LightAdaptError, match=rf"method '{method}'.* such as 'lora'"):
        adapted.export(tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_keys_and_values_is_refused(tokenizers, tmp_path):
    shape = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1, "pad_token_id": 0}
    mamba = AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", **shape))
    adapted = la.adapt(mamba, "generation", tokenizer=tokenizers("gpt2"), dtype="float32")
    with pytest.raises(la.LightAdaptError, match=r"MambaForCausalLM .* and not the keys and values"):
        adapted.export(tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_written_greedily_is_refused(settled, tmp_path):
    adapted, _ = settled("gpt2", la.Generation(options={"num_beams": 4}))
    with pytest.raises(la.LightAdaptError, match=r"num_beams=4, and load_onnx writes greedily.*Onnx\(greedy=True\)"):
        adapted.export(tmp_path / "out", "onnx")
    Onnx(greedy=True).check(adapted.runner)


def test_texts_end_as_they_must():
    logits = np.array([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])  # the third token is never written

    def step(tokens):
        return logits.copy()

    def write(**facts):
        return _greedily(step, 2, 3, {"never": [3], "ends": [0], **facts}, 0, lambda ids: False)

    assert write() == [[2, 2, 2], [0]]
    assert write(last=1, first=2) == [[2, 2, 1], [2, 0]]
    assert _greedily(step, 1, 3, {"never": [], "ends": []}, 0, lambda ids: len(ids) == 2) == [[3, 3]]


def test_likelihoods_are_those_of_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5) * 50, torch.tensor([[1, -100, 4], [0, 2, -100]])
    totals, counts = _likelihoods(logits.numpy(), labels.numpy())
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(2, 3)
    assert totals == pytest.approx(-losses.sum(-1).numpy(), rel=1e-5)
    assert counts.tolist() == [2, 2]


TEMPLATES = [
    CHAT,
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m | tojson }}{% endif %}{% if loop.index > 5 %}{% break %}{% endif %}\n{% endfor %}",
    "{% set ns = namespace(found=false) %}{% for m in messages %}{% set ns.found = true %}{% endfor %}{{ ns.found }}"
    "{{ eos_token }}{{ add_generation_prompt }}",
]


@pytest.mark.parametrize("template", TEMPLATES, ids=["chatml", "extensions", "namespace"])
def test_templates_give_what_transformers_gives(tokenizers, template):
    tokenizer = tokenizers("llama")
    messages = [{"role": "user", "content": "<ü> 'it'"}, {"role": "assistant", "content": "so"}]
    expected = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    given = {"messages": messages, "add_generation_prompt": True, **tokenizer.special_tokens_map}
    assert render_chat(template, given) == expected


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__.__mro__ }}", "{% set ns = namespace(__class__=1) %}", "{{ raise_exception('no') }}"]
)
def test_templates_reach_nothing(template):
    with pytest.raises(Exception, match=r"unsafe|underscore|no"):
        render_chat(template, {})
