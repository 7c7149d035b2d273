"""Classes, several labels and numbers: weights, smoothing, long texts, decoders that classify."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from learned import as_learned, near, stir, trainable
from task_records import KINDS
from transformers import AutoModelForSequenceClassification

import lightadapt as la
from lightadapt.tasks import LabelledTask, ModelView


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "qwen3"])
def test_a_decoder_reads_the_last_real_token_whatever_pads(settled, name):
    adapted, _ = settled(name, "classification")
    stir(trainable(adapted.model).values())
    model, ids = adapted.model, adapted.tokenizer.pad_token_id
    end = adapted.tokenizer.eos_token_id
    rows = [[5, 6, 7], [8, end, 9, 10, ids], [11], [end, 12, ids, 13, 14, 15, 16, end]]  # texts that hold the token
    length = max(map(len, rows))
    with torch.no_grad():
        alone = torch.cat([model(torch.tensor([row]), attention_mask=torch.ones(1, len(row))).logits for row in rows])
        bare = torch.cat([model(torch.tensor([row])).logits for row in rows if row[-1] not in (ids, end)])
        for side in ("right", "left"):
            gaps = [length - len(row) for row in rows]
            left = [gap if side == "left" else 0 for gap in gaps]
            padded = [[ids] * a + row + [ids] * (g - a) for row, a, g in zip(rows, left, gaps, strict=True)]
            mask = torch.tensor(
                [[0] * a + [1] * len(r) + [0] * (g - a) for r, a, g in zip(rows, left, gaps, strict=True)]
            )
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            logits = model(torch.tensor(padded), attention_mask=mask, position_ids=places).logits
            torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bare, alone[[0, 2]], atol=1e-5, rtol=1e-4)
    assert alone.std(0).min() > 1e-3  # the rows differ, so the test can fail


def test_the_texts_of_a_batch_may_hold_the_padding_token(settled):
    for name in ("llama", "gpt2"):
        adapted, _ = settled(name, "classification")
        stir(trainable(adapted.model).values())
        texts = ["late [SEP]", "my order is late", "[SEP] my parcel [SEP] [SEP]", "hello"]
        together = adapted.predict(texts, scores=True)
        assert near(together, [adapted.predict([text], scores=True)[0] for text in texts])


def test_a_padding_token_is_set_without_a_new_embedding(tiny, tokenizers):
    given = copy.deepcopy(tokenizers("llama"))
    assert given.pad_token is None
    adapted = la.adapt(tiny("llama"), "classification", labels=["a", "b"], tokenizer=given)
    assert given.pad_token is None
    assert adapted.tokenizer.pad_token_id == adapted.model.config.pad_token_id is not None
    assert len(adapted.tokenizer) == len(given)
    assert adapted.model.get_input_embeddings().num_embeddings == 400


TEXTS = [{"text": f"text {number}", "label": label} for number, label in enumerate("aaaabbc")]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "balanced", {"a": 0.5, "c": 3.0}])
def test_class_weights_and_smoothing_are_those_of_torch_and_sklearn(tiny, weights, smoothing):
    from sklearn.utils.class_weight import compute_class_weight

    task = la.Classification(labels=["a", "b", "c"], class_weights=weights, label_smoothing=smoothing)
    adapted = la.adapt(tiny("bert"), task, "probe")
    examples = task.parse(task.read(TEXTS))
    batch = adapted.runner.collate(adapted.runner.encode(examples, targets=True))
    objective = task.objective(examples, adapted.runner.view)
    with torch.no_grad():
        logits = adapted.model(**batch).logits
        loss = adapted.model(**batch).loss if objective is None else objective(adapted.model, batch)
    table = {"a": 0.5, "b": 1.0, "c": 3.0} if isinstance(weights, dict) else dict.fromkeys("abc", 1.0)
    if weights == "balanced":
        table = dict(
            zip("abc", compute_class_weight("balanced", classes=np.array(list("abc")), y=list("aaaabbc")), strict=True)
        )
    weight = torch.tensor([table[label] for label in "abc"], dtype=torch.float32)
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"], weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_multilabel_weights_count_presence_against_absence(tiny):
    records = [{"text": "x", "labels": ["a"]}, {"text": "y", "labels": ["a", "b"]}, {"text": "z", "labels": []}]
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["a", "b"], class_weights="balanced", label_smoothing=0.1))
    examples = adapted.task.parse(adapted.task.read(records))
    batch = adapted.runner.collate(adapted.runner.encode(examples, targets=True))
    with torch.no_grad():
        loss = adapted.task.objective(examples, adapted.runner.view)(adapted.model, batch)
        p = torch.sigmoid(adapted.model(**batch).logits)
    target = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]) * 0.9 + 0.05
    weight = torch.tensor([0.5, 2.0])  # absent / present
    expected = -(weight * target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("task", [la.Classification, la.MultiLabel])
def test_weights_for_labels_that_there_are_not_are_refused(tiny, task):
    with pytest.raises(la.LightAdaptError, match="class_weights names 'd', which is not among the labels"):
        la.adapt(tiny("bert"), task(labels=["a", "b"], class_weights={"d": 2.0})).fit(
            [{"text": "x", "label": "a", "labels": ["a"]}], epochs=1
        )
    for bad in ({"class_weights": {"a": 0}}, {"class_weights": "even"}, {"label_smoothing": 1.0}):
        with pytest.raises(la.LightAdaptError, match=r"class_weights|label_smoothing"):
            task(labels=["a", "b"], **bad)


OVERFLOWING = {
    "classification": la.Classification(labels=["a", "b", "c"]),
    "multilabel": la.MultiLabel(labels=["a", "b"]),
    "regression": la.Regression(),
}


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("task", OVERFLOWING)
def test_long_texts_are_cut_read_in_windows_or_refused_and_it_is_said_once(settled, tokenizers, task, name):
    kind = OVERFLOWING[task]
    long = " ".join(f"word{number}" for number in range(90))
    adapted, _ = settled(name, copy.copy(kind))
    stir(trainable(adapted.model).values())
    limit = adapted.runner.max_length
    start = adapted.tokenizer.decode(adapted.tokenizer(long)["input_ids"][:8], skip_special_tokens=True)
    with pytest.warns(UserWarning, match=rf"2 of 3 texts are longer than {limit} tokens; .* sees its start") as caught:
        cut, other, _ = adapted.predict([long, f"{long} and more", start], scores=True)
    assert len(caught) == 1
    assert near(cut, other)  # they differ behind what the model sees
    windows, _ = settled(name, type(kind)(**{**kind.settings(), "overflow": "windows"}, **labels_of(kind)))
    stir(trainable(windows.model).values())
    with pytest.warns(UserWarning, match=r"1 of 1 texts .* is read in windows"):
        (averaged,) = windows.predict([long], scores=True)
    example = windows.task.parse(windows.task.read([{"text": long}], labelled=False), labelled=False)
    features = windows.task.encode(example, windows.runner.view, targets=False).features
    assert len(features) > 1
    assert all(len(feature) <= limit for feature in features)
    with torch.no_grad():
        singles = windows.task.infer(windows.model, features, windows.runner.view)
    parts = [
        windows.task.decode(example, [feature], [row], windows.runner.view)[0]
        for feature, row in zip(features, singles, strict=True)
    ]
    if task == "regression":
        assert averaged == pytest.approx(sum(parts) / len(parts), abs=1e-5)
    else:
        assert averaged == pytest.approx(
            {key: sum(part[key] for part in parts) / len(parts) for key in averaged}, abs=1e-5
        )
    strict, _ = settled(name, type(kind)(**{**kind.settings(), "overflow": "error"}, **labels_of(kind)))
    with pytest.raises(
        la.DataError, match=rf"Record 1: the text has \d+ tokens, but the model takes {limit}\. Shorten it"
    ):
        as_learned(strict).predict([start, long])


def labels_of(task):
    return {"labels": task.labels} if isinstance(task, LabelledTask) else {}


def test_windows_hold_all_of_a_text(tokenizers):
    task = la.Classification(labels=["a", "b"], overflow="windows")
    text = " ".join(f"word{number}" for number in range(90))
    for kind, family in (("word", "encoder"), ("llama", "decoder"), ("t5", "encoder-decoder")):
        view = ModelView(tokenizers(kind), 40, family, task.outputs())
        features = task.encode(task.parse(task.read([{"text": text, "label": "a"}])), view, targets=True).features
        whole = view.tokenizer(text, add_special_tokens=False)["input_ids"]
        specials = set(view.tokenizer.all_special_ids)
        parts = [[number for number in f.inputs["input_ids"] if number not in specials] for f in features]
        position = 0
        for part in parts:
            at = next(p for p in range(position + 1) if whole[p : p + len(part)] == part and p + len(part) > position)
            position = at + len(part)
        assert position == len(whole)
        assert all(feature.targets == {"labels": 0} for feature in features)


@pytest.mark.parametrize("kind", ["word", "llama", "t5"])
def test_a_pair_is_two_parts_in_one_text(tokenizers, kind):
    task = la.Classification(labels=["a", "b"])
    view = ModelView(tokenizers(kind), 64, KINDS[kind], task.outputs())
    records = [
        {"text": "my order", "text_pair": "is late", "label": "a"},
        {"text": "my", "text_pair": "order is late", "label": "a"},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = task.encode(task.parse(task.read(records)), view, targets=True).features
    assert one.inputs["input_ids"] != other.inputs["input_ids"]


def test_a_fresh_multilabel_head_starts_at_how_often_each_label_holds(tiny):
    """With labels as rare as most are, the first steps would else go into that alone."""
    records = [{"text": "late", "labels": ["late"] if number < 2 else []} for number in range(40)]
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["late", "never"]))
    adapted.fit(records, args={"max_steps": 1}, learning_rate=6e-5)
    scores = adapted.predict(["late", "early"], scores=True)
    assert [row["late"] for row in scores] == pytest.approx([2.5 / 41] * 2, abs=0.03)
    assert [row["never"] for row in scores] == pytest.approx([0.5 / 41] * 2, abs=0.02)
    head = adapted.model.classifier.bias.detach().clone()
    adapted.fit(records[:2], args={"max_steps": 1}, learning_rate=6e-5)  # not fresh any more
    assert torch.allclose(adapted.model.classifier.bias, head, atol=1e-3)


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "deberta-v2", "llama"])
def test_a_merged_regression_keeps_its_scale_when_it_is_saved(tiny, tmp_path, name):
    records = [{"text": text, "label": label} for text, label in (("good", 120.0), ("bad", 80.0), ("so so", 97.0))]
    adapted = la.adapt(tiny(name), "regression")
    adapted.fit(records, epochs=1)
    before = adapted.predict(["good", "bad"])
    merged = None
    if name == "llama":  # its head has no bias that could take the mean
        with pytest.warns(UserWarning, match="add it to what the saved model gives"):
            merged = adapted.merge()
    else:
        merged = adapted.merge()
    merged.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    missing = 99.0 if name == "llama" else 0.0
    for text, value in zip(["good", "bad"], before, strict=True):
        inputs = adapted.tokenizer(text, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        assert merged(**inputs).logits.item() == pytest.approx(value, rel=1e-4)
        assert again(**inputs).logits.item() + missing == pytest.approx(value, rel=1e-4)
    assert adapted.predict(["good", "bad"]) == before
