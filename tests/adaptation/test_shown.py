"""What a notebook shows in place of text."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import lightadapt as la


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed, in a stand-in for IPython with a running shell."""
    found: list = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: ipython
    display.display = lambda bundle, raw: found.append(bundle)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return found


def test_a_preview_is_coloured_in_a_notebook_and_printed_elsewhere(tiny, shown, capsys, monkeypatch):
    ner = la.adapt(tiny("bert"), "ner", labels=["PERSON"])
    records = [{"text": "<i> Maria came", "entities": [{"start": 4, "end": 9, "label": "PERSON"}]}]
    ner.preview(records)
    (bundle,) = shown
    assert capsys.readouterr().out == ""
    assert "/B-PERSON</span>" in bundle["text/html"]
    assert "<i>" not in bundle["text/html"]
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    ner.preview(records)
    assert capsys.readouterr().out == bundle["text/plain"] + "\n"
    assert "⟦" in bundle["text/plain"]
    assert len(shown) == 1


def test_an_adapted_model_is_a_table_in_a_notebook(classifier):
    adapted = classifier()
    html = adapted._repr_html_()
    assert html.count("<tr>") == len(str(adapted).splitlines())
    assert ">task</td>" in html
    assert "classification, " in html
