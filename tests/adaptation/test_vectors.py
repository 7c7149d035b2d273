"""Texts as vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from task_records import RECORDS

import lightadapt as la
from lightadapt.adaptation.vectors import vectors_of

TEXTS = ["The parcel is late.", "Money back, please, and soon: it is broken.", "Hi"]


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_they_are_the_mean_of_the_real_tokens(tiny, name, method):
    adapted = la.adapt(tiny(name), "classification", method, labels=["a", "b"])
    runner = adapted.runner
    examples = runner.task.parse(runner.task.read([{"text": text} for text in TEXTS], labelled=False), labelled=False)
    found = vectors_of(runner, examples, adapted=False)
    with adapted.disable(), torch.no_grad():
        for text, vector in zip(TEXTS, found, strict=True):
            inputs = adapted.tokenizer(text, return_tensors="pt")
            inputs.pop("token_type_ids", None)
            backbone = adapted.model.get_encoder() if name == "t5" else adapted.model.base_model
            hidden = backbone(**inputs).last_hidden_state[0].mean(0).numpy()
            assert np.allclose(vector, hidden / np.linalg.norm(hidden), atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)


@pytest.mark.parametrize("task", ["ner", "relation", "multilabel", "regression"])
def test_the_texts_of_every_kind_of_record_have_one(tiny, task):
    adapted = la.adapt(tiny("bert"), task, labels=None if task == "regression" else RECORDS[task])
    runner = adapted.runner
    examples = runner.task.parse(runner.task.read(RECORDS[task]))
    assert vectors_of(runner, examples).shape == (len(examples), adapted.model.config.hidden_size)
