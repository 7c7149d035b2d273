"""Documents of spaCy are read where it is installed, and it is named where it is not."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

import lightadapt as la
from lightadapt.tasks import NER, Classification


def test_the_package_is_named_where_it_is_missing(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(la.DataError, match="pip install spacy"):
        NER().read(write("x.spacy", b"x"))


@pytest.fixture
def pretended(monkeypatch):
    """As much of spaCy as is asked of it."""
    entity = SimpleNamespace(start_char=0, end_char=5, label_="PER")
    document = SimpleNamespace(text="Maria came.", ents=(entity,), cats={"news": 1.0, "letter": 0.0})

    class DocBin:
        def from_disk(self, path):
            if path.read_bytes() == b"broken":
                raise OSError("no such thing")
            return self

        def get_docs(self, vocab):
            assert vocab == "vocabulary of xx"
            return iter([document])

    spacy, tokens = ModuleType("spacy"), ModuleType("spacy.tokens")
    spacy.blank = lambda language: SimpleNamespace(vocab=f"vocabulary of {language}")
    tokens.DocBin = DocBin
    monkeypatch.setitem(sys.modules, "spacy", spacy)
    monkeypatch.setitem(sys.modules, "spacy.tokens", tokens)


@pytest.mark.usefixtures("pretended")
def test_documents_are_read_as_the_task_needs_them(write):
    path = write("x.spacy", b"x")
    (record,) = NER().read(path)
    assert record == {"text": "Maria came.", "entities": [{"start": 0, "end": 5, "label": "PER"}]}
    (record,) = Classification().read(path)
    assert record["label"] == "news"
    assert NER().read(path).form == "spaCy (documents)"
    with pytest.raises(la.DataError, match=r"not a readable file of spaCy \(OSError: no such thing\)"):
        NER().read(write("y.spacy", b"broken"))
