"""What is used is what was trained: the features of a record in training and in use differ in the targets alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_records import KINDS

from lightadapt.tasks import TASKS, LabelledTask, ModelView, resolve_task

WRITES = ("generation", "summarization", "translation", "dialogue")
TEXT = st.text("abcdefgh ABC.,'-é漢\n", min_size=1, max_size=120).filter(lambda text: text.strip(" \n.,'-"))
LABEL = st.sampled_from(["a", "b"])


@st.composite
def tokens(draw):
    words = draw(st.lists(st.text("abAB.-'é漢", min_size=1, max_size=6), min_size=1, max_size=40))
    return {"tokens": words, "tags": ["B-A", *["O"] * (len(words) - 1)]}


@st.composite
def marked(draw):
    text = "it " + draw(TEXT)
    return {"text": text, "entities": [{"start": 0, "end": 2, "label": "A"}]}


@st.composite
def question(draw):
    context = "it " + draw(TEXT)
    answers = draw(st.sampled_from([{"text": ["it"], "answer_start": [0]}, {"text": [], "answer_start": []}]))
    return {"question": draw(TEXT)[:20].strip() or "who", "context": context, "answers": answers}


@st.composite
def related(draw):
    return {"text": "it " + draw(TEXT) + " so", "head": [0, 2], "tail": [1, 2], "label": draw(LABEL)}


@st.composite
def chat(draw):
    roles = ["user", "assistant"] * draw(st.integers(1, 2))
    return {"messages": [{"role": role, "content": draw(TEXT)} for role in roles]}


def pair(one, other):
    return st.fixed_dictionaries({one: TEXT, other: TEXT})


TEXTS = {"text": TEXT, "text_pair": st.none() | TEXT}
RECORD = {
    "classification": st.fixed_dictionaries({**TEXTS, "label": LABEL}),
    "multilabel": st.fixed_dictionaries({**TEXTS, "labels": st.lists(LABEL, unique=True)}),
    "regression": st.fixed_dictionaries({**TEXTS, "label": st.floats(-5, 5)}),
    "ner": tokens() | marked(),
    "qa": question(),
    "relation": related(),
    "multiple-choice": st.fixed_dictionaries(
        {"question": TEXT, "choices": st.lists(TEXT, min_size=2, max_size=3, unique=True), "answer": st.just(1)}
    ),
    "generation": pair("prompt", "completion") | chat(),
    "summarization": pair("source", "target"),
    "translation": pair("source", "target"),
    "dialogue": chat() | pair("source", "target"),
}
LEARNED = {
    "classification": ["a", "b"],
    "multilabel": ["a", "b"],
    "ner": ["A"],
    "relation": ["a", "b"],
}


def test_the_table_holds_every_task():
    assert RECORD.keys() == TASKS.keys()


def seen(task, record, view, *, labelled):
    """The features of a record as `fit` and `evaluate` have them, or as `predict` does."""
    examples = task.parse(task.read([record], labelled=labelled), labelled=labelled)
    return task.encode(examples, view, targets=labelled).features


def without_targets(features):
    return [replace(feature, targets={}) for feature in features]


@pytest.mark.parametrize("length", [48, 400])
@pytest.mark.parametrize("kind", ["word", "byte", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("name", RECORD)
@settings(deadline=None, max_examples=12, derandomize=True)
@given(data=st.data())
def test_features_differ_in_the_targets_alone(tokenizers, name, kind, length, data):
    task, family = resolve_task(name), KINDS[kind]
    if family not in task.auto_classes:
        return
    record = data.draw(RECORD[name])
    if isinstance(task, LabelledTask):
        task = task.with_labels(LEARNED[name])
    task = task.prepare(task.parse(task.read([record])), fresh_head=True)
    view = ModelView(tokenizers(kind), length, family, task.outputs())
    trained, used = (seen(task, record, view, labelled=labelled) for labelled in (True, False))
    if name not in WRITES:
        assert without_targets(trained) == used
        return
    assert [each.prompt for each in trained if each.prompt is not None] == [each.prompt for each in used]
    if family == "encoder-decoder":
        assert trained[-1].inputs == used[0].inputs
    elif len(trained[-1]) < length - 10 and "messages" not in record:
        learned = [place for place, label in enumerate(trained[0].targets["labels"]) if label >= 0]
        assert trained[0].inputs["input_ids"][: learned[0]] == used[0].prompt
