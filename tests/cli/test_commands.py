"""The commands from files to files: what they print, write and refuse, and the status that a shell sees."""

from __future__ import annotations

import csv
import json
import logging
import os
import shlex
import subprocess
import sys

import pytest
from learned import as_learned
from typer.testing import CliRunner

import lightadapt as la
from lightadapt.cli import EXAMPLES, app
from lightadapt.cli.env import env


def call(*words: object, typed: str | bytes = ""):
    """What a command printed, and its status."""
    return CliRunner().invoke(app, [str(word) for word in words], input=typed)


@pytest.fixture
def data(write, messages):
    return write("train.jsonl", "\n".join(json.dumps(record) for record in messages))


@pytest.fixture
def adapted(classifier):
    return as_learned(classifier())


@pytest.fixture
def saved(adapted, tmp_path):
    adapted.save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: command.__name__)
def test_help_has_an_example_and_no_type_for_flags(command):
    shown = call(command.__name__, "--help")
    assert shown.exit_code == 0
    assert f"lightadapt {command.__name__}" in " ".join(shown.output.split())
    assert "<bool>" not in shown.output
    assert "list[" not in shown.output


def test_train_writes_what_repeats_the_run_bit_for_bit(tiny, data, tmp_path):
    first = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--validation", data),
        *("--out", tmp_path / "first", "--epochs", 1, "--set", "method.rank=2", "--set", "args.weight_decay=0.1"),
    )
    assert first.exit_code == 0, first.output
    assert la.load(tmp_path / "first").method.rank == 2
    assert not (tmp_path / "first.checkpoints").exists()
    settings = (tmp_path / "first.yaml").read_text()
    assert all(line in settings for line in ("epochs: 1.0", "rank: 2", "weight_decay: 0.1", "dtype: "))
    again = call("train", "--config", tmp_path / "first.yaml", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    one, other = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("first", "again"))
    assert one == other


def test_train_holds_a_share_out_and_says_what_it_read(tiny, tmp_path):
    rows = [{"id": n, "text": f"parcel {n}", "label": ["ab"[n % 2]]} for n in range(16)]
    (tmp_path / "export.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pattern = f"{tmp_path}/*.jsonl"
    found = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", pattern, "--validation", "0.25"),
        *("--out", tmp_path / "out", "--epochs", 1),
    )
    assert found.exit_code == 0, found.output
    assert f"{pattern}: doccano (JSON lines, 1 file), 16 records read as classification" in found.stderr
    assert "Validation: accuracy" in found.output
    assert "validation: 0.25" in (tmp_path / "out.yaml").read_text()
    assert logging.getLogger("lightadapt").handlers == []


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["--set", "metod.rank=3"], "Did you mean 'method'"),
        (["--set", "method.rnk=3"], "Did you mean 'rank'"),
        (["--set", "task.treshold=3"], "no setting 'treshold'"),
        (["--set", "learning-rate=3"], "Did you mean 'learning_rate'"),
        (["--set", "epochs"], "write name=value"),
        (["--set", "epochs=[1"], "is not YAML"),
        (["--set", "epochs=no"], "epochs='no': give a number above 0"),
        (["--set", "epochs=[" + "[" * 2000], "brackets are nested too deeply"),
        (["--set", "epochs.x=3"], "epochs is 3.0, which has no settings of its own"),
        (["--set", "labels=[a]", "--set", "labels.x=3"], "labels is ['a'], which has no settings"),
        (["--set", "output_dir=3"], "output_dir=3: give the path of a folder"),
        (["--set", "callbacks=[1]"], "from a script"),
        (["--method", "bitfit", "--set", "method.rank=3"], "no setting 'rank'. It has none"),
        (["--layers", "²,1"], "layers='²,1': write 'last:2'"),
        (["--layers", "1" * 5000], "write 'last:2'"),
        (["--test", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["--set", "trust_remote_code=true"], "--trust-remote-code on the command line"),
        (["--columns", "text"], "write field=column"),
        (["--task", "token-classificaton"], "Unknown task"),
        (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_train_refuses_with_the_way_out(tiny, data, tmp_path, words, phrase):
    found = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--out", tmp_path / "out"),
        *("--epochs", 3, *words),
    )
    assert found.exit_code == 1
    assert phrase in " ".join(found.output.split())
    assert not list(tmp_path.glob("out*"))


def test_what_a_command_imports_is_not_searched_for_garbage_but_what_it_makes_is():
    code = (
        "import gc; from lightadapt.cli.reporting import reported\n"
        "with reported(): print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_advice_on_columns_is_what_the_command_takes(tiny, tmp_path):
    data = tmp_path / "train.csv"
    data.write_text("sentence,stars\n" + "good soup,2\nlate,1\n" * 4)
    words = ("check", tiny("bert"), data, "--task", "classification", "--labels", "1,2")
    found = call(*words)
    assert found.exit_code == 1
    advice = "--columns text=sentence --columns label=stars"
    assert advice in found.output
    followed = call(*words, *shlex.split(advice))
    assert followed.exit_code == 0, followed.output


@pytest.mark.parametrize("words", [["check"], ["preview"]])
def test_the_form_of_the_data_is_said_once(tiny, data, words):
    found = call(*words, tiny("bert"), data, "--task", "classification")
    assert found.exit_code == 0, found.output
    assert found.output.count("records read as classification") == 1


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ("model: bert\nmethod:\n  rank: 3\n  rank: 4\n", "'rank' is written twice in \"<unicode string>\", line 4"),
        ("[" * 5000, "brackets are nested too deeply"),
        ("? [a]\n: b\n", "unhashable"),
        ("- a\n", "holds ['a']"),
        ("", "holds None"),
        (b"\xff\xfe", "is not YAML in UTF-8"),
        ("out: [a]\nmodel: a\ntask: ner\ntrain: b\n", "out=['a']: give the path of a folder"),
    ],
)
def test_settings_are_refused_with_their_place(write, content, phrase):
    found = call("train", "--config", write("settings.yaml", content))
    assert found.exit_code == 1
    assert phrase in found.output


@pytest.mark.parametrize("command", ["train", "merge", "evaluate"])
@pytest.mark.parametrize("kind", ["in a file", "of too long a name"])
def test_a_place_that_cannot_be_written_to_is_named_in_a_line(tiny, saved, data, tmp_path, command, kind):
    place = data / "x" if kind == "in a file" else tmp_path / ("x" * 300)
    words = {
        "train": ["--model", tiny("bert"), "--task", "classification", "--data", data, "--out", place],
        "merge": [saved, "--out", place],
        "evaluate": [saved, data, "--json", place],
    }
    found = call(command, *words[command])
    assert found.exit_code == 1
    assert isinstance(found.exception, SystemExit)
    assert len([line for line in found.stderr.splitlines() if line.startswith("Error: ")]) == 1
    assert str(place)[:40] in found.stderr


def test_scores_are_not_computed_for_a_place_that_is_not_there(saved, data, tmp_path):
    for place, phrase in ((tmp_path, "is a folder"), (tmp_path / "no" / "scores.json", "there is no folder")):
        found = call("evaluate", saved, data, "--json", place)
        assert found.exit_code == 1
        assert phrase in found.output
        assert "accuracy" not in found.output


@pytest.mark.parametrize("lacking", ["--model", "--task", "--data", "--out"])
def test_train_names_what_is_missing(tmp_path, lacking):
    words = {"--model": "m", "--task": "ner", "--data": "d.jsonl", "--out": tmp_path / "out"}
    del words[lacking]
    found = call("train", *[word for pair in words.items() for word in pair])
    assert found.exit_code == 1
    assert found.output.startswith(f"Error: {lacking} is missing")


def test_train_replaces_nothing_without_being_told(tiny, data, saved):
    how = ("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--epochs", 1)
    before = (saved / "lightadapt.json").read_bytes()
    refused = call(*how, "--out", saved)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    assert (saved / "lightadapt.json").read_bytes() == before
    assert call(*how, "--out", saved, "--overwrite").exit_code == 0
    assert (saved / "lightadapt.json").read_bytes() != before


def test_train_names_resume_as_the_command_does(tiny, data, tmp_path):
    (tmp_path / "out.checkpoints" / "checkpoint-1").mkdir(parents=True)
    found = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--out", tmp_path / "out")
    )
    assert found.exit_code == 1
    assert "Add --resume" in found.output


def test_evaluate_prints_the_table_and_writes_the_scores(saved, adapted, data, tmp_path, messages):
    found = call("evaluate", saved, data, "--json", tmp_path / "scores.json")
    assert found.exit_code == 0, found.output
    assert "precision" in found.output
    kept, scores = json.loads((tmp_path / "scores.json").read_text()), adapted.evaluate(messages)
    assert kept["scores"] == dict(scores)
    assert kept["intervals"] == {name: [each.low, each.high] for name, each in scores.intervals.items()}
    assert str(scores) in found.output


def test_evaluate_knows_other_confidences_and_what_was_before(saved, adapted, data, tmp_path):
    found = call("evaluate", saved, data, "--confidence", 0.8, "--before", "--json", tmp_path / "scores.json")
    assert found.exit_code == 0, found.output
    scores = adapted.evaluate(data, confidence=0.8, before=True)
    assert str(scores) in found.output
    assert "80 % intervals" in found.output
    kept = json.loads((tmp_path / "scores.json").read_text())
    assert (kept["confidence"], kept["before"]) == (0.8, dict(scores.before))
    assert (kept["gain"]["difference"], kept["gain"]["p"]) == (scores.gain.difference, scores.gain.p)
    for wrong in (95, 1.0):
        found = call("evaluate", tmp_path / "nowhere", data, "--confidence", wrong)
        assert found.exit_code == 1
        assert "give a number between 0 and 1" in found.output


def test_predict_answers_each_line_of_standard_input(saved, adapted):
    texts = ["where is it", "give my money back"]
    found = call("predict", saved, typed="\n\n".join(texts))
    assert [json.loads(line)["prediction"] for line in found.output.splitlines()] == adapted.predict(texts)


def test_predict_reads_records_and_gives_scores(saved, adapted):
    found = call("predict", saved, "--scores", "--with-inputs", typed='{"text": "where is it", "id": 7}\n')
    (row,) = map(json.loads, found.output.splitlines())
    (scores,) = adapted.predict(["where is it"], scores=True)
    assert row == {
        "text": "where is it",
        "id": 7,
        "prediction": max(scores, key=scores.get),
        "scores": pytest.approx(scores),
    }


def test_predict_refuses_records_and_texts_in_one_stream(saved):
    found = call("predict", saved, typed='{"text": "where is it"}\nwhere is it\n')
    assert found.exit_code == 1
    assert "standard input, line 2 is not a JSON object" in found.output


@pytest.mark.parametrize(
    ("typed", "phrase"),
    [
        (b"where is it\nwh\xff\xfe is it\n", "standard input, line 2 is not UTF-8: byte 0xff at 2"),
        (
            b'{"text": ' + b"[" * 100_000,
            "standard input, line 1 is not JSON (its lists or objects are nested too deeply)",
        ),
        (b'{"text": "a", "text": "b"}', "line 1 is not JSON (an object names 'text' twice"),
        (b'{"text": "where', "line 1 is not JSON"),
        (b'{"text": "a"}\n{"text": "b"', "line 2 is not JSON"),
    ],
)
def test_predict_names_the_line_that_it_cannot_read(saved, typed, phrase):
    found = call("predict", saved, typed=typed)
    assert found.exit_code == 1
    assert isinstance(found.exception, SystemExit)
    assert phrase in found.stderr


def test_standard_input_and_output_are_utf_8_in_every_locale(saved):
    """Also what no encoding has, as JSON has it."""
    typed = b'\xef\xbb\xbf{"text": "wo ist es", "id": "\xc3\x9f\xe4\xb8\xad\\ud800"}\r\n'
    run = subprocess.run(
        [sys.executable, "-m", "lightadapt", "predict", saved, "--with-inputs"],
        input=typed,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "ß中\\ud800".encode() in run.stdout
    assert json.loads(run.stdout)["id"] == "ß中\ud800"


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "--out"),
        ("choose", "--output"),
        ("drift", "--json"),
        ("evaluate", "--json"),
        ("suspects", "--output"),
    ],
)
def test_no_command_writes_over_what_it_reads(saved, write, words):
    command, option = words
    data = write("data.jsonl", '{"text": "where is it", "label": "a"}\n')
    again = data.parent / ".." / data.parent.name / data.name
    assert "is the file that is read" in " ".join(call(command, saved, data, option, again).output.split())
    assert data.read_text() == '{"text": "where is it", "label": "a"}\n'


def test_train_scores_test_data_whose_labels_only_the_training_data_tells(tiny, data, tmp_path):
    found = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--test", data),
        *("--out", tmp_path / "out", "--epochs", 1),
    )
    assert found.exit_code == 0, found.output
    assert "accuracy" in found.output


def test_train_refuses_a_label_of_the_test_data_before_it_trains(tiny, data, write, tmp_path):
    strange = write("test.jsonl", '{"text": "where is it", "label": "zz"}\n')
    found = call(
        *("train", "--model", tiny("bert"), "--task", "classification", "--data", data, "--test", strange),
        *("--out", tmp_path / "out", "--epochs", 1),
    )
    assert found.exit_code == 1
    assert "label 'zz' is not among the labels" in " ".join(found.output.split())
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        (["data.jsonl", "--interactive"], "answers what is typed"),
        (["--csv", "--out", "found.jsonl"], "do not go together"),
    ],
)
def test_predict_refuses_options_that_contradict_each_other(saved, words, phrase):
    found = call("predict", saved, *words)
    assert found.exit_code == 1
    assert phrase in " ".join(found.output.split())


def test_predict_says_what_one_word_stands_for(tmp_path):
    found = call("predict", tmp_path / "nowhere", "hello")
    assert found.exit_code == 1
    assert "There is no file 'hello'" in found.output
    assert "echo hello | lightadapt predict" in found.output


@pytest.mark.parametrize("name", ["texts.txt", "texts.jsonl"])
def test_predict_writes_csv_for_files(saved, adapted, write, tmp_path, name):
    texts = ["where, is it", 'give "my" money back']
    lines = texts if name.endswith(".txt") else [json.dumps({"text": text}) for text in texts]
    found = call("predict", saved, write(name, "\n".join(lines)), "--scores", "--out", tmp_path / "out.csv")
    assert found.exit_code == 0, found.output
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == adapted.predict(texts)
    assert set(rows[0]) == {"prediction", *(f"score:{label}" for label in adapted.labels)}


def test_fields_that_a_csv_has_no_column_for_are_told_of_once(saved):
    typed = "".join(json.dumps({"text": "a", name: 1}) + "\n" for name in ("id", "extra", "extra"))
    found = call("predict", saved, "--csv", "--with-inputs", typed=typed)
    assert found.exit_code == 0
    assert found.stderr.count("are left out: extra") == 1
    assert found.stdout.startswith("text,id,prediction\na,1,")


@pytest.mark.parametrize("name", ["labels.yaml", "labels.json"])
def test_predict_answers_texts_without_training(tiny, write, name):
    labels = {"refund": "money back", "delivery": "where is it"}
    file, shots = write(name, json.dumps(labels)), write("shots.jsonl", '{"text": "money", "label": "refund"}')
    way, texts = ("predict", tiny("llama"), "--task", "classification", "--scores"), ["money", "where is the parcel"]
    model = la.adapt(tiny("llama"), "classification", labels=labels)
    for options, shown in (((), None), (("--shots", shots), str(shots))):
        done = call(*way, "--labels", file, *options, *texts)
        assert done.exit_code == 0, done.output
        scores = [json.loads(line)["scores"] for line in done.stdout.splitlines()]
        assert [list(each.values()) for each in scores] == [
            pytest.approx(list(each.values())) for each in model.predict(texts, scores=True, shots=shown)
        ]
    one = call(*way, "--labels", "refund, delivery", "where is it")
    assert len(one.stdout.splitlines()) == 1


def test_predict_says_what_goes_together(tiny, saved, write):
    for words, phrase in (
        ((tiny("bert"), "--labels", "a,b", "a text"), "--task"),
        ((saved, "--task", "ner", "a text"), "which has its own task"),
        ((tiny("bert"), "--task", "ner", "--labels", "a,b", "--base", "x", "a text"), "--base x is for a saved"),
        ((tiny("bert"), "--task", "ner", "--labels", write("labels.yaml", "3"), "a text"), "It must hold labels"),
        ((tiny("bert"), "--task", "ner", "--labels", "none.yaml", "a text"), "none.yaml cannot be read"),
    ):
        done = call("predict", *words)
        assert done.exit_code != 0
        assert phrase in " ".join(done.output.split())


def test_predict_answers_what_is_typed(saved):
    found = call("predict", saved, "--interactive", "--scores", typed="where is it\n\n")
    assert found.exit_code == 0
    assert "%" in found.output


def test_merge_gives_a_plain_model_that_answers_alike(saved, adapted, tmp_path):
    from transformers import pipeline

    found = call("merge", saved, "--out", tmp_path / "merged")
    assert found.exit_code == 0, found.output
    ask = pipeline("text-classification", model=str(tmp_path / "merged"))
    assert [ask("where is it")[0]["label"]] == adapted.predict(["where is it"])
    assert "is there already" in call("merge", saved, "--out", tmp_path / "merged").output


@pytest.mark.parametrize("command", ["preview", "check"])
def test_look_at_a_model_or_at_what_was_saved(tiny, saved, data, command):
    for words in ([saved, data], [tiny("bert"), data, "--task", "classification"]):
        found = call(command, *words)
        assert found.exit_code == 0, found.output
        assert ("Record 0" if command == "preview" else "weights:") in found.output
    assert "--task" in call(command, tiny("bert"), data).output
    assert "Leave --task out" in call(command, saved, data, "--task", "ner").output


def test_env_names_versions_and_hardware(capsys):
    env()
    said = capsys.readouterr().out
    assert all(name in said for name in ("lightadapt", "torch", "processor", "bf16", "GPU", "bitsandbytes"))


def test_a_reader_that_leaves_early_is_no_error(saved):
    code = f"import sys; sys.argv = ['lightadapt', 'predict', {str(saved)!r}]; from lightadapt.cli import app; app()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=-1
    ) as run:
        run.stdout.close()
        _, said = run.communicate(b"where is it\n" * 3)
    assert b"Traceback" not in said


def test_export_prints_what_was_found_and_refuses_in_a_line(saved, data, tmp_path):
    done = call("export", saved, "--to", "merged", "--out", tmp_path / "out", "--check", data, "--set", "dtype=float32")
    assert done.exit_code == 0, done.output
    assert "of the answers" in done.output
    assert "accuracy" in done.output
    assert (tmp_path / "out" / "config.json").is_file()
    for words, phrase in (
        (["--to", "onyx"], "Did you mean 'onnx'"),
        (["--to", "merged", "--set", "dtpe=float32"], "Did you mean 'dtype'"),
        (["--to", "merged", "--max-loss", 0.1], "--check"),
    ):
        refused = call("export", saved, "--out", tmp_path / "other", *words)
        assert refused.exit_code == 1
        assert phrase in refused.output
    assert not (tmp_path / "other").exists()


def test_choose_and_suspects_print_a_table_or_write_a_file(tiny, saved, data, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("Where is my parcel?\nI want a refund\nCan I have the invoice?\n")
    shown = call("choose", saved, texts, "--n", 2)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.split()[:3] == ["index", "text", "reason"]
    assert len(shown.stdout.splitlines()) == 3
    rest = call("choose", saved, "--n", 1, "--labelled", texts, "--output", tmp_path / "next.jsonl", typed="Hello")
    assert rest.exit_code == 0, rest.output
    (chosen,) = map(json.loads, (tmp_path / "next.jsonl").read_text().splitlines())
    assert (chosen["index"], chosen["text"]) == (0, "Hello")
    assert chosen["reason"].endswith("unlike the others")

    records = [json.loads(line) for line in data.read_text().splitlines()] * 3
    data.write_text("\n".join(json.dumps(record) for record in records))
    words = ("suspects", tiny("bert"), data, "--task", "classification", "--folds", 2)
    assert call(*words).exit_code == 0
    found = call(*words, "--output", tmp_path / "found.csv")
    assert found.exit_code == 0, found.output
    refused = call(*words, "--output", tmp_path)
    assert refused.exit_code == 1
    assert "is a folder. Name a file in it" in " ".join(refused.output.split())


def test_drift_prints_what_was_found_and_writes_it(saved, messages, data, tmp_path):
    texts = [record["text"] for record in messages[:30]]
    none = call("drift", saved, typed="\n".join(texts))
    assert none.exit_code == 1
    assert "nothing is kept of the training data" in none.output
    out = tmp_path / "drift.json"
    found = call("drift", saved, "--reference", data, "--json", out, typed="\n".join(texts))
    assert found.exit_code == 0, found.output
    assert "of 30 are unlike the training data" in found.output
    written = json.loads(out.read_text())
    assert written["texts"] == 30
    assert written["drifted"] is False
    assert set(written["p_values"]) <= {"new texts", "labels", "mixture"}
