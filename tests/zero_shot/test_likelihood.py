"""Labels told by how likely a language model would write them: against log probabilities computed one by one."""

from __future__ import annotations

import json
from math import log

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

import lightadapt as la
from lightadapt.zero_shot import answers
from lightadapt.zero_shot.likelihood import NOTHING, Likelihood

LABELS = {"refund": "money back", "delivery": ["where is it", "it is late"], "thanks": "hello"}
TEXTS = ["I want my money back", "hello"]
SHOTS = [{"text": "money", "label": "refund"}, {"text": "hi", "label": "thanks"}]


def by_hand(folder, prompt, answer):
    """The mean log probability of the tokens of an answer, from one plain pass."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start, whole = tokenizer(prompt)["input_ids"], tokenizer(f"{prompt} {answer}")["input_ids"]
    start, whole = ([token for token in ids if token != tokenizer.eos_token_id] for ids in (start, whole))
    assert whole[: len(start)] == start
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([whole])).logits[0]
    logs = logits.log_softmax(-1)
    return np.mean([float(logs[place - 1, whole[place]]) for place in range(len(start), len(whole))])


def by_hand_of_target(folder, source, target):
    """Likewise of a target, by the loss of an encoder-decoder, without the special tokens around it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = torch.tensor([tokenizer(text_target=target)["input_ids"]])
    if tokenizer.eos_token_id not in labels:
        labels = torch.cat([labels, torch.tensor([[tokenizer.eos_token_id]])], 1)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer(source, return_tensors="pt"), labels=labels).logits[0]
    logs = logits.log_softmax(-1)
    counted = [place for place, token in enumerate(labels[0].tolist()) if token not in tokenizer.all_special_ids]
    return np.mean([float(logs[place, labels[0, place]]) for place in counted])


def expected(score, template, text):
    """Probabilities by the formula: p / p0, normalised, with p0 averaged over texts that say nothing."""

    def shares(text):
        each = [np.mean([score(template.format(text=text), wording) for wording in wordings]) for wordings in WORDINGS]
        return np.exp(each) / np.exp(each).sum()

    ratio = shares(text) / np.mean([shares(nothing) for nothing in NOTHING], axis=0)
    return ratio / ratio.sum()


WORDINGS = [[each] if isinstance(each, str) else each for each in LABELS.values()]


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("method", ["lora", "prefix", "prompt"])
def test_a_decoder_s_probabilities_are_those_of_the_formula(tiny, name, method):
    adapted = la.adapt(tiny(name), la.Classification(prompt="{text} is about:"), method, labels=LABELS)
    for text, found in zip(TEXTS, adapted.predict(TEXTS, scores=True), strict=True):
        wanted = expected(lambda *pair: by_hand(tiny(name), *pair), "{text} is about:", text)
        assert list(found) == list(LABELS)
        assert list(found.values()) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart", "mbart"])
def test_an_encoder_decoder_s_probabilities_are_those_of_the_formula(tiny, name):
    adapted = la.adapt(tiny(name), "classification", labels=LABELS)
    for text, found in zip(TEXTS, adapted.predict(TEXTS, scores=True), strict=True):
        wanted = expected(lambda *pair: by_hand_of_target(tiny(name), *pair), "Text: {text}\nLabel:", text)
        assert list(found.values()) == pytest.approx(wanted, abs=1e-5)


def test_a_model_without_keys_and_values_reads_the_prompt_for_each_label(tiny, monkeypatch):
    adapted = la.adapt(tiny("llama"), "classification", labels=LABELS)
    before = adapted.predict(TEXTS, scores=True)
    monkeypatch.setattr(answers, "_is_of_keys_and_values", lambda cache: False)
    monkeypatch.setattr(answers, "LOGITS", 1)  # one label at a time
    for found, known in zip(adapted.predict(TEXTS, scores=True), before, strict=True):
        assert list(found.values()) == pytest.approx(list(known.values()), abs=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_only_the_output_layer_is_read_and_nothing_of_it_is_kept(tiny, name, tmp_path, monkeypatch):
    adapted = la.adapt(tiny(name), "classification", labels=LABELS)
    trained = {name for name, each in adapted.model.named_parameters() if each.requires_grad}
    inner = PreTrainedModel.from_pretrained.__func__

    def load(cls, name=None, *args, **options):
        assert name is None, "the checkpoint was read again"
        return inner(cls, name, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "from_pretrained", classmethod(load))
        before = adapted.predict(TEXTS, scores=True)
    shared = adapted.runner.zero_shot.companion.model.get_input_embeddings()
    assert shared is adapted.model.get_input_embeddings()
    assert {name for name, each in adapted.model.named_parameters() if each.requires_grad} == trained
    adapted.save(tmp_path / "saved")
    assert not [key for key in load_file(tmp_path / "saved" / "adapter_model.safetensors") if "lm_head" in key]
    loaded = la.load(tmp_path / "saved")
    assert loaded.predict(TEXTS, scores=True) == before
    loaded.fit([{"text": text, "label": label} for text, label in zip(TEXTS, ["refund", "thanks"], strict=True)] * 2)
    assert loaded.runner.zero_shot is None


def test_the_prompt_is_kept_with_the_task(tiny, tmp_path):
    adapted = la.adapt(tiny("llama"), la.Classification(prompt="{labels}? {text}:"), labels=LABELS)
    before = adapted.predict(TEXTS, scores=True)
    adapted.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "lightadapt.json").read_text())["task"]["settings"]["prompt"]
    assert la.load(tmp_path / "saved").predict(TEXTS, scores=True) == before
    other = la.adapt(tiny("llama"), "classification", labels=LABELS)
    assert other.predict(TEXTS, scores=True) != before


def test_pairs_and_windows_are_read(tiny):
    adapted = la.adapt(tiny("llama"), la.Classification(prompt="{text}:"), labels=LABELS)
    joined, pair = adapted.predict(["hello\nmoney", ("hello", "money")], scores=True)
    assert joined == pair
    long = "where is the parcel of my friend " * 12
    (start,) = adapted.predict([long], scores=True)
    windows = la.adapt(tiny("llama"), la.Classification(prompt="{text}:", overflow="windows"), labels=LABELS)
    (whole,) = windows.predict([long], scores=True)
    assert sum(whole.values()) == pytest.approx(1)
    assert whole != start
    refusing = la.adapt(tiny("llama"), la.Classification(prompt="{text}:", overflow="error"), labels=LABELS)
    with pytest.raises(la.DataError, match=r"Record 1.*tokens with its prompt"):
        refusing.predict(["hello", long])


# ---- shots


def test_shots_stand_in_the_prompt_and_in_that_about_nothing(tiny):
    task = la.Classification(prompt="{text} =")
    adapted = la.adapt(tiny("llama"), task, labels=LABELS)
    for text, found in zip(TEXTS, adapted.predict(TEXTS, scores=True, shots=SHOTS), strict=True):
        template = "money = money back\n\nhi = hello\n\n{text} ="
        wanted = expected(lambda *pair: by_hand(tiny("llama"), *pair), template, text)
        assert list(found.values()) == pytest.approx(wanted, abs=1e-5)
    assert adapted.predict(TEXTS, scores=True) != adapted.predict(TEXTS, scores=True, shots=SHOTS)
    assert list(adapted.predict_stream(TEXTS, shots=SHOTS)) == adapted.predict(TEXTS, shots=SHOTS)


def test_evaluate_takes_shots(tiny, write):
    adapted = la.adapt(tiny("llama"), la.Classification(prompt="{text} ="), labels=LABELS)
    records = [{"text": text, "label": label} for text, label in zip(TEXTS, ["refund", "thanks"], strict=True)]
    given = adapted.predict(TEXTS, scores=True, shots=SHOTS)
    file = write("shots.jsonl", "\n".join(map(json.dumps, SHOTS)))
    certain = [max(each.values()) for each in given]
    scores = adapted.evaluate(records, shots=str(file))
    right = [max(each, key=each.get) == record["label"] for each, record in zip(given, records, strict=True)]
    assert scores["accuracy"] == np.mean(right)
    assert all(log(each) <= 0 for each in certain)


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_shots_that_leave_no_room_are_refused_before_anything_is_computed(tiny, name, monkeypatch, recwarn):
    adapted = la.adapt(tiny(name), la.Classification(prompt="{text}:"), labels=LABELS)
    text = "where is the parcel of my friend and where is it now and where is it late"
    adapted.predict([text])
    assert not [each for each in recwarn if "tokens" in str(each.message)]  # it fits alone
    monkeypatch.setattr(Likelihood, "infer", lambda *_: pytest.fail("something was computed"))
    with pytest.raises(la.LightAdaptError, match=r"with its 18 shots has \d+ tokens .* Give fewer or shorter shots"):
        adapted.predict(TEXTS, shots=SHOTS * 9)
    with pytest.raises(la.DataError, match=r"Record 0.* tokens with the prompt and its 4 shots"):
        adapted.predict([text], shots=SHOTS * 2)


def test_shots_are_checked_as_data_is(tiny):
    adapted = la.adapt(tiny("llama"), "classification", labels=LABELS)
    with pytest.raises(la.DataError, match=r"label 'thank' is not among the labels\. Did you mean 'thanks'"):
        adapted.predict(TEXTS, shots=[{"text": "hi", "label": "thank"}])
    with pytest.raises(la.LightAdaptError, match="shots are for one adaptation"):
        adapted.predict(TEXTS, shots=SHOTS, adapter=["default"] * 2)
    adapted.fit([*SHOTS, {"text": "late", "label": "delivery"}], epochs=1)
    with pytest.raises(la.LightAdaptError, match="the head has learned by now"):
        adapted.predict(TEXTS, shots=SHOTS)


def test_a_decoder_without_an_output_layer_has_no_way(tiny, tmp_path):
    AutoModel.from_pretrained(tiny("llama")).save_pretrained(tmp_path / "bare")
    AutoTokenizer.from_pretrained(tiny("llama")).save_pretrained(tmp_path / "bare")
    adapted = la.adapt(tmp_path / "bare", "classification", labels=LABELS)
    with pytest.warns(UserWarning, match="means nothing: .*bare has no output layer of a language model"):
        adapted.predict(TEXTS)


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("Is it {label}? {text}", r"has \{label\}\. It may have \{text\} and \{labels\}"),
        ("Label:", r"write \{text\} once"),
        ("{text} {text}", r"write \{text\} once"),
        ("{text", "expected '}'"),
        (3, "prompt=3 is no text"),
    ],
)
def test_a_prompt_without_a_place_for_the_text_is_refused(prompt, phrase):
    with pytest.raises(la.LightAdaptError, match=phrase):
        la.Classification(prompt=prompt)
