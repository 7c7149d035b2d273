"""What is kept of the training data goes on with `extend`: old and new together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from learned import StopAt

import lightadapt as la
from lightadapt import sample
from lightadapt.adaptation.training_summary import TrainingSummary
from lightadapt.stream import joining
from lightadapt.stream.joining import OF_A_CLASS, joined

QUIET = {"disable_tqdm": True, "max_steps": 2}
NEW = ("invoice_copy", "cancel_order")


def of(label: str, count: int = 40, split: str = "train") -> list[dict]:
    return [record for record in sample.records(split) if record["label"] == label][:count]


STARS = ("A red giant", "The comet", "A ring of dust", "This nebula", "The fifth moon")
SEEN = ("was seen near Saturn", "glows in infrared light", "orbits a binary star", "is 40 parsecs away")
STEP = [record for label in NEW for record in of(label)]


@pytest.fixture(params=["linear", "prototypes"])
def extended(request, learned, comparable_encoder):
    """One that has learned three classes by `fit`, and two more by a step."""
    if request.param == "prototypes":
        old = [record for label in learned.labels for record in of(label)]
        learned = la.adapt(comparable_encoder({"pooling_mode": "mean"}), "classification")
        learned.fit(old, args=QUIET)
    before = learned.runner.last_run.summary
    learned.extend(STEP, args=QUIET)
    assert (learned.runner.adaptation.head.prototypes is None) == (request.param == "linear")
    return learned, before


def test_vectors_and_counts_are_of_old_and_new_together(extended):
    adapted, before = extended
    now = adapted.runner.last_run.summary
    assert np.array_equal(now.vectors[: len(before.vectors)], before.vectors)
    assert len(now.vectors) == 200
    assert now.comparable
    assert now.counts == {**before.counts, **dict.fromkeys(NEW, 40)} or before.counted < 120  # on held-out records
    assert set(now.counts) == set(adapted.labels)
    assert now.known.labels == adapted.task.outputs()
    numbers = Counter(now.known.labels[number] for number in now.known.numbers)
    assert numbers == dict.fromkeys(adapted.labels, 40)
    assert not now.known.held_out


def test_it_asks_of_all_that_was_learned(extended):
    adapted, _ = extended
    kinds = ("refund", "track_order", "reset_password", *NEW)
    usual = [record["text"] for label in kinds for record in of(label, 20, "test")]
    found = adapted.drift(usual)
    assert found.unlike < 0.2
    assert found.p_values["new texts"] > 0.05
    assert adapted.drift([f"The comet orbits a binary star {number} parsecs away." for number in range(30)]).drifted
    assert sum(answer is None for answer in adapted.predict(usual, unknown=True)) < 0.2 * len(usual)


def test_what_was_drift_is_none_when_it_was_learned(learned):
    texts = [
        f"{what} {seen} {when}" for what in STARS for seen in SEEN for when in ("tonight.", "last week.", "again.")
    ]
    assert learned.drift(texts).drifted
    learned.extend([{"text": text, "label": "stars"} for text in texts[::2]], args=QUIET)
    assert learned.drift(texts[1::2]).p_values["new texts"] > 0.05


def test_it_is_saved_and_a_step_before_the_last_has_none(extended, tmp_path):
    adapted, _ = extended
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved").runner.last_run.summary
    assert again.counts == adapted.runner.last_run.summary.counts
    earlier = la.load(tmp_path / "saved", step=0)
    assert earlier.runner.last_run.summary is None
    with pytest.raises(la.LightAdaptError, match="a step before the last"):
        earlier.drift([record["text"] for record in STEP])


def test_the_first_step_keeps_one_as_fit_does(classifier, messages):
    adapted = classifier()
    adapted.extend(messages, args=QUIET)
    assert len(adapted.runner.last_run.summary.vectors) == len(messages)
    other = classifier()
    other.extend(messages, args=QUIET, summary=False)
    assert other.runner.last_run.summary is None


def test_where_nothing_was_kept_before_nothing_is_kept_of_a_step_alone(classifier, messages):
    adapted = classifier()
    adapted.fit(messages, args=QUIET, summary=False)
    adapted.extend(messages, args=QUIET)
    assert adapted.runner.last_run.summary is None


def test_a_step_without_a_summary_ends_it(learned):
    learned.extend(STEP, args=QUIET, summary=False)
    assert learned.runner.last_run.summary is None


def test_one_that_was_interrupted_leaves_what_was_there(learned):
    before = learned.runner.last_run.summary
    with pytest.raises(KeyboardInterrupt):
        learned.extend(STEP, callbacks=[StopAt(1)], args=QUIET)
    assert learned.runner.last_run.summary is before


@pytest.mark.parametrize(("learned_before", "vectors"), [(120, (120, 80)), (1_200, (120, 12)), (3_000, (120, 12))])
def test_old_and_new_records_have_the_same_chance(learned, learned_before, vectors):
    """But for six of each new class, so that a text of it has near ones."""
    before = learned.runner.last_run.summary
    learned.extend(STEP, args=QUIET)
    examples = learned.task.parse(learned.task.read(STEP))
    now = joined(learned.runner, before, examples, learned_before)
    old = int((now.known.numbers < 3).sum())
    assert (old, len(now.vectors) - old) == vectors
    assert min(Counter(now.known.numbers.tolist()).values()) >= OF_A_CLASS
    share = before.counted / learned_before
    assert now.counts["invoice_copy"] == pytest.approx(40 * share, abs=1)
    assert now.counts["refund"] == before.counts["refund"]
    assert now.counted == pytest.approx(before.counted + 80 * share, abs=1)


def test_more_than_are_kept_are_thinned_alike(learned, monkeypatch):
    monkeypatch.setattr(joining, "MOST", 100)
    before = learned.runner.last_run.summary
    learned.extend(STEP, args=QUIET)
    now = joined(learned.runner, before, learned.task.parse(learned.task.read(STEP)), 120)
    numbers = now.known.numbers
    assert (int((numbers < 3).sum()), int((numbers >= 3).sum())) == (60, 40)


def test_a_task_without_labels_has_vectors_of_both(tiny):
    records = [{"text": f"number {number}", "label": number} for number in range(60)]
    adapted = la.adapt(tiny("bert"), "regression")
    adapted.fit(records, args=QUIET)
    adapted.extend(records[:30], args=QUIET)
    now: TrainingSummary = adapted.runner.last_run.summary
    assert len(now.vectors) == 90
    assert now.known is None
    assert not now.counted
    assert set(adapted.drift(records[:20]).p_values) == {"new texts", "mixture"}


def test_full_moves_the_base_itself(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    adapted.fit(messages, args=QUIET)
    adapted.extend(messages, args=QUIET)
    assert not adapted.runner.last_run.summary.comparable
    assert adapted.runner.last_run.summary.known is None
