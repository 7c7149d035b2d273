"""Checkpoints, and runs that go on from one: to the same weights, or refused where it would be another run."""

from __future__ import annotations

import shutil

import pytest
from learned import StopAt, assert_equal, state_of

import lightadapt as la
from lightadapt.training.checkpoints import find_last


def test_checkpoints_are_artifacts_and_a_run_is_resumed_exactly(classifier, messages, tmp_path):
    options = {"epochs": 3, "args": {"save_strategy": "steps", "save_steps": 2}}
    whole = classifier()
    whole.fit(messages, output_dir=tmp_path / "whole", **options)
    broken = classifier()
    with pytest.raises(KeyboardInterrupt):
        broken.fit(messages, output_dir=tmp_path / "broken", callbacks=[StopAt(7)], **options)
    assert find_last(tmp_path / "broken").name == "checkpoint-6"  # in the middle of the second epoch
    assert la.load(tmp_path / "broken" / "checkpoint-6").labels == whole.labels

    resumed = classifier()
    history = resumed.fit(messages, output_dir=tmp_path / "broken", resume=True, **options)
    assert history.steps == 12
    assert_equal(state_of(resumed), state_of(whole))


def test_a_checkpoint_cut_short_by_a_crash_is_passed_over(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=2)
    assert find_last(tmp_path).name == "checkpoint-8"
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text('{"epoch": ')
    with pytest.warns(UserWarning, match=r"checkpoint-8 is passed over: trainer_state\.json is damaged"):
        assert find_last(tmp_path).name == "checkpoint-4"
    with pytest.warns(UserWarning, match=r"The run goes on from checkpoint-4, the last complete one"):
        assert classifier().fit(messages, output_dir=tmp_path, epochs=2, resume=True).steps == 8


def test_resume_without_a_checkpoint_starts_afresh(classifier, messages, tmp_path):
    assert classifier().fit(messages, output_dir=tmp_path / "new", epochs=1, resume=True).steps == 4


@pytest.mark.parametrize(
    ("options", "count", "what"),
    [
        ({"method": la.LoRA(alpha=64)}, 60, "method"),
        ({"seed": 5}, 60, "seed"),
        ({"layers": "last:3"}, 60, "layers"),
        ({}, 40, "number of records"),
    ],
)
def test_resume_of_another_run_is_refused(classifier, messages, tmp_path, options, count, what):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    with pytest.raises(la.ArtifactError, match=f"is of another run: its {what} was"):
        classifier(**options).fit(messages[:count], output_dir=tmp_path, epochs=2, resume=True)


def test_resume_with_other_labels_is_refused(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    other = [{**record, "label": f"{record['label']}!"} for record in messages]
    with pytest.raises(la.ArtifactError, match="is of another run: its labels was"):
        classifier(labels=None).fit(other, output_dir=tmp_path, epochs=2, resume=True)


def test_another_runs_checkpoints_are_not_overwritten(classifier, messages, tmp_path):
    classifier().fit(messages, output_dir=tmp_path, epochs=1)
    with pytest.raises(la.LightAdaptError, match=r"holds checkpoints of an earlier run \(checkpoint-4\)"):
        classifier().fit(messages, output_dir=tmp_path, epochs=1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"optimizer": "adamw8bit"}, "its optimizer was adamw_torch_fused, now adamw_bnb_8bit"),
        ({"batch_tokens": 7}, r"its batch_tokens was \d+, now 7"),
        ({"args": {"gradient_accumulation_steps": 2}}, "its number of batches a step was None, now 2"),
    ],
)
def test_resume_with_other_steps_is_refused(classifier, messages, tmp_path, options, what):
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path)
    with pytest.raises(la.LightAdaptError, match=what):
        classifier().fit(messages[:8], epochs=2, output_dir=tmp_path, resume=True, **options)


def test_early_stopping_goes_on_counting_when_a_run_is_resumed(classifier, messages, tmp_path, monkeypatch):
    """Where nothing gets better, an interrupted run ends where one without interruption does."""
    monkeypatch.setattr(la.Classification, "score", lambda *_: ({"accuracy": 0.5}, {}))
    options = {"validation": messages, "epochs": 8, "early_stopping": 3}
    whole = classifier().fit(messages, output_dir=tmp_path / "whole", **options)
    assert whole.steps == 16  # the first evaluation is the best, and three more are waited for
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, output_dir=tmp_path / "broken", callbacks=[StopAt(10)], **options)
    resumed = classifier().fit(messages, output_dir=tmp_path / "broken", resume=True, **options)
    assert resumed.steps == whole.steps


def test_the_best_weights_are_found_after_the_folder_was_moved(classifier, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(la.Classification, "score", lambda *_: ({"accuracy": 0.5}, {}))
    options = {"validation": messages, "epochs": 4}
    before = classifier()
    before.fit(messages, output_dir=tmp_path / "before", **options)
    (tmp_path / "before").rename(tmp_path / "after")
    after = classifier()
    history = after.fit(messages, output_dir=tmp_path / "after", resume=True, **options)
    assert history.best["step"] == 4
    assert_equal(state_of(after), state_of(before))
    for folder in (tmp_path / "after").glob("checkpoint-4"):
        shutil.rmtree(folder)
    with pytest.raises(la.LightAdaptError, match=r"checkpoint-4, the best checkpoint .* is not there"):
        classifier().fit(messages, output_dir=tmp_path / "after", resume=True, **options)


@pytest.mark.parametrize(
    ("before", "now", "what"),
    [
        ({"args": {"seed": 5}}, {}, "its order was 5, now 0"),
        ({"learning_rate": 1e-3}, {"learning_rate": 5e-3}, "its learning rate was 0.001, now 0.005"),
    ],
)
def test_resume_with_other_settings_is_refused(classifier, messages, tmp_path, before, now, what):
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path, **before)
    with pytest.raises(la.LightAdaptError, match=what):
        classifier().fit(messages[:8], epochs=2, output_dir=tmp_path, resume=True, **now)


def test_resume_with_other_data_or_options_of_the_task_is_refused(tiny, messages, tmp_path):
    def fit(records, **options):
        task = la.Classification(labels=["a", "b"], **options)
        return la.adapt(tiny("bert"), task).fit(records, epochs=2, output_dir=tmp_path, resume=True)

    records = [{"text": "a text", "label": "ab"[n % 2]} for n in range(8)]
    fit(records)
    with pytest.raises(la.LightAdaptError, match="its number of tokens was"):
        fit([*records[:7], {"text": "a longer text than before", "label": "a"}])
    with pytest.raises(la.LightAdaptError, match="its classification option class_weights was None, now"):
        fit(records, class_weights={"a": 5.0, "b": 1.0})
