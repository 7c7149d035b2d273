"""An adapted encoder for sentence-transformers: the same vectors there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import lightadapt as la
from lightadapt.export import SentenceTransformers

pytest.importorskip("sentence_transformers")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "task", "options"),
    [("bert", "classification", {}), ("roberta", "ner", {"pooling": "cls", "normalize": False})],
)
def test_vectors_are_those_of_the_adapted_backbone(moved, tmp_path, name, task, options):
    from sentence_transformers import SentenceTransformer

    adapted = moved(name, task)
    exported = adapted.export(tmp_path / "out", SentenceTransformers(**options))
    assert exported.difference < 1e-5
    assert exported.equal is None
    kinds = [each["type"].rpartition(".")[2] for each in json.loads((tmp_path / "out" / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling"] + ([] if options else ["Normalize"])
    texts = ["my order is late", "hello"]
    given = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts)
    for text, vector in zip(texts, given, strict=True):
        with torch.no_grad():
            inputs = adapted.tokenizer(text, return_tensors="pt")
            hidden = adapted.model.base_model(**inputs).last_hidden_state[0].numpy()
        expected = hidden[0] if options else hidden.mean(0) / np.linalg.norm(hidden.mean(0))
        np.testing.assert_allclose(vector, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("given", "way"), [(None, "cls"), ("mean", "mean")])
def test_vectors_are_made_as_the_base_was_made_for_it(tiny, tmp_path, given, way):
    from sentence_transformers import SentenceTransformer

    base = shutil.copytree(tiny("bert"), tmp_path / "base")
    (base / "modules.json").write_text(json.dumps([{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "p"}]))
    (base / "p").mkdir()
    (base / "p" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    adapted = la.adapt(base, "ner", labels=["A"])
    exported = adapted.export(tmp_path / "out", SentenceTransformers(pooling=given))
    assert exported.difference < 1e-5
    assert f"Pooling: {way}." in str(exported)
    assert json.loads((tmp_path / "out" / "lightadapt_export.json").read_text())["pooling"] == way
    assert SentenceTransformer(str(tmp_path / "out"), device="cpu")[1].pooling_mode == way


def test_what_is_no_pooled_encoder_is_refused(moved, tmp_path):
    with pytest.raises(la.LightAdaptError, match="of the kind decoder"):
        moved("llama", "classification").export(tmp_path / "out", "sentence-transformers")
    with pytest.raises(la.LightAdaptError, match="Did you mean 'mean'"):
        SentenceTransformers(pooling="meen")
    with pytest.raises(la.LightAdaptError, match="no answers to score"):
        moved("bert", "classification").export(
            tmp_path / "out", "sentence-transformers", check=[{"text": "a", "label": "b"}], max_loss=0.1
        )
