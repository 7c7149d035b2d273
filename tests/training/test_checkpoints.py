"""Checkpoints that are damaged, incomplete or cannot be written: passed over or refused, never gone on from."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from learned import StopAt, assert_equal, state_of

import lightadapt as la
from lightadapt.training import alone, checkpoints
from lightadapt.training.resuming import digests_of

OPTIONS = {"epochs": 3, "args": {"disable_tqdm": True}}


@pytest.fixture
def broken(classifier, messages, tmp_path):
    """A folder with the checkpoints 4 and 8 of a run of 12 steps, and the weights that the whole run ends with."""
    whole = classifier()
    whole.fit(messages, **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(messages, output_dir=tmp_path / "run", callbacks=[StopAt(10)], **OPTIONS)
    return tmp_path / "run", state_of(whole)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, flip, lambda file: file.unlink()], ids=["cut", "flipped", "absent"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(classifier, messages, broken, tmp_path, harm):
    folder, whole = broken
    for name in sorted(file.name for file in (folder / "checkpoint-8").iterdir()):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        harm(copy / "checkpoint-8" / name)
        with pytest.warns(UserWarning, match="checkpoint-8 is passed over: .* goes on from checkpoint-4"):
            assert checkpoints.find_last(copy).name == "checkpoint-4"
    adapted = classifier()
    with pytest.warns(UserWarning, match="checkpoint-8 is passed over"):
        adapted.fit(messages, output_dir=copy, resume=True, **OPTIONS)
    assert_equal(state_of(adapted), whole)
    assert not checkpoints.why_no_return(copy / "checkpoint-8")  # the run came by there again


def test_without_any_complete_checkpoint_it_is_said_what_is_missing(classifier, messages, broken):
    folder, _ = broken
    (folder / "checkpoint-4" / "optimizer.pt").unlink()
    cut(folder / "checkpoint-8" / "scheduler.pt")
    with pytest.raises(
        la.LightAdaptError, match=r"no complete checkpoint .*scheduler\.pt is damaged.*optimizer\.pt is"
    ):
        classifier().fit(messages, output_dir=folder, resume=True, **OPTIONS)


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": [1]}', '{"sha256": {"a": 1}}', '{"sha256": {"../x": "y"}}'])
def test_a_strange_seal_is_no_seal(tmp_path, text):
    (tmp_path / checkpoints.SEAL_NAME).write_text(text)
    assert checkpoints.why_incomplete(tmp_path)


def test_a_run_that_was_killed_in_its_first_checkpoint_starts_afresh(classifier, messages, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(folder):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "seal", die)
        with pytest.raises(Killed):
            classifier().fit(messages, output_dir=tmp_path, **OPTIONS)
    assert (tmp_path / "checkpoint-4").is_dir()
    whole, again = classifier(), classifier()
    whole.fit(messages, **OPTIONS)
    with pytest.warns(UserWarning, match="checkpoint-4 was being written .* starts afresh"):
        assert again.fit(messages, output_dir=tmp_path, resume=True, **OPTIONS).steps == 12
    assert_equal(state_of(again), state_of(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-12", "checkpoint-8"]


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(classifier, messages, tmp_path):
    args = {"save_only_model": True, "disable_tqdm": True}
    classifier().fit(messages, output_dir=tmp_path, epochs=1, args=args)
    with pytest.raises(la.LightAdaptError, match="it holds no state of the optimizer"):
        classifier().fit(messages, output_dir=tmp_path, epochs=2, resume=True)


def test_a_copied_run_keeps_its_own_best_weights(classifier, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(la.Classification, "score", lambda *_: ({"accuracy": 0.5}, {}))
    with pytest.raises(KeyboardInterrupt):
        classifier().fit(
            messages, validation=messages[:5], output_dir=tmp_path / "run", callbacks=[StopAt(10)], **OPTIONS
        )
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    flip(tmp_path / "run" / "checkpoint-4" / "adapter_model.safetensors")
    classifier().fit(messages, validation=messages[:5], output_dir=tmp_path / "copy", resume=True, **OPTIONS)
    with pytest.raises(la.LightAdaptError, match=r"checkpoint-4, the best checkpoint .* is damaged \(adapter_model"):
        classifier().fit(messages, validation=messages[:5], output_dir=tmp_path / "run", resume=True, **OPTIONS)


def test_scores_in_a_checkpoint_are_those_of_its_weights(classifier, messages, tmp_path):
    args = {"save_strategy": "steps", "save_steps": 3, "load_best_model_at_end": False, "save_total_limit": 9}
    classifier().fit(messages, messages[:5], epochs=3, output_dir=tmp_path, args=args)
    scored = {
        path.name: bool(json.loads((path / "lightadapt.json").read_text())["metrics"])
        for path in tmp_path.glob("checkpoint-*")
    }
    assert scored["checkpoint-6"] is False  # in the middle of the second epoch


def test_a_full_disk_is_said_with_the_folder_and_the_last_state_stays(classifier, messages, tmp_path, monkeypatch):
    save = checkpoints.seal
    calls = iter([save, lambda folder: (_ for _ in ()).throw(OSError(28, "No space left on device"))])
    monkeypatch.setattr(checkpoints, "seal", lambda folder: next(calls)(folder))
    said = r"checkpoint-8 cannot be written to output_dir .*No space left.*checkpoint-4 is complete"
    with pytest.raises(la.LightAdaptError, match=said):
        classifier().fit(messages, output_dir=tmp_path, **OPTIONS)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


SMALL_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import lightadapt as la
adapted = la.adapt(sys.argv[1], "classification", labels=["a", "b"])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    adapted.fit([{"text": "x", "label": "ab"[n % 2]} for n in range(16)], epochs=2, output_dir=sys.argv[2])
except la.LightAdaptError as error:
    print("refused:", error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit of file sizes")
def test_a_quota_is_said_with_the_folder(tiny, tmp_path):
    command = [sys.executable, "-c", SMALL_FILES, str(tiny("bert")), str(tmp_path / "run")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"refused: checkpoint-1 cannot be written to output_dir {tmp_path / 'run'}" in said


@pytest.mark.parametrize("mode", ["file", "below a file"])
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_data_is_read(classifier, tmp_path, mode):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" if mode == "file" else tmp_path / "file" / "run"
    with pytest.raises(la.LightAdaptError, match=r"output_dir .* cannot be written to"):
        classifier().fit([{"nothing": 1}], output_dir=folder)


def changed(records, change):
    """Records with as many tokens as these, with one thing that is different."""
    other = [dict(record) for record in records]
    if change == "order":
        other.reverse()
    if change == "a label":
        other[0]["label"] = other[-1]["label"]
    if change == "a word":
        first, *rest = other[0]["text"].split()
        other[0]["text"] = " ".join([*rest, first])
    return other


@pytest.mark.parametrize("change", ["order", "a label", "a word"])
def test_other_data_of_the_same_length_is_noticed(classifier, messages, tmp_path, change):
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path)
    other = changed(messages[:8], change)
    said = r"its training data \(texts, labels, their order or their tokens\) was \w+, now \w+"
    with pytest.raises(la.LightAdaptError, match=said):
        classifier().fit(other, epochs=2, output_dir=tmp_path, resume=True)


@pytest.mark.parametrize("change", ["order", "a label", "a word", "fewer", "none"])
def test_other_validation_data_is_noticed(classifier, messages, tmp_path, change):
    """Which weights are the best depends on it."""
    validation = messages[8:16]
    classifier().fit(messages[:8], validation, epochs=1, output_dir=tmp_path)
    other = {"fewer": validation[1:], "none": None}.get(change, changed(validation, change))
    said = r"its validation data \(texts, labels or their order\) was \w+, now \w+\. Resume with the same model"
    with pytest.raises(la.LightAdaptError, match=said):
        classifier().fit(messages[:8], other, epochs=2, output_dir=tmp_path, resume=True)
    history = classifier().fit(messages[:8], validation, epochs=2, output_dir=tmp_path, resume=True)
    assert len(history.epochs) == 2


def test_another_column_is_noticed(classifier, messages, tmp_path):
    records = [{**record, "other": " ".join(reversed(record["text"].split()))} for record in messages[:8]]
    classifier().fit(records, epochs=1, output_dir=tmp_path)
    with pytest.raises(la.LightAdaptError, match="its training data"):
        classifier().fit(records, epochs=2, output_dir=tmp_path, resume=True, columns={"text": "other"})


def test_another_tokenizer_is_noticed(classifier, messages, tiny, tmp_path):
    """One that gives as many tokens, but others."""
    classifier().fit(messages[:8], epochs=1, output_dir=tmp_path / "run")
    shutil.copytree(tiny("bert"), tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    words = content["model"]["vocab"]
    plain = [word for word in words if word.isalpha()]
    turned = dict(zip(plain, [words[word] for word in reversed(plain)], strict=True))
    content["model"]["vocab"] = {**words, **turned}
    file.write_text(json.dumps(content))
    other = la.adapt(tmp_path / "model", "classification", labels=messages)
    with pytest.raises(la.LightAdaptError, match="their order or their tokens"):
        other.fit(messages[:8], epochs=2, output_dir=tmp_path / "run", resume=True)


def test_objects_are_told_apart_by_what_they_hold():
    class Answer:
        def __init__(self, text):
            self.text = text

    one, same, other = (digests_of([], [Answer(text)]) for text in ("a", "a", "b"))
    assert one == same != other


# ---- checkpoints of earlier versions


def as_before(checkpoint):
    """Make of a checkpoint what earlier versions wrote: no digests, and less about the run."""
    (checkpoint / checkpoints.SEAL_NAME).unlink()
    file = checkpoint / "lightadapt.json"
    manifest = json.loads(file.read_text())
    for name in ("digest", "digests"):
        del manifest[name]
    for name in ("data", "validation_data", "sequences", "tokens"):
        del manifest["training"][name]
    file.write_text(json.dumps(manifest))


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(classifier, messages, broken):
    folder, whole = broken
    for name in ("checkpoint-4", "checkpoint-8"):
        as_before(folder / name)
    adapted = classifier()
    with (
        pytest.warns(UserWarning, match="checkpoint-8 was saved by an earlier version, which wrote no digests"),
        pytest.warns(UserWarning, match=r"did not write down the number of sequences, .*, training data .* validation"),
    ):
        history = adapted.fit(messages, output_dir=folder, resume=True, **OPTIONS)
    assert history.losses[0][0] == 1  # of the log that the checkpoint holds
    assert_equal(state_of(adapted), whole)


@pytest.mark.filterwarnings("ignore:.*checkpoint-4 was saved by an earlier version")
def test_one_that_is_not_whole_is_not(broken, tmp_path):
    folder, _ = broken
    as_before(folder / "checkpoint-4")
    as_before(folder / "checkpoint-8")
    for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
        for harm in (cut, lambda file: file.unlink()):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            harm(copy / "checkpoint-8" / name)
            with pytest.warns(UserWarning, match="checkpoint-8 is passed over: .*goes on from checkpoint-4"):
                assert checkpoints.find_last(copy).name == "checkpoint-4"


def test_what_a_later_version_did_not_seal_is_none_of_an_earlier_one(broken):
    folder, _ = broken
    for name in ("checkpoint-4", "checkpoint-8"):
        (folder / name / checkpoints.SEAL_NAME).unlink()
    with pytest.raises(la.LightAdaptError, match="no complete checkpoint"):
        checkpoints.find_last(folder)


def test_a_second_run_to_the_folder_of_one_is_refused_and_leaves_it_alone(classifier, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(alone, "PATIENCE", 0.1)
    settings = SimpleNamespace(folder=tmp_path, checkpoint=None)
    with alone.alone_in(settings, main=True):
        with pytest.raises(la.LightAdaptError, match="another run is writing its checkpoints there"):
            classifier().fit(messages, output_dir=tmp_path, **OPTIONS)
        with alone.alone_in(settings, main=False):  # another process of the same run
            assert [path.name for path in tmp_path.iterdir()] == [alone.NAME]
    classifier().fit(messages, output_dir=tmp_path, **OPTIONS)
    assert all(path.name.startswith("checkpoint-") for path in tmp_path.iterdir())


def test_a_folder_in_which_another_run_was_meanwhile_is_refused(tmp_path):
    settings = SimpleNamespace(folder=tmp_path, checkpoint=None)
    with alone.alone_in(settings, main=True):
        (tmp_path / "checkpoint-4").mkdir()
        (tmp_path / "checkpoint-4" / checkpoints.SEAL_NAME).touch()
    taken = alone.alone_in(settings, main=True)
    with pytest.raises(la.LightAdaptError, match="has written checkpoints there meanwhile"), taken:
        pytest.fail("it was let in")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]
