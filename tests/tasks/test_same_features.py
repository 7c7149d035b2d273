"""What is used is what was trained: the features of a record in training and in use differ in the targets alone."""

from __future__ import annotations

from dataclasses import replace

import datasets
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_records import KINDS

import lightadapt as la
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


OVERFLOWS = dict.fromkeys(("classification", "multilabel", "regression"), ("truncate", "windows"))
PLAIN = {
    "classification": ["a text", ("a text", "another")],
    "multilabel": ["a text", ("a text", "another")],
    "regression": ["a text", ("a text", "another")],
    "ner": ["a text", ["a", "text"]],
    "qa": [("who wrote it", "it was Maria")],
    "relation": ["<e1>Maria</e1> wrote <e2>it</e2>"],
    "multiple-choice": [("who wrote it", ["Maria", "nobody at all"])],
    "generation": ["a text", [{"role": "user", "content": "a text"}]],
    "summarization": ["a text"],
    "translation": ["a text"],
    "dialogue": ["a text", [{"role": "user", "content": "a text"}]],
}
"""What `predict` takes instead of records."""
NAMES = {
    **dict.fromkeys(("classification", "multilabel", "regression"), ("text", "text_pair")),
    "ner": ("text", "entities"),
    "qa": ("question", "context"),
    "relation": ("text", "label"),
    "multiple-choice": ("question", "choices"),
    "generation": ("prompt", "completion"),
    **dict.fromkeys(("summarization", "translation", "dialogue"), ("source", "target")),
}
"""The fields of one form of the records of a task."""


def ready(name, **settings):
    task = resolve_task(name)
    task = replace(task, **settings) if settings else task
    return task.with_labels(LEARNED[name]) if isinstance(task, LabelledTask) else task


def seen(task, record, view, *, labelled):
    """The features of a record as `fit` and `evaluate` have them, or as `predict` does."""
    examples = task.parse(task.read([record], labelled=labelled), labelled=labelled)
    return task.encode(examples, view, targets=labelled).features


def seen_or_said(task, record, view, *, labelled):
    """The features without their targets, or why there are none: both texts of a pair are too long for windows, say."""
    try:
        return without_targets(seen(task, record, view, labelled=labelled))
    except la.DataError as error:
        return str(error)


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


@pytest.mark.parametrize("overflow", ["truncate", "windows"])
@pytest.mark.parametrize("kind", ["word", "llama", "t5"])
@pytest.mark.parametrize("name", OVERFLOWS)
@settings(deadline=None, max_examples=12, derandomize=True)
@given(data=st.data())
def test_long_texts_and_pairs_are_read_alike(tokenizers, name, kind, overflow, data):
    task = ready(name, overflow=overflow)
    view = ModelView(tokenizers(kind), 24, KINDS[kind], task.outputs())
    record = data.draw(RECORD[name])
    trained, used = (seen_or_said(task, record, view, labelled=labelled) for labelled in (True, False))
    assert trained == used


def forms(records, folder):
    frame = pandas.DataFrame(records)
    frame.to_parquet(folder / "x.parquet")
    frame.to_json(folder / "x.json", orient="records")
    frame.to_json(folder / "x.jsonl", orient="records", lines=True)
    yield from (records, frame, datasets.Dataset.from_list(records), *sorted(folder.iterdir()))
    if all(isinstance(value, str) for record in records for value in record.values()):
        for suffix, gap in ((".csv", ","), (".tsv", "\t")):
            frame.to_csv(folder / f"x{suffix}", sep=gap, index=False)
            yield folder / f"x{suffix}"


@pytest.mark.parametrize("name", RECORD)
def test_features_do_not_depend_on_the_form_of_the_data(tokenizers, tmp_path, name):
    task = ready(name)
    family = next(iter(task.auto_classes))
    kind = next(kind for kind in KINDS if KINDS[kind] == family)
    view = ModelView(tokenizers(kind), 48, family, task.outputs())
    records = task.samples() if name != "ner" else [{"tokens": ["Ann", "left"], "tags": ["B-A", "O"]}] * 2
    for labelled in (True, False):
        wanted = task.encode(
            task.parse(task.read(records, labelled=labelled), labelled=labelled), view, targets=labelled
        )
        for form in forms(records, tmp_path):
            found = task.parse(task.read(form, labelled=labelled), labelled=labelled)
            assert task.encode(found, view, targets=labelled).features == wanted.features, form


@pytest.mark.parametrize("name", RECORD)
def test_inputs_without_fields_stand_for_records(tokenizers, name):
    task = ready(name)
    family = next(iter(task.auto_classes))
    view = ModelView(tokenizers(next(kind for kind in KINDS if KINDS[kind] == family)), 48, family, task.outputs())
    for item in PLAIN[name]:
        if isinstance(item, str):
            record = {NAMES[name][0]: item}
        elif isinstance(item, tuple):
            record = dict(zip(NAMES[name], item, strict=True))
        else:
            record = {"messages" if isinstance(item[0], dict) else "tokens": item}
        assert seen(task, task.as_record(item), view, labelled=False) == seen(task, record, view, labelled=False)


@pytest.mark.parametrize("name", RECORD)
def test_features_do_not_depend_on_the_names_of_columns(tokenizers, name):
    task = ready(name)
    family = next(iter(task.auto_classes))
    view = ModelView(tokenizers(next(kind for kind in KINDS if KINDS[kind] == family)), 48, family, task.outputs())
    records = task.samples()
    columns = {field: f"my {number}" for number, field in enumerate(records[0])}
    renamed = [{columns[field]: value for field, value in record.items()} for record in records]
    for labelled in (True, False):
        wanted = task.encode(
            task.parse(task.read(records, labelled=labelled), labelled=labelled), view, targets=labelled
        )
        for how, owner in ((columns, task), (None, replace(task, columns=columns))):
            found = owner.parse(owner.read(renamed, columns=how, labelled=labelled), labelled=labelled)
            assert task.encode(found, view, targets=labelled).features == wanted.features


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize("name", WRITES)
def test_options_of_generation_change_no_prompt(tokenizers, name, kind):
    task = ready(name, **({"instruction": "do it: "} if name != "dialogue" else {}))
    view = ModelView(tokenizers(kind), 200, KINDS[kind], ())
    other = task.with_options({"num_beams": 2, "temperature": 0.5, "max_new_tokens": 5})
    for record in task.samples():
        assert seen(other, record, view, labelled=False) == seen(task, record, view, labelled=False)
        assert seen(other, record, view, labelled=True) == seen(task, record, view, labelled=True)


def test_an_instruction_that_would_be_seen_in_use_alone_is_refused(tokenizers):
    view = ModelView(tokenizers("gpt2"), 200, "decoder", ())
    task = ready("generation", instruction="do it: ")
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    for record, said in (
        ({"text": "a text"}, "a text has no source"),
        ({"messages": messages}, "messages have no sou"),
    ):
        with pytest.raises(la.DataError, match=f"Record 0: .*instruction.*{said}"):
            seen(task, record, view, labelled=True)
