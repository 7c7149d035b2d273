"""The benchmarks of speed run on a handful of records and give tables with sane facts; no time is judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import lightadapt as la
from lightadapt import sample
from lightadapt.data.spans import Span, split_words, write_tags
from lightadapt.experiments.apart import call_apart

FOLDER = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists() or not FOLDER.is_dir(), reason="memory is read from Linux's /proc"
)
SMALL = ["--records", "48", "--tests", "6", "--points", "2", "--epochs", "1", "--rounds", "1"]


@pytest.fixture
def benchmarks(monkeypatch):
    """The modules of the folder, with short windows for tiny models; runs stay in this process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import measuring
    import speed_tables
    import train_speed
    from recipes import guides, ours, questions

    def run_here(function, arguments, **_):
        train = {guides.run: guides.train, ours.run: ours.train}[function]
        return json.loads(json.dumps(train(**arguments)))

    monkeypatch.setattr(questions, "WINDOW", 60)
    monkeypatch.setattr(questions, "OVERLAP", 16)
    monkeypatch.setattr(train_speed, "call_apart", run_here)
    monkeypatch.setattr(train_speed, "matrix_rate", lambda *_, **__: 1e9)
    monkeypatch.setattr(train_speed, "set_up", lambda threads: None)
    yield {
        "train_speed": train_speed,
        "tables": speed_tables,
        "recipes": guides,
        "measuring": measuring,
        "ours": ours,
    }
    for name in [*sys.modules]:
        if name.partition(".")[0] in {file.stem for file in FOLDER.iterdir()}:
            sys.modules.pop(name)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder laid out like the real data, with records of the sample."""
    root = tmp_path_factory.mktemp("data")
    for split, parts in {"train": ["train"], "test": ["dev", "test"]}.items():
        records = [each for each in sample.records(split) if each["entities"]][:80]
        for part in parts:
            write(root / f"ner/conll2003/{part}.conll", "\n".join(map(as_conll, records)))
            texts = [json.dumps({"text": each["text"], "label": each["label"]}) for each in records]
            write(root / f"classification/banking77/{part}.jsonl", "\n".join(texts))
            write(root / f"qa/squad_v1/{part}.jsonl", "\n".join(json.dumps(as_article(each)) for each in records))
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def as_conll(record: dict) -> str:
    words = split_words(record["text"])
    spans = []
    for entity in record["entities"]:
        inside = [n for n, (start, end) in enumerate(words) if start < entity["end"] and end > entity["start"]]
        spans.append(Span(inside[0], inside[-1] + 1, entity["label"]))
    pairs = zip(words, write_tags(spans, len(words)), strict=True)
    return "\n".join(f"{record['text'][start:end]} {tag}" for (start, end), tag in pairs) + "\n"


def as_article(record: dict) -> dict:
    """An article with a question about the first entity, in the layout of SQuAD's own files."""
    entity = record["entities"][0]
    answer = {"text": record["text"][entity["start"] : entity["end"]], "answer_start": entity["start"]}
    question = {"id": record["text"], "question": f"Which {entity['label']}?", "answers": [answer]}
    return {"title": "Sample", "paragraphs": [{"context": record["text"], "qas": [question]}]}


def rows_of(table: str) -> dict[str, list[str]]:
    """The cells of a Markdown table by their first one; below a head that is not there, nothing."""
    lines = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


@pytest.mark.parametrize("task", ["ner", "classification", "qa"])
def test_every_side_learns_the_same_tokens(benchmarks, data, tiny, tmp_path, capsys, task):
    file = tmp_path / "facts.json"
    arguments = ["--task", task, "--data", str(data), "--model", str(tiny("bert")), "--json", str(file), *SMALL]
    assert benchmarks["train_speed"].main(arguments) == 0
    table = rows_of(capsys.readouterr().out)
    facts = json.loads(file.read_text())
    assert list(table) == [run["side"] for run in facts["runs"]] == ["guide", "tuned", "lightadapt"]
    assert int(facts["machine"]["cores"]) > 0
    assert len({run["tokens"] for run in facts["runs"]}) == 1
    for run in facts["runs"]:
        assert 0 < run["seconds"] < run["whole"]
        assert 0 <= run["padding"] < 1
        assert [seconds for seconds, _ in run["curve"]] == sorted(seconds for seconds, _ in run["curve"])
        assert run["curve"][0][0] < run["seconds"]
        assert len(run["curve"]) == 2 + (run["steps"] > 1)
        assert run["score"] == run["curve"][-1][1]
        assert 0 <= run["score"] <= 1
    padding = {run["side"]: run["padding"] for run in facts["runs"]}
    assert padding["lightadapt"] < padding["guide"]
    if task == "qa":
        assert padding["tuned"] < padding["guide"]  # which pads every window to the full length


@pytest.mark.parametrize("task", ["ner", "classification", "qa"])
def test_the_tokens_that_are_counted_are_those_that_fit_trains(benchmarks, data, tiny, task):
    work = benchmarks["train_speed"].read_work(task, data, 30, 4)
    work |= {"task": task, "side": "guide", "model": str(tiny("bert"))}
    rows = benchmarks["recipes"].RECIPES[task](work).rows()
    kind = la.QA(window=60, overlap=16) if task == "qa" else task
    adapted = la.adapt(work["model"], kind, labels=work["labels"] or None, device="cpu")
    history = adapted.fit(work["train"], args={"max_steps": 1, "disable_tqdm": True})
    assert abs(history.settings["batch_tokens"] - 16 * benchmarks["recipes"].count_tokens(work) / len(rows)) <= 0.5


def test_a_perfect_prediction_scores_one_and_a_wrong_one_less(benchmarks, data):
    speed = benchmarks["train_speed"]
    for task, field in (("ner", "tags"), ("classification", "label")):
        work = speed.read_work(task, data, 4, 6) | {"task": task}
        gold = [record[field] for record in work["test"]]
        assert speed.score(work, gold) == 1
        assert speed.score(work, [["O"] * len(tags) for tags in gold] if task == "ner" else ["none"] * 6) == 0


def test_the_time_to_a_score_lies_on_the_line_between_two_points(benchmarks):
    until = benchmarks["tables"].seconds_until
    curve = [(0.0, 0.0), (10.0, 0.5), (20.0, 0.4), (30.0, 0.9)]
    assert until(curve, 0.25) == pytest.approx(5.0)
    assert until(curve, 0.65) == pytest.approx(25.0)
    assert until(curve, 0.95) is None


def test_generation_ends_with_the_same_loss_on_both_sides(benchmarks, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmarks["train_speed"], "VOCABULARY", 300)
    file = tmp_path / "facts.json"
    assert benchmarks["train_speed"].main(["--records", "16", "--rounds", "1", "--json", str(file)]) == 0
    runs = {run["side"]: run for run in json.loads(file.read_text())["runs"]}
    assert runs["guide"]["tokens"] == runs["lightadapt"]["tokens"] == 16 * 128
    assert runs["guide"]["steps"] == runs["lightadapt"]["steps"] == 1
    first = [run["losses"][0][1] for run in runs.values()]
    assert first[0] == pytest.approx(first[1], rel=0.02)


def test_the_cache_is_compared_with_the_same_blocks_without_it(benchmarks, data, tiny, capsys):
    arguments = ["--task", "ner", "--data", str(data), "--model", str(tiny("bert")), "--cache", *SMALL]
    arguments[arguments.index("--epochs") + 1] = "2"
    assert benchmarks["train_speed"].main([*arguments, "--sides", "lightadapt,last:2,cached"]) == 0
    apart = float(capsys.readouterr().out.rpartition("at most ")[2].split()[0].rstrip("."))
    assert apart < 1e-3


def test_the_picture_is_written(benchmarks, tmp_path):
    pytest.importorskip("matplotlib", reason="--plot needs matplotlib")
    tables, file = benchmarks["tables"], tmp_path / "curve.png"
    curves = {"guide": [(0.0, 0.0), (9.0, 0.6)], "lightadapt": [(0.0, 0.0), (2.0, 0.5), (4.0, 0.7)]}
    tables.draw("CoNLL", "F1", [{"side": side, "curve": curve} for side, curve in curves.items()], file)
    assert file.stat().st_size > 10_000


def test_without_the_data_it_says_so(benchmarks, tmp_path, capsys):
    assert benchmarks["train_speed"].main(["--task", "ner", "--data", str(tmp_path)]) == 1
    assert "skipped" in capsys.readouterr().out


def test_the_recipes_run_without_lightadapt():
    files = [FOLDER / "measuring.py", *(FOLDER / "recipes").glob("*.py")]
    assert len(files) > 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert file.stem == "ours" or not ("import lightadapt" in text or "from lightadapt" in text), file


def test_a_recipe_runs_in_a_process_of_its_own(monkeypatch, data, tiny):
    monkeypatch.syspath_prepend(str(FOLDER))
    from recipes import guides

    train = la.Classification().read(data / "classification/banking77/train.jsonl").items[:4]
    labels = sorted({record["label"] for record in train})
    work = {"task": "classification", "side": "guide", "model": str(tiny("bert")), "train": train, "test": train}
    work |= {"labels": labels, "epochs": 1, "points": 1, "seed": 0, "threads": 1, "device": "cpu", "bf16": False}
    found = call_apart(guides.run, {"work": work}, threads=1)
    assert found["steps"] == 1
    assert set(found["curve"][-1][2]) <= set(labels)


def test_predict_agrees_with_the_pipeline(benchmarks, data, tiny, capsys):
    import predict_speed

    arguments = ["--data", str(data), "--model", str(tiny("bert")), "--texts", "8", "--records", "16", "--rounds", "1"]
    assert predict_speed.main(arguments) == 0
    table = rows_of(capsys.readouterr().out)
    assert list(table) == ["ner", "classification"]
    assert table["classification"][-1] == "100%"
    assert all(float(cell.replace(",", "")) > 0 for cells in table.values() for cell in cells[1:4])


def test_the_parts_of_a_step_add_up(benchmarks, tiny, capsys):
    import overhead

    overhead.main(["--model", str(tiny("bert")), "--steps", "3", "--profile"])
    parts, kinds = capsys.readouterr().out.split("\n\n")
    shares = [float(cells[1].rstrip("%")) for name, cells in rows_of(parts).items() if name != "all"]
    assert len(shares) == len(overhead.PARTS)
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert float(rows_of(parts)["forward"][0]) > 0
    assert sum(float(cells[0].rstrip("%")) for cells in rows_of(kinds).values()) == pytest.approx(100, abs=1)


def test_more_records_are_prepared_and_trained_in_any_form(benchmarks, tiny):
    import scaling

    facts = [scaling.run(form, 40, 2, str(tiny("bert"))) for form in scaling.FORMS]
    assert facts[0]["tokens"] == facts[1]["tokens"] > 0
    for each in facts:
        assert each["prepare"] > 0
        assert scaling.as_row(each).startswith(f"| 40 | {each['form']} |")
