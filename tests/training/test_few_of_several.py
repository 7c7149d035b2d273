"""Few records where several labels may hold: a text is shared out among them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from learned import assert_equal
from torch.nn.functional import normalize

import lightadapt as la
from lightadapt.errors import LightAdaptError
from lightadapt.heads.prototypes import SCALE, SHARE, log_odds_of_shares, loss_of_shares
from lightadapt.training.few_shot import LEAST_LABELS, find_start

QUIET = {"disable_tqdm": True}
WORDS = ("parcel", "refund", "broken", "late", "thanks", "hello", "where", "money", "order", "friend", "window", "Rome")
RECORDS = [{"text": word, "labels": [word]} for word in WORDS] + [
    {"text": f"{one} {other}", "labels": [one, other]} for one, other in pairwise(WORDS)
]


@pytest.fixture
def comparable(comparable_encoder):
    return comparable_encoder({"pooling_mode": "mean"})


@pytest.fixture
def learned(comparable):
    adapted = la.adapt(comparable, "multilabel")
    adapted.fit(RECORDS, epochs=2, args=QUIET)
    assert adapted.history.settings["recipe"] == "few-shot"
    return adapted


def test_logits_are_log_odds_of_the_share_of_each_label():
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 4
    shares = scores.softmax(-1)
    logits = log_odds_of_shares(scores)
    assert torch.allclose(logits, shares.logit() - torch.tensor(SHARE).logit(), atol=1e-4)
    assert torch.equal(logits >= 0, shares >= SHARE)
    sure = log_odds_of_shares(torch.tensor([[1_000.0, 0.0]], requires_grad=True))
    assert bool(sure.isfinite().all())


def test_the_loss_is_the_cross_entropy_with_equal_shares_of_what_holds():
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    targets = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0.25] * 4])
    expected = -(targets * scores.log_softmax(-1)).sum(-1).mean()
    assert loss_of_shares(log_odds_of_shares(scores), labels).item() == pytest.approx(expected.item(), abs=1e-4)


def test_rows_start_at_the_means_of_shares_and_what_labels_mean(comparable):
    adapted = la.adapt(comparable, "multilabel")
    seen = adapted.runner.prepare(RECORDS)
    names = seen.view.outputs

    def vector(text):
        inputs = adapted.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = adapted.model.base_model(inputs["input_ids"]).last_hidden_state[0]
        return normalize(hidden.mean(0), dim=-1).numpy()

    meant = np.stack([vector(name) for name in names])
    rows = find_start(adapted.runner, seen).rows
    for row, name, meaning in zip(rows, names, meant - meant.mean(0), strict=True):
        sums = sum(vector(each["text"]) / len(each["labels"]) for each in RECORDS if name in each["labels"])
        expected = sums / np.linalg.norm(sums) + meaning
        assert np.allclose(row, expected / np.linalg.norm(expected), atol=1e-3)


def test_a_label_holds_from_its_share_on(learned):
    texts = [each["text"] for each in RECORDS]
    head = learned.runner.adaptation.head.prototypes
    for text, answer, scores in zip(texts, learned.predict(texts), learned.predict(texts, scores=True), strict=True):
        inputs = learned.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = learned.model.base_model(inputs["input_ids"]).last_hidden_state[0].mean(0)
        shares = (SCALE * normalize(head.rows, dim=-1) @ normalize(hidden, dim=-1)).softmax(-1)
        held = {name for name, share in zip(learned.runner.outputs, shares, strict=True) if share >= SHARE}
        assert set(answer) == held == {label for label, value in scores.items() if value >= 0.5}


def test_few_records_learn_more_than_by_the_standard_recipe(comparable):
    found = {}
    for recipe in ("few-shot", "standard"):
        adapted = la.adapt(comparable, "multilabel")
        adapted.fit(RECORDS, recipe=recipe, args={**QUIET, "max_steps": 20})
        found[recipe] = adapted.evaluate(RECORDS)["micro_f1"]
    assert found["few-shot"] > found["standard"] + 0.2


@pytest.mark.parametrize(
    ("records", "options", "reason"),
    [
        (RECORDS[:4], {}, f"at least {LEAST_LABELS} labels, and there are 4"),
        ([*RECORDS, {"text": "nothing", "labels": []}], {}, "there are records without any"),
        (RECORDS, {"class_weights": "balanced"}, "no class_weights"),
        ([{**RECORDS[0], "text_pair": "b"}, *RECORDS], {}, "these records hold pairs"),
    ],
)
def test_what_cannot_be_shared_out_is_learned_as_before(comparable, records, options, reason):
    adapted = la.adapt(comparable, la.MultiLabel(**options))
    with pytest.raises(LightAdaptError, match=rf"recipe='few-shot': .*{reason}"):
        adapted.fit(records, recipe="few-shot")
    assert adapted.fit(records, epochs=1, args=QUIET).settings["recipe"] == "standard"


def test_it_is_saved_fitted_again_and_refused_where_nothing_reads_it(learned, tmp_path):
    texts = [each["text"] for each in RECORDS]
    learned.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert again.predict(texts) == learned.predict(texts)
    assert_equal(again.runner.adaptation.tensors(), learned.runner.adaptation.tensors())
    assert again.fit(RECORDS, epochs=1, args=QUIET).settings["recipe"] == "standard"
    with pytest.raises(LightAdaptError, match="prototypes"):
        learned.merge()


def test_a_graph_answers_alike(learned, tmp_path):
    pytest.importorskip("onnxscript")
    found = learned.export(tmp_path / "out", "onnx", check=RECORDS)
    assert found.equal == 1.0
    assert found.difference < 1e-3


def test_further_labels_start_at_their_means(learned):
    old = learned.runner.adaptation.head.prototypes.rows.detach().clone()
    more = [{"text": f"cheese {number}", "labels": ["food"]} for number in ("one", "two", "three")]
    found = learned.extend(more, epochs=4, args=QUIET)
    assert found.classes == ["food"]
    assert learned.labels[-1] == "food"
    rows = learned.runner.adaptation.head.prototypes.rows.detach()
    assert rows.shape[0] == len(old) + 1
    assert float(torch.cosine_similarity(rows[:-1], old).min()) > 0.9
    scores = learned.predict(["cheese two"], scores=True)[0]
    assert max(scores, key=scores.get) == "food"
