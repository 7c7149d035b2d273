"""The pages in Chinese, and the one on languages: their code runs, and what they link to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_models import save_chinese_model

from lightadapt import sample

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.zh-CN.md", ROOT / "docs" / "quickstart.zh.md", ROOT / "docs" / "languages.md"]
HUB = re.compile(r'"(?:models/)?bert-base-chinese"|"intfloat/multilingual-e5-small"')
CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)\)")


def name_of(page: Path) -> str:
    return page.name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    base = save_chinese_model(tmp_path / "base", text)
    monkeypatch.setattr(sample, "RECORDS_PER_INTENT", {"train": 6, "validation": 2, "test": 2})
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = [*CODE.finditer(text)]
    assert blocks
    for block in blocks:
        lines = "\n" * text[: block.start(1)].count("\n")  # so that a traceback shows the line of the page
        exec(compile(lines + HUB.sub(repr(base), block[1]), str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_first_record_is_the_one_on_the_page():
    page = PAGES[1].read_text(encoding="utf-8").replace("\n#  ", " ")
    assert f"# {sample.records('train', language='zh')[0]}" in page


def test_spans_on_the_page_are_right():
    page = PAGES[0].read_text(encoding="utf-8")
    spans = re.findall(r'"text": "([^"]+)", "entities": \[\{"start": (\d+), "end": (\d+)', page)
    assert [text[int(start) : int(end)] for text, start, end in spans] == ["杭州", "张敏"]


def test_both_readmes_link_to_each_other():
    assert "[English](README.md)" in PAGES[0].read_text(encoding="utf-8")
    assert "[简体中文](README.zh-CN.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
