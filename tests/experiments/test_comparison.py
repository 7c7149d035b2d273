"""Methods are compared in processes of their own: results are those of `fit`, kept as they come, and readable."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

import lightadapt as la
from lightadapt import sample
from lightadapt.cli import app
from lightadapt.data import Records
from lightadapt.experiments import apart, peak
from lightadapt.experiments.comparison import (
    USUAL_METHODS,
    Comparison,
    Measured,
    Outcome,
    Setting,
    as_markdown,
    as_table,
    compare,
    draw_plots,
    inputs,
    plots,
    read_comparison,
    runs,
)
from lightadapt.experiments.comparison.command import run_comparison

TRAIN, TEST = sample.records("train")[:60], sample.records("test")[:40]
SETTING = Setting(
    model="tiny",
    task="classification",
    data="messages/train",
    train=60,
    test=40,
    epochs=1.0,
    layers=None,
    device="cpu",
    threads=1,
    digest="0",
)
MACHINE = dict.fromkeys(
    ("processor", "cores", "memory", "system", "python", "torch", "transformers", "peft", "lightadapt"), "1"
)


def run_of(method, seed, score, *, trained=1000, seconds=10.0):
    scores = {"accuracy": score, "macro_f1": score / 2}
    return Outcome(
        method=method,
        seed=seed,
        trained=trained,
        total=10_000,
        seconds=seconds,
        tokens_per_second=500.0,
        peak_memory=2**20,
        saved=2**19,
        scores=scores,
    )


def comparison_of(*found):
    return Comparison(title="Messages, tiny", setting=SETTING, machine=MACHINE, runs=found)


@pytest.fixture
def no_run(monkeypatch):
    """Starting a run fails the test."""

    def fail(*_, **__):
        pytest.fail("a run was started")

    monkeypatch.setattr(apart.subprocess, "run", fail)


@pytest.fixture
def fake_runs(monkeypatch):
    """Runs that end at once with a score; the list says which were started."""
    started = []

    def run(job, name, seed, folder):
        started.append((name, seed))
        return run_of(name, seed, 0.5)

    monkeypatch.setattr(runs, "_run_apart", run)
    return started


@pytest.fixture(scope="module")
def compared(tiny, once):
    def run(folder):
        options = {"train": TRAIN, "test": TEST, "seeds": 1, "epochs": 2, "threads": 1}
        methods, path = ["probe", la.LoRA(rank=2)], folder / "new" / "results.json"
        compare(tiny("bert"), "classification", methods, **options, path=path).save(folder / "returned.json")

    folder = once("compared", run)
    return read_comparison(folder / "returned.json"), folder / "new" / "results.json"


# ---- runs


def test_a_run_gives_what_fit_gives(compared, tiny, tmp_path):
    found, _ = compared
    assert [(run.method, run.seed, run.status) for run in found.runs] == [
        ("probe", 0, "done"),
        ("lora(rank=2)", 0, "done"),
    ]
    for run, method in zip(found.runs, ("probe", la.LoRA(rank=2)), strict=True):
        adapted = la.adapt(tiny("bert"), "classification", method, labels=TRAIN, seed=0, device="cpu")
        history = adapted.fit(TRAIN, epochs=2, args={"disable_tqdm": True})
        assert run.scores == pytest.approx(adapted.evaluate(TEST), abs=1e-5)
        assert run.trained == sum(each.numel() for each in adapted.model.parameters() if each.requires_grad)
        assert run.total == sum(each.numel() for each in adapted.model.parameters())
        assert run.settings["steps"] == history.steps
        assert run.settings["learning_rate"] == history.settings["learning_rate"]
        adapted.save(tmp_path / run.method)
        assert run.saved == (tmp_path / run.method / "adapter_model.safetensors").stat().st_size
        assert min(run.seconds, run.tokens_per_second, run.peak_memory) > 0


def test_results_are_kept_and_tell_no_path(compared, tiny):
    found, path = compared
    assert read_comparison(path) == found
    content = path.read_text()
    assert str(tiny("bert").parent) not in content
    assert list(path.parent.iterdir()) == [path]
    assert found.machine.keys() >= {"processor", "cores", "memory", "system", "torch"}
    assert found.setting.train == 60


def test_what_is_there_is_not_repeated(compared, tiny, fake_runs, tmp_path):
    found, path = compared
    copy = tmp_path / "results.json"
    copy.write_bytes(path.read_bytes())
    options = {"train": TRAIN, "test": TEST, "epochs": 2, "threads": 1, "path": copy}
    more = compare(tiny("bert"), "classification", ["probe", "full"], seeds=2, **options)
    assert fake_runs == [("full", 0), ("probe", 1), ("full", 1)]
    assert [(run.method, run.seed) for run in more.runs] == [("probe", 0), ("probe", 1), ("full", 0), ("full", 1)]
    assert len(read_comparison(copy).runs) == 5
    assert more.runs[0] == found.runs[0]


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"epochs": 3}, "epochs"), ({"train": TRAIN[:59]}, "train"), ({"test": TEST[::-1]}, "digest"), ({}, "torch")],
)
def test_results_of_something_else_are_not_mixed(compared, tiny, no_run, tmp_path, changed, name):
    found, _ = compared
    copy = tmp_path / "results.json"
    machine = found.machine if changed else {**found.machine, "torch": "0.1"}
    replace(found, machine=machine).save(copy)
    options = {"train": TRAIN, "test": TEST, "epochs": 2, "threads": 1, "path": copy} | changed
    with pytest.raises(la.LightAdaptError, match=f"holds results with {name} .* Choose another file"):
        compare(tiny("bert"), "classification", ["probe"], **options)


def test_a_method_that_is_refused_does_not_stop_the_others(tiny, monkeypatch, tmp_path):
    pairs = [{"prompt": record["text"], "completion": record["label"]} for record in TRAIN[:8]]
    monkeypatch.setattr(apart.subprocess, "run", lambda *_, **__: FAILED)
    path = tmp_path / "results.json"
    options = {"train": pairs, "test": pairs, "seeds": 1, "path": path}
    found = compare(tiny("gpt2"), "generation", ["probe", "lora"], **options)
    assert [(run.method, run.status) for run in found.runs] == [("probe", "refused"), ("lora", "failed")]
    assert "trains a head alone" in found.runs[0].reason
    assert str(tiny("gpt2")) not in path.read_text()
    assert found.runs[1].reason == "RuntimeError: no more memory"
    assert found.headline == ""
    lines = as_markdown(found).splitlines()
    assert lines[2].startswith("| probe | refused |")
    assert lines[3].startswith("| lora | failed |")
    assert lines[5].startswith("probe: refused: Method 'probe' trains a head alone")
    assert lines[7] == "lora: failed: RuntimeError: no more memory"
    with pytest.raises(la.LightAdaptError, match="nothing to draw"):
        draw_plots(found, tmp_path)
    monkeypatch.undo()
    again: list[str] = []
    monkeypatch.setattr(runs, "_run_apart", lambda job, name, seed, _: again.append(name) or run_of(name, seed, 0.5))
    assert compare(tiny("gpt2"), "generation", ["lora"], **options).headline == "accuracy"
    assert again == ["lora"]


class FAILED:
    """A process that died."""

    returncode = 1
    stderr = "Traceback\n  somewhere\nRuntimeError: no more memory\n"


def test_the_order_of_runs_takes_turns(tiny, fake_runs):
    told: list[Outcome] = []
    options = {"train": TRAIN, "test": TEST, "records": 30, "seeds": 2, "on_run": told.append}
    found = compare(tiny("bert"), "classification", ["full", "probe"], **options)
    assert fake_runs == [("full", 0), ("probe", 0), ("full", 1), ("probe", 1)]
    assert [(run.method, run.seed) for run in told] == fake_runs
    assert found.setting.train == 30


def test_chosen_records_are_the_same_whatever_is_compared():
    records = Records(TRAIN, "train.jsonl", list(range(60)))
    few, more = (inputs.choose_records(records, count).items for count in (10, 20))
    assert few == more[:10]
    assert few != TRAIN[:10]
    assert inputs.choose_records(records, None) is records


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["lora", "bitfitt"]}, "Unknown method 'bitfitt'. Did you mean 'bitfit'?"),
        ({"methods": ["lora", "LoRA"]}, "methods names 'lora' twice"),
        ({"methods": "lora"}, "is one text"),
        ({"methods": []}, "methods is empty"),
        ({"task": "classificaton"}, "Did you mean 'classification'?"),
        ({"train": "nowhere.jsonl"}, "File nowhere.jsonl does not exist"),
        ({"test": [{"text": "a", "label": "unheard of"}]}, "label 'unheard of' is not among the labels"),
        ({"test": [{"text": "a"}]}, "Record 0"),
        ({"columns": {"text": "sentence"}}, "there is no column 'sentence'"),
        ({"seeds": 0}, "seeds=0: give a whole number"),
        ({"records": 61}, "records=61: data has 60"),
        ({"epochs": 0}, "epochs=0: give a number above 0"),
        ({"threads": 0}, "threads=0"),
        ({"layers": "last:9"}, "last:9"),
        ({"model": "./nowhere"}, "does not exist"),
        ({"model": 3}, "Give a hub id or a folder"),
        ({"path": "."}, "is a folder"),
        ({"task": "generation", "train": [{"text": "a"}], "test": [{"text": "a"}]}, "generation"),
    ],
)
def test_bad_input_is_refused_before_any_run(tiny, no_run, no_weights, options, message):
    given = {"model": tiny("bert"), "task": "classification", "methods": ["lora"], "train": TRAIN, "test": TEST}
    given |= options
    model, task, methods = (given.pop(name) for name in ("model", "task", "methods"))
    with pytest.raises(la.LightAdaptError) as caught:
        compare(model, task, methods, **given)
    assert message in str(caught.value)


def test_when_no_method_can_be_had_it_is_an_error(tiny, no_run):
    with pytest.raises(la.LightAdaptError, match=r"No method can be compared\. Method 'probe' trains a head alone"):
        compare(tiny("gpt2"), "generation", ["probe"], train=[{"text": "a b c"}], test=[{"text": "a b c"}])


@pytest.mark.skipif(not peak.STATUS.is_file(), reason="the system does not say it")
def test_the_peak_is_over_what_was_there_before():
    before = peak.start_peak()
    held = np.ones(8 * 2**20)  # 64 MiB
    del held
    most = peak.peak_since(before, torch.device("cpu"))
    assert 60 * 2**20 < most < 200 * 2**20


# ---- what is printed and drawn

SOME = comparison_of(
    run_of("full", 0, 0.9, trained=10_000, seconds=30.0),
    run_of("full", 1, 0.8, trained=10_000, seconds=20.0),
    run_of("lora", 0, 0.7),
    run_of("lora", 1, 0.7),
    Outcome(method="prefix", seed=0, status="refused", reason="It has no | attention."),
)


def test_rows_have_mean_and_spread():
    full, lora = SOME.rows()
    assert full.score.mean == pytest.approx(0.85)
    assert full.score.spread == pytest.approx(0.1 / 2**0.5)
    assert full.seconds == Measured(25.0, pytest.approx(10 / 2**0.5))
    assert (full.share, lora.share, lora.seeds) == (1.0, 0.1, 2)
    assert SOME.rows("macro_f1")[1].score.mean == pytest.approx(0.35)
    assert SOME.problems() == {"prefix": "refused: It has no | attention."}
    assert Measured.of([3.0]) == Measured(3.0, None)
    with pytest.raises(la.LightAdaptError, match=r"Did you mean 'macro_f1'\?"):
        SOME.rows("macrof1")


def test_tables_say_all_there_is():
    markdown = as_markdown(SOME)
    assert "| full | 0.850 ± 0.071 | 10,000 | 100% | 25.0 ± 7.1 | 500 | 1 | 0.50 |" in markdown
    assert (
        "| prefix | refused |  |  |  |  |  |  |\n\nprefix: refused: It has no | attention.\n\n60 training" in markdown
    )
    assert "60 training and 40 test records, 1 epoch, 2 seeds" in markdown
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    wide = [replace(run, trained=22_713_216, total=22_713_216, seconds=1234.5) for run in SOME.runs[:2]]
    wide = [replace(run, intervals={"macro_f1": [0.3, 0.55]}) for run in wide]
    console.print(as_table(replace(SOME, runs=(*wide, *SOME.runs[2:])), "macro_f1"))
    shown = console.export_text()
    assert "Messages, tiny" in shown
    assert "0.425 ± 0.035" in shown
    assert "0.300–0.550" in shown
    assert "\nprefix: refused: It has no | attention." in shown
    assert "…" not in shown


def test_intervals_stand_beside_the_scores_where_all_runs_have_them():
    ends = [[0.8, 0.94], [0.7, 0.86]]
    runs = [replace(run, intervals={"accuracy": each}) for run, each in zip(SOME.runs[:2], ends, strict=True)]
    found = replace(SOME, runs=(*runs, *SOME.runs[2:]))
    assert [row.interval for row in found.rows()] == [(pytest.approx(0.75), pytest.approx(0.9)), None]
    markdown = as_markdown(found)
    assert "| method | accuracy | 95% interval | trained |" in markdown
    assert "| full | 0.850 ± 0.071 | 0.750–0.900 | 10,000 |" in markdown
    assert "| lora | 0.700 ± 0.000 |  | " in markdown
    assert "what other test records would give, by the bootstrap, mean of the seeds. Machine" in markdown
    assert found.rows("macro_f1")[0].interval is None


def crowded():
    """Methods that lie nearly on one another, as they do."""
    places = [(1000 + 7 * number, 0.8 + 0.001 * (number % 3), 10.0 + 0.1 * number) for number in range(7)]
    names = ("lora", "prefix", "bottleneck", "ia3", "bitfit", "probe", "full")
    return comparison_of(
        *(
            run_of(name, seed, score + 0.004 * seed, trained=trained, seconds=seconds + seed)
            for name, (trained, score, seconds) in zip(names, places, strict=True)
            for seed in range(3)
        )
    )


@pytest.mark.parametrize("found", [SOME, crowded()], ids=["some", "crowded"])
@pytest.mark.parametrize("plot", plots.PLOTS, ids=lambda plot: plot.file)
def test_labels_lie_apart_and_inside(found, plot):
    pytest.importorskip("matplotlib")
    rows = found.rows()
    figure = plots.draw(found, rows, plot, "accuracy")
    (axes,) = figure.axes
    labels = {text.get_text(): text for text in axes.texts if text.get_text() in found.methods}
    assert labels.keys() == {row.method for row in rows}
    boxes = [text.get_window_extent() for text in labels.values()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    inside = axes.get_window_extent()
    assert all(inside.contains(*corner) for box in boxes for corner in (box.min, box.max))
    for row in rows:
        mark = axes.transData.transform((plot.value(row).mean, row.score.mean))
        assert not any(box.contains(*mark) for box in boxes)


def test_plots_can_be_read_without_the_code(tmp_path):
    pytest.importorskip("matplotlib")
    written = draw_plots(SOME, tmp_path / "new", prefix="some-")
    assert [file.name for file in written] == ["some-parameters.png", "some-seconds.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in written)
    axes = plots.draw(SOME, SOME.rows(), plots.PLOTS[1], "accuracy").axes[0]
    assert axes.get_title(loc="left") == "Messages, tiny: score against training time"
    assert axes.get_xlabel() == "training time (seconds)"
    assert axes.get_ylabel() == "accuracy on the test records (higher is better)"
    assert any("60 training records" in text.get_text() for text in axes.texts)
    assert plots.draw(SOME, SOME.rows(), plots.PLOTS[0], "accuracy").axes[0].get_xscale() == "log"
    bars = [container for container in axes.containers if container.has_yerr and container.has_xerr]
    assert len(bars) == 2


# ---- the command


def test_without_matplotlib_nothing_runs(tiny, no_run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(la.LightAdaptError, match=r'pip install "lightadapt\[plot\]"'):
        run_comparison(str(tiny("bert")), "classification", ["lora"], plots=tmp_path, train=TRAIN, test=TEST)


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    for name, records in (("train", TRAIN), ("test", TEST)):
        lines = [json.dumps({"sentence": record["text"], "label": record["label"]}) + "\n" for record in records]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return {name: tmp_path / f"{name}.jsonl" for name in ("train", "test")}


def test_the_command_prints_keeps_and_draws(tiny, files, fake_runs, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["compare", str(tiny("bert")), "--task", "classification", "--methods", "lora, probe", "--seeds", "2"]
    arguments += ["--train", str(files["train"]), "--test", str(files["test"]), "--columns", "text=sentence"]
    arguments += ["--json", str(tmp_path / "kept" / "results.json"), "--plot", str(tmp_path / "plots")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "lora, seed 0: accuracy 0.5000, 10.0 s, 1,000 parameters trained" in done.output
    assert "| probe | 0.500 ± 0.000 | 1,000 |" in done.output
    assert len(fake_runs) == len(read_comparison(tmp_path / "kept" / "results.json").runs) == 4
    assert len(list((tmp_path / "plots").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "lorra"], "Did you mean 'lora'?"),
        (["--columns", "text"], "--columns text: write field=column"),
        (["--methods", ","], "methods is empty"),
        (["--layers", "last:9", "--columns", "text=sentence"], "last:9"),
    ],
)
def test_the_command_says_what_is_wrong(tiny, files, no_run, more, message):
    arguments = ["compare", str(tiny("bert")), "--task", "classification"]
    done = CliRunner().invoke(app, [*arguments, "--train", str(files["train"]), "--test", str(files["test"]), *more])
    assert done.exit_code == 1
    assert "\nError: " in f"\n{done.output}"
    assert message in done.output


def test_the_command_fails_when_a_run_fails(tiny, files, monkeypatch):
    monkeypatch.setattr(apart.subprocess, "run", lambda *_, **__: FAILED)
    arguments = ["compare", str(tiny("bert")), "--task", "classification", "--methods", "lora", "--seeds", "1"]
    arguments += ["--train", str(files["train"]), "--test", str(files["test"]), "--columns", "text=sentence"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "failed: RuntimeError: no more memory" in done.output


@pytest.mark.parametrize("content", ["", "[]", '{"runs": [], "setting": {}, "title": "", "machine": {}}'])
def test_other_files_are_no_results(tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(la.LightAdaptError, match="holds no results of a comparison"):
        read_comparison(file)


def test_the_help_names_the_methods_that_are_compared():
    (option,) = [each for each in get_command(app).commands["compare"].params if each.name == "methods"]
    assert ",".join(USUAL_METHODS) in option.help


def test_a_file_that_cannot_be_written_is_refused_before_any_run(tiny):
    options = {"train": TRAIN, "test": TEST}
    with pytest.raises(la.LightAdaptError, match="cannot be written"):
        compare(tiny("bert"), "classification", ["probe"], path=f"{'x' * 300}.json", **options)
    with pytest.raises(la.LightAdaptError, match="cannot be written"):
        compare(tiny("bert"), "classification", ["probe"], path="a\0b.json", **options)
    with pytest.raises(la.LightAdaptError, match="on_run=5 cannot be called"):
        compare(tiny("bert"), "classification", ["probe"], on_run=5, **options)
    with pytest.raises(la.LightAdaptError, match="methods is a LoRA"):
        compare(tiny("bert"), "classification", la.LoRA(), **options)


def test_a_file_of_another_schema_is_refused(tmp_path):
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"schema": 2, "runs": [], "title": "", "setting": {}, "machine": {}}))
    with pytest.raises(la.LightAdaptError, match="schema 2"):
        read_comparison(file)
