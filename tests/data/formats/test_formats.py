"""What other tools export is read as the task needs it, and told by what is in it."""

from __future__ import annotations

import json

import pytest

import lightadapt as la
from lightadapt.data import lines, read
from lightadapt.data.formats import FORMATS, Wanted, form_of
from lightadapt.data.skipping import BadRecords
from lightadapt.tasks import (
    NER,
    QA,
    Classification,
    Dialogue,
    Generation,
    MultiLabel,
    Regression,
    Relation,
    Summarization,
)

TEXT = "Maria met Tom in Rome."
PERSON = {"start": 0, "end": 5, "label": "PER"}
CITY = {"start": 17, "end": 21, "label": "LOC"}


def label_studio(*result, **data):
    return {
        "id": 7,
        "data": data or {"text": TEXT},
        "annotations": [{"id": 3, "completed_by": 1, "result": list(result), "was_cancelled": False}],
        "predictions": [],
    }


def part(identifier, start, end, label):
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
    return {"id": identifier, "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def choice(*names, called="sentiment"):
    return {"from_name": called, "to_name": "text", "type": "choices", "value": {"choices": list(names)}}


def called(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def turns(*pairs):
    return {"conversations": [{"from": name, "value": value} for name, value in pairs]}


def rating(value):
    return {"from_name": "stars", "to_name": "text", "type": "rating", "value": {"rating": value}}


TIE = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right", "labels": ["lives_in"]}
ROW = {"id": 7, "text": TEXT, "annotator": 1, "annotation_id": 3, "created_at": "2026-01-01", "lead_time": 4.2}
MARKED = [{"start": 0, "end": 5, "text": "Maria", "labels": ["PER"]}]
HASHED = {"_input_hash": 1, "_task_hash": 2, "answer": "accept"}
TOKENS = [
    {"text": word, "start": TEXT.index(word), "end": TEXT.index(word) + len(word), "id": number}
    for number, word in enumerate(["Maria", "met", "Tom", "in", "Rome", "."])
]
OFFSETS = [
    {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 5},
    {"id": 2, "label": "LOC", "start_offset": 17, "end_offset": 21},
]
TIED = {"text": TEXT, "head": [0, 5], "tail": [17, 21], "label": "lives_in"}
ALPACA = "Below is an instruction that describes a task"

READ = [
    # ---- doccano
    (NER(), "doccano", {"id": 1, "text": TEXT, "label": [[0, 5, "PER"]]}, [{"text": TEXT, "entities": [PERSON]}]),
    (NER(), "doccano", {"id": 1, "data": TEXT, "labels": [[0, 5, "PER"]]}, [{"text": TEXT, "entities": [PERSON]}]),
    (NER(), "doccano", {"id": 1, "text": TEXT, "label": [], "Comments": []}, [{"text": TEXT, "entities": []}]),
    (Classification(), "doccano", {"id": 1, "text": "x", "label": ["a"]}, [{"text": "x", "label": "a"}]),
    (MultiLabel(), "doccano", {"id": 1, "text": "x", "label": ["a", "b"]}, [{"text": "x", "labels": ["a", "b"]}]),
    (Summarization(), "doccano", {"id": 1, "text": "x y", "label": ["x"]}, [{"source": "x y", "target": ["x"]}]),
    (
        Relation(),
        "doccano",
        {"text": TEXT, "entities": OFFSETS, "relations": [{"id": 9, "from_id": 1, "to_id": 2, "type": "lives_in"}]},
        [TIED],
    ),
    # ---- Label Studio
    (NER(), "Label Studio", label_studio(part("a", 0, 5, "PER")), [[0, 5, "PER"]]),
    (NER(), "Label Studio", label_studio(), []),
    (
        NER(),
        "Label Studio",
        label_studio(
            part("a", 0, 5, "PER"),
            {"from_name": "note", "type": "textarea", "value": {"start": 0, "end": 5, "text": ["x"]}},
        ),
        [[0, 5, "PER"]],
    ),
    (Classification(), "Label Studio", label_studio(choice("good"), rating(4)), "good"),
    (MultiLabel(), "Label Studio", label_studio(choice("good", "fast")), ["good", "fast"]),
    (MultiLabel(), "Label Studio", label_studio(), []),
    (Regression(), "Label Studio", label_studio(choice("good"), rating(4)), 4),
    (Classification(), "Label Studio", label_studio(choice("good"), review=TEXT, page=3), "good"),
    (Relation(), "Label Studio", label_studio(part("a", 0, 5, "PER"), part("b", 17, 21, "LOC"), TIE), [TIED]),
    (
        Relation(),
        "Label Studio",
        label_studio(part("b", 0, 5, "PER"), part("a", 17, 21, "LOC"), {**TIE, "direction": "left"}),
        [TIED],
    ),
    (NER(), "Label Studio", {**ROW, "label": MARKED}, [[0, 5, "PER"]]),
    (NER(), "Label Studio", {**ROW, "label": json.dumps(MARKED)}, [[0, 5, "PER"]]),
    (Classification(), "Label Studio", {**ROW, "sentiment": "good"}, "good"),
    (MultiLabel(), "Label Studio", {**ROW, "topic": {"choices": ["a", "b"]}}, ["a", "b"]),
    (MultiLabel(), "Label Studio", {**ROW, "topic": '{"choices": ["a", "b"]}'}, ["a", "b"]),
    (Regression(), "Label Studio", {**ROW, "stars": "4", "sentiment": "good"}, "4"),
    # ---- Prodigy
    (NER(), "Prodigy", {"text": TEXT, "spans": [PERSON], **HASHED}, [{"text": TEXT, "entities": [PERSON]}]),
    (
        NER(),
        "Prodigy",
        {"text": TEXT, "tokens": TOKENS, "spans": [{"token_start": 4, "token_end": 4, "label": "LOC"}], **HASHED},
        [{"text": TEXT, "entities": [CITY]}],
    ),
    (NER(), "Prodigy", {"text": TEXT, **HASHED}, [{"text": TEXT, "entities": []}]),
    (Classification(), "Prodigy", {"text": "x", "label": "a", "answer": "accept"}, [{"text": "x", "label": "a"}]),
    (
        Classification(),
        "Prodigy",
        {"text": "x", "options": [], "accept": ["a"], **HASHED},
        [{"text": "x", "label": "a"}],
    ),
    (MultiLabel(), "Prodigy", {"text": "x", "accept": ["a", "b"], **HASHED}, [{"text": "x", "labels": ["a", "b"]}]),
    (
        Relation(),
        "Prodigy",
        {
            "text": TEXT,
            "relations": [{"head": 0, "child": 4, "head_span": PERSON, "child_span": CITY, "label": "lives_in"}],
            **HASHED,
        },
        [TIED],
    ),
    (
        Relation(),
        "Prodigy",
        {"text": TEXT, "tokens": TOKENS, "relations": [{"head": 0, "child": 4, "label": "lives_in"}], **HASHED},
        [TIED],
    ),
    # ---- spaCy
    (NER(), "spaCy", [TEXT, {"entities": [[0, 5, "PER"]]}], [{"text": TEXT, "entities": [PERSON]}]),
    (Classification(), "spaCy", [TEXT, {"cats": {"a": 1.0, "b": 0.0}}], [{"text": TEXT, "label": "a"}]),
    (MultiLabel(), "spaCy", [TEXT, {"cats": {"a": 1, "b": 0}}], [{"text": TEXT, "labels": ["a"]}]),
    (
        NER(),
        "spaCy",
        {"id": 0, "paragraphs": [{"raw": "Ann ran", "sentences": [{"tokens": [{"orth": "Ann", "ner": "U-PER"}]}] * 2}]},
        [{"tokens": ["Ann"], "tags": ["U-PER"]}] * 2,
    ),
    (
        Classification(),
        "spaCy",
        {"paragraphs": [{"raw": "x", "sentences": [], "cats": [{"label": "a", "value": 1.0}]}, {"sentences": []}][:1]},
        [{"text": "x", "label": "a"}],
    ),
    # ---- conversations and instructions
    (
        Generation(),
        "ShareGPT",
        {"id": "c", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}],
    ),
    (
        Dialogue(),
        "ShareGPT",
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "user", "value": "Hi"},
                {"from": "assistant", "value": "Yes", "weight": 0},
                {"from": "observation", "value": "5"},
                {"from": "gpt", "value": "No"},
            ],
            "tools": [],
        },
        [
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hi"},
                    {"weight": 0, "role": "assistant", "content": "Yes"},
                    {"role": "tool", "content": "5"},
                    {"role": "assistant", "content": "No"},
                ]
            }
        ],
    ),
    (
        Dialogue(),
        "ShareGPT",
        {
            "tools": '[{"name": "track", "parameters": {}}, {"type": "function", "function": {"name": "pay"}}]',
            "conversations": [
                {"from": "human", "value": "Where is it?"},
                {"from": "function_call", "value": '{"name": "track", "arguments": {"order": 5}}'},
                {"from": "observation", "value": "Oslo"},
                {"from": "tool_call", "value": '[{"name": "track", "arguments": "{}"}, {"name": "pay"}]'},
                {"from": "function_response", "value": "paid"},
                {"from": "gpt", "value": "In Oslo."},
            ],
        },
        [
            {
                "messages": [
                    {"role": "user", "content": "Where is it?"},
                    {"role": "assistant", "content": "", "tool_calls": [called("track", order=5)]},
                    {"role": "tool", "content": "Oslo"},
                    {"role": "assistant", "content": "", "tool_calls": [called("track"), called("pay")]},
                    {"role": "tool", "content": "paid"},
                    {"role": "assistant", "content": "In Oslo."},
                ],
                "tools": [
                    {"type": "function", "function": {"name": "track", "parameters": {}}},
                    {"type": "function", "function": {"name": "pay"}},
                ],
            }
        ],
    ),
    (
        Dialogue(),
        "Alpaca",
        {"instruction": "Add.", "input": "1 and 2", "output": "3", "history": [["Hi", "Hello"]]},
        [
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello"},
                    {"role": "user", "content": "Add.\n\n1 and 2"},
                    {"role": "assistant", "content": "3"},
                ]
            }
        ],
    ),
    (
        Generation(),
        "Alpaca",
        {"instruction": "Add.", "output": "3", "system": "Be brief."},
        [
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Add."},
                    {"role": "assistant", "content": "3"},
                ]
            }
        ],
    ),
    # ---- SQuAD
    (
        QA(),
        "SQuAD",
        {"paragraphs": [{"context": "x", "qas": [{"question": "a", "answers": []}, {"question": "b", "answers": []}]}]},
        [{"context": "x", "question": "a", "answers": []}, {"context": "x", "question": "b", "answers": []}],
    ),
]


@pytest.mark.parametrize(
    ("task", "form", "item", "wanted"), READ, ids=[f"{t.name}-{f}-{i}" for i, (t, f, *_) in enumerate(READ)]
)
def test_an_export_is_read_as_the_task_needs_it(task, form, item, wanted):
    records = task.read([item])
    assert records.form.startswith(form)
    if form != "Label Studio" or isinstance(task, Relation):
        assert list(records) == wanted
    else:
        (record,) = records
        assert record["text"] == TEXT
        entities = record.get("entities", [])
        found = [[each["start"], each["end"], each["label"]] for each in entities]
        assert (found if "entities" in record else record.get("label", record.get("labels"))) == wanted
    assert len(task.parse(records)) == len(records)
    assert task.read([item], labelled=False) is not None
    assert list(task.read(records)) == list(records), "what was read is not read once more"


def test_every_form_has_a_case_and_a_name_of_its_own():
    assert {form for _, form, *_ in READ} == {form.name for form in FORMATS}
    assert len({form.name for form in FORMATS}) == len(FORMATS)


def test_alpacas_template_has_two_forms():
    rows = [
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"instruction": "Say hi.", "input": "", "output": "hi"},
    ]
    records = Generation().read(rows)
    first, second = records
    assert first["prompt"].startswith(f"{ALPACA}, paired with an input")
    assert first["prompt"].endswith("### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n")
    assert second["prompt"].startswith(f"{ALPACA}. Write")
    assert "Input" not in second["prompt"]
    assert [record["completion"] for record in records] == ["3", "hi"]
    assert records.form == "Alpaca as prompts of its template"
    assert Dialogue().read(rows).form == "Alpaca as messages"
    braces = Generation().read([{"instruction": "Write {input} and {0}", "input": "{x}", "output": "y"}])
    assert "Write {input} and {0}" in braces.items[0]["prompt"]


REFUSED = [
    (NER(), {"id": 1, "text": "x", "label": ["a"]}, "labels its text as a whole"),
    (Classification(), {"id": 1, "text": TEXT, "label": [[0, 5, "PER"]]}, "marks parts of its text"),
    (Classification(), {"id": 1, "text": "x", "label": ["a", "b"]}, "2 labels .*use the task 'multilabel'"),
    (Classification(), {"id": 1, "text": "x", "label": []}, "0 labels"),
    (Relation(), {"text": TEXT, "entities": OFFSETS}, "no relations between them"),
    (
        Relation(),
        {"text": TEXT, "entities": OFFSETS, "relations": [{"from_id": 1, "to_id": 5, "type": "x"}]},
        "names the entity 5, which is not there",
    ),
    (
        NER(),
        label_studio({**part("a", 0, 5, "PER"), "value": {"start": "/p[1]", "labels": ["x"]}}),
        "not marked in char",
    ),
    (
        NER(),
        label_studio({**part("a", 0, 5, "PER"), "value": {"start": 0, "end": 5, "labels": ["x", "y"]}}),
        "2 labels",
    ),
    (NER(), label_studio({**part("a", 0, 5, "PER"), "value": {"x": 1}}), "of a kind that is not read"),
    (Classification(), label_studio(), "no answer in it can be the label"),
    (Classification(), label_studio(choice("a"), choice("b", called="topic")), r"columns=\{'label': 'sentiment'\}"),
    (Classification(), label_studio(choice("a", "b")), "2 labels"),
    (Classification(), label_studio(choice("a"), title="x", body="y"), r"2 texts .*columns=\{'text': 'title'\}"),
    (Relation(), {**ROW, "label": MARKED}, "Export the tasks as JSON"),
    (
        NER(),
        {"text": TEXT, "spans": [{"token_start": 9, "token_end": 9, "label": "x"}], **HASHED},
        "within its 0 tokens",
    ),
    (NER(), {"text": TEXT, "spans": "x", **HASHED}, "spans is 'x' .*not a list"),
    (Classification(), {"text": "x", **HASHED}, "neither 'accept' nor 'label'"),
    (Relation(), {"text": "x", **HASHED}, "has no relations"),
    (Classification(), [TEXT, {"cats": {"a": 0.2}}], "0 labels"),
    (Classification(), [TEXT, {"cats": ["a"]}], "cats is"),
    (NER(), {"paragraphs": [{"sentences": [{"tokens": [{"orth": "x", "ner": "-"}]}]}]}, "has no entity tag"),
    (NER(), {"paragraphs": [{"sentences": ["x"]}]}, "has no tokens with 'orth'"),
    (Generation(), turns(("humn", "x")), "Did you mean 'human'"),
    (Generation(), turns(("functioncall", "{}")), "Did you mean 'function_call'"),
    (Generation(), turns(("human", "x"), ("function_call", "track(5)")), "turn 1 is from function_call, but its value"),
    (Generation(), turns(("function_call", '{"name": "track", "arguments": [5]}')), "turn 0 is from function_call"),
    (Generation(), turns(("tool_call", '[{"arguments": {}}]')), "turn 0 is from tool_call, but its value"),
    (Generation(), turns(("tool_call", "[]")), "turn 0 is from tool_call, but its value"),
    (Generation(), {"instruction": "x", "input": 5, "output": "y"}, "input is 5"),
    (Generation(), {"instruction": "x", "output": "y", "history": ["z"]}, "history holds 'z'"),
    (QA(), {"paragraphs": ["x"]}, "It is not a SQuAD article"),
]


@pytest.mark.parametrize(
    ("task", "item", "said"), REFUSED, ids=[f"{i}-{said[:30]}" for i, (*_, said) in enumerate(REFUSED)]
)
def test_what_cannot_be_a_record_of_the_task_is_refused_with_its_place(task, item, said):
    with pytest.raises(la.DataError, match=rf"^Record 0: .*{said}"):
        task.read([item])
    bad = BadRecords("skip")
    task.read([item], bad=bad)
    assert bad.count == 1


OWN = [
    (Classification(), {"text": "x", "label": "a", "id": 5}),
    (Classification(), {"text": "x", "label": "a", "instruction": "b", "output": "c"}),
    (MultiLabel(), {"text": "x", "labels": ["a", "b"], "id": 1}),
    (MultiLabel(), {"text": "x", "labels": [], "id": 1}),
    (NER(), {"text": TEXT, "entities": [PERSON]}),
    (NER(), {"text": TEXT, "entities": [[0, 5, "PER"]]}),
    (NER(), {"tokens": ["x"], "tags": ["O"], "label": ["a"]}),
    (Relation(), {"text": TEXT, "head": [0, 5], "tail": [17, 21], "label": "a", "entities": [], "relations": []}),
    (Generation(), {"prompt": "x", "completion": "y", "instruction": "z", "output": "y"}),
    (Generation(), {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}),
    (QA(), {"question": "x", "context": "y", "answers": [], "label": [[0, 1, "x"]]}),
    (la.MultipleChoice(), {"question": "x", "choices": ["a", "b"], "answer": "a", "text": "x"}),
]


@pytest.mark.parametrize(("task", "item"), OWN)
def test_records_of_the_task_itself_stay_as_they_are(task, item):
    records = task.read([item])
    assert list(records) == [item]
    assert records.form is None


@pytest.mark.parametrize(
    "item",
    [
        None,
        5,
        "x",
        [],
        [1, 2],
        {},
        {"text": None},
        {"data": 5, "annotations": 5},
        {"label": [None], "id": 1},
        ("a", {}),
    ],
)
def test_odd_items_are_of_no_form(item):
    for task in (NER(), Classification(), Generation(), QA()):
        assert form_of([item], Wanted(task.fields)) is None


# ---- what is left out, chosen and counted


def test_only_what_was_accepted_is_learned_and_the_rest_is_told_of():
    rows = [
        {"text": f"{n}", "label": "a", **HASHED, "answer": answer}
        for n, answer in enumerate(("reject", "accept", "ignore"))
    ]
    with pytest.warns(
        UserWarning, match=r"2 of 3 records of data \(Prodigy\) answered with reject or ignore are left out"
    ):
        records = Classification().read(rows)
    assert list(records) == [{"text": "1", "label": "a"}]
    assert records.place(0) == "Record 1"
    assert len(Classification().read(rows, labelled=False)) == 3
    with (
        pytest.warns(UserWarning, match="1 of 1 records"),
        pytest.raises(la.DataError, match="holds no records to read"),
    ):
        Classification().read(rows[:1])


def test_tasks_without_an_annotation_and_with_several_are_told_of():
    open_task, cancelled, twice = label_studio(), label_studio(choice("a")), label_studio(choice("a"))
    open_task["annotations"] = []
    cancelled["annotations"][0]["was_cancelled"] = True
    twice["annotations"] *= 2
    with pytest.warns(UserWarning, match="records of data") as caught:
        records = Classification().read([open_task, cancelled, twice])
    said = " ".join(str(each.message) for each in caught)
    assert "2 of 3 records of data (Label Studio) without an annotation are left out" in said
    assert "1 of 3 records of data (Label Studio) have several annotations, of which the first is read" in said
    assert [record["label"] for record in records] == ["a"]


def test_columns_choose_among_the_fields_of_a_tool():
    item = label_studio(choice("a"), choice("b", called="topic"), title="x", body="y")
    records = Classification().read([item], columns={"text": "body", "label": "topic"})
    assert [(record["text"], record["label"]) for record in records] == [("y", "b")]
    rows = [{**ROW, "sentiment": "good", "author": "Ann"}]
    (record,) = Classification().read(rows, columns={"label": "author"})
    assert record["label"] == "Ann"
    with pytest.raises(la.DataError, match="sentiment, author could each be the label"):
        Classification().read(rows)


def test_columns_name_what_a_tool_calls_otherwise():
    rows = [{"body": TEXT, "spans": [PERSON], **HASHED, "answer": answer} for answer in ("accept", "reject")]
    with pytest.warns(UserWarning, match="1 of 2 records"):
        records = NER().read(rows, columns={"text": "body"})
    assert list(records) == [{"text": TEXT, "entities": [PERSON]}]
    rows = [{"chat": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}]
    assert Generation().read(rows, columns={"messages": "chat"}).form == "ShareGPT"


def test_a_later_record_of_another_form_is_named():
    rows = [{"id": 1, "text": "x", "label": ["a"]}, {"text": "x", "label": "a", **HASHED}, {"body": "z"}, "w"]
    with pytest.raises(la.DataError, match="Record 1: the records before it are of doccano, but it is of Prodigy"):
        Classification().read(rows)
    with pytest.raises(la.DataError, match=r"Record 1: .* but this one has the fields body"):
        Classification().read([rows[0], rows[2]])
    bad = BadRecords("skip")
    assert len(Classification().read(rows, bad=bad)) == 1
    assert bad.count == 3


def test_several_records_in_one_are_counted_anew_and_know_their_line(write):
    article = {"paragraphs": [{"context": "x", "qas": [{"question": "a", "answers": []}] * 2}]}
    records = QA().read(write("x.jsonl", f"{json.dumps(article)}\n\n{json.dumps(article)}\n"))
    assert [records.number(index) for index in range(4)] == [0, 1, 2, 3]
    assert list(records.lines) == [1, 1, 3, 3]
    assert records.form == "SQuAD (JSON lines)"


def test_a_large_file_of_another_form_is_not_held_in_memory(write, monkeypatch):
    monkeypatch.setattr(lines, "LARGE", 0)
    rows = [{"id": n, "text": f"{n}", "label": ["a"]} for n in range(50)]
    path = write("x.jsonl", "\n".join(map(json.dumps, rows)))
    records = Classification().read(path)
    assert not isinstance(records.items, list)
    assert [record["text"] for record in records] == [str(n) for n in range(50)]
    assert records.place(7) == f"Record 7 ({path}, line 8)"


def test_a_record_without_labels_may_stand_first_or_later():
    rows = [{"text": "x", "labels": []}, {"text": TEXT, "labels": [[0, 5, "PER"]]}, {"text": "y", "labels": []}]
    assert [len(record["entities"]) for record in NER().read(rows)] == [0, 1, 0]


def test_without_a_task_an_export_stays_as_it_is():
    item = {"id": 1, "text": "x", "label": ["a"]}
    assert list(read([item])) == [item]
    first, second = la.split([item] * 9 + [{**item, "label": ["b"]}] * 9, 0.34)
    assert len(Classification().read(first)) == 12
    assert len(Classification().read(second)) == 6


# ---- what is said


def test_what_was_read_is_told_in_a_line(write, caplog):
    path = write("x.json", json.dumps([label_studio(part("a", 0, 5, "PER"))] * 2))
    with caplog.at_level("INFO", "lightadapt"):
        NER().read(path)
    assert caplog.messages == [f"{path}: Label Studio (JSON), 2 records read as ner"]


def test_a_preview_begins_with_the_form(tiny, capsys, write):
    path = write("x.jsonl", json.dumps({"id": 1, "text": TEXT, "label": [[0, 5, "PER"]]}))
    la.adapt(tiny("bert"), "ner").preview(path)
    assert capsys.readouterr().out.startswith(f"{path}: doccano (JSON lines), 1 record read as ner\nRecord 0")


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        (Classification(), {"txt": "a", "lbl": "b"}, r"columns=\{'text': 'txt', 'label': 'lbl'\}"),
        (Classification(), {"sentence": "a", "intent": "b"}, r"columns=\{'text': 'sentence', 'label': 'intent'\}"),
        (NER(), {"words": ["a"], "ner_tags": ["O"]}, r"columns=\{'tokens': 'words', 'tags': 'ner_tags'\}"),
        (NER(), {"sentence": "a", "mentions": []}, r"columns=\{'text': 'sentence', 'entities': 'mentions'\}"),
        (Generation(), {"instruction": "a", "response": "b"}, r"Alpaca is nearest.*'completion': 'response'"),
        (
            Summarization(),
            {"article": "a", "highlights": "b"},
            r"columns=\{'source': 'article', 'target': 'highlights'\}",
        ),
    ],
)
def test_an_unknown_form_is_told_what_its_columns_may_be(task, row, said):
    with pytest.raises(la.DataError, match=said):
        task.parse(task.read([row]))
