"""The model card: recipes that work, no folders of the author's machine; and files that others may read."""

from __future__ import annotations

import os
import stat

import pytest
import torch
from learned import as_learned, stir, trainable

import lightadapt as la

CARD_CASES = [
    ("bert", "classification", "lora", {"labels": ["yes", "no"]}),
    ("bert", "ner", "prefix", {"labels": ["PER", "LOC"]}),
    ("bert", "qa", "houlsby", {}),
    ("gpt2", "classification", "bitfit", {"labels": ["yes", "no"]}),
    ("gpt2", "generation", "lora", {}),
    ("t5", "summarization", "ia3", {}),
]


def python_of(card):
    """The recipes in Python of a model card."""
    return [part.partition("```")[0] for part in card.split("```python\n")[1:]]


@pytest.mark.parametrize(("name", "task", "method", "options"), CARD_CASES, ids=lambda value: str(value)[:20])
def test_the_recipes_of_the_card_work(tiny, tmp_path, name, task, method, options):
    model = la.adapt(tiny(name), task, method, dtype="float32", **options)
    stir(trainable(model.model).values())
    model.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    ours, stock = (
        recipe.replace("path/to/this/folder", str(tmp_path / "saved")).replace(f"path/to/{name}", str(tiny(name)))
        for recipe in python_of(card)
    )
    found: dict = {}
    exec(ours.replace("[…]", "model.task.samples()"), found)
    assert found["model"].labels == model.labels
    exec(stock, found)
    batch = found["tokenizer"](["where is my parcel"], return_tensors="pt")
    more = {"decoder_input_ids": torch.tensor([[0, 5]])} if name == "t5" else {}
    with torch.no_grad():
        given, expected = found["model"](**batch, **more), model.model(**batch, **more)
    for key in ("logits", "start_logits"):
        if key in expected:
            torch.testing.assert_close(given[key], expected[key], rtol=1e-4, atol=1e-5)
    if options:
        assert list(found["model"].config.id2label.values()) == list(model.runner.outputs)


def test_the_card_says_what_labels_mean(tiny, tmp_path):
    meant = {"refund": ["money back", "a refund"], "delivery": "where is my parcel"}
    la.adapt(tiny("bert"), "classification", labels=meant).save(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "- `refund`: money back; a refund\n- `delivery`: where is my parcel" in card


def test_the_card_names_no_folder_of_this_machine(tiny, tmp_path):
    la.adapt(tiny("bert"), "classification", labels=["yes", "no"]).save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert str(tiny("bert").parent) not in card
    assert "# lora for classification, on bert" in card
    assert "base_model" not in card


def test_a_regression_has_no_recipe_that_would_give_other_numbers(tiny, tmp_path):
    model = la.adapt(tiny("bert"), "regression")
    model.fit([{"text": "a", "label": 100.0}, {"text": "b", "label": 300.0}], epochs=1)
    model.save(tmp_path / "saved")
    assert len(python_of((tmp_path / "saved" / "README.md").read_text())) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_files_have_the_usual_mode(tiny, tmp_path):
    before = os.umask(0o022)
    try:
        la.adapt(tiny("bert"), "classification", labels=["yes", "no"]).save(tmp_path / "saved")
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "saved").iterdir() if file.is_file()}
    assert set(modes.values()) == {0o644}, modes


def test_a_merged_model_says_its_format(tiny):
    model = as_learned(la.adapt(tiny("bert"), "classification", labels=["yes", "no"], dtype="bfloat16"))
    assert model.merge().config.dtype == torch.bfloat16
    merged = model.merge(dtype="float32")
    assert {merged.config.dtype, *(each.dtype for each in merged.parameters())} == {torch.float32}
