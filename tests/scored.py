"""Scores of every kind of task, from predictions that are written down."""

from __future__ import annotations

import numpy as np
from task_records import RECORDS

import lightadapt as la
from lightadapt.data.spans import Span
from lightadapt.evaluation.scores import Evidence, Scores
from lightadapt.tasks.decoding.answers import Answer
from lightadapt.tasks.decoding.entities import Entity
from lightadapt.tasks.decoding.writing import Generated

CONTEXT = "Maria wrote the letter in Rome."
P_AND_L = [Span(0, 10, "P"), Span(20, 24, "L")]


def asked(question, answers):
    return {"question": question, "context": CONTEXT, "answers": answers}


CASES = {
    "classification": (
        la.Classification(labels=["a", "b", "c"]),
        RECORDS["classification"],
        [{"a": 0.2, "b": 0.7, "c": 0.1}, {"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 0.9, "b": 0.1, "c": 0.0}],
        [2, 0],
    ),
    "multilabel": (
        la.MultiLabel(labels=["a", "b"]),
        RECORDS["multilabel"],
        [{"a": 0.9, "b": 0.4}, {"a": 0.1, "b": 0.2}, {"a": 0.8, "b": 0.9}],
        [2, 0],
    ),
    "regression": (la.Regression(), RECORDS["regression"], [1.0, 3.0, 4.0], [2, 0]),
    "ner": (
        la.NER(labels=["L", "P"]),
        [*RECORDS["ner"], RECORDS["ner"][0], {"tokens": ["Maria", "came"], "tags": ["B-P", "O"]}],
        [
            [Entity(P_AND_L[0], 0.9)],
            [Entity(Span(0, 7, "P"), 0.6)],
            [Entity(each, 0.9) for each in P_AND_L],
            [Entity(Span(0, 5, "L"), 0.8)],
        ],
        [3, 1, 0],
    ),
    "qa": (
        la.QA(threshold=0.0),
        [
            asked("Who?", {"text": ["Maria"], "answer_start": [0]}),
            asked("Where?", {"text": ["in Rome"], "answer_start": [23]}),
            asked("When?", {"text": [], "answer_start": []}),
        ],
        [Answer(0, 5, 0.9, 0.1, -1.0), Answer(26, 30, 0.9, 0.1, -1.0), Answer(0, 5, 0.3, 0.1, -1.0)],
        [2, 1],
    ),
    "relation": (
        la.Relation(labels=["P(e1,e2)", "Other"]),
        RECORDS["relation"],
        [{"P(e1,e2)": 0.2, "Other": 0.8}, {"P(e1,e2)": 0.1, "Other": 0.9}],
        [0],
    ),
    "multiple-choice": (
        la.MultipleChoice(),
        RECORDS["multiple-choice"],
        [np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.1])],
        [0],
    ),
    "generation": (
        la.Generation(),
        [*RECORDS["generation"], {"prompt": "say", "completion": "good"}],
        [Generated("is so late", 2.0, 2), Generated("Rome", 4.0, 2), Generated("good", 1.0, 1)],
        [1, 0],
    ),
    "dialogue": (
        la.Dialogue(),
        RECORDS["dialogue"],
        [Generated("bad", 2.0, 1), Generated("where it is", 1.0, 1)],
        [0, 1],
    ),
}
"""For each kind of task records, predictions as `decode` gives them, and which of them are wrong, the worst first."""


def scores_of(task, records, predictions):
    read = task.read(records)
    examples = task.parse(read)
    return Scores(*task.score(examples, predictions), Evidence(task, read, examples, predictions))


LABELS = ["a", "b", "c"]


def classified(right, *, confidence=0.95, **fields):
    """The scores of records of three classes, of which these are answered right."""
    records = [
        {"text": str(number), "label": LABELS[number % 3], **{name: values[number] for name, values in fields.items()}}
        for number in range(len(right))
    ]
    task = la.Classification(labels=LABELS)
    read = task.read(records)
    examples = task.parse(read)
    answers = [LABELS[(number + (not each)) % 3] for number, each in enumerate(right)]
    predictions = [{label: 0.8 if label == answer else 0.1 for label in LABELS} for answer in answers]
    evidence = Evidence(task, read, examples, predictions)
    return Scores(*task.score(examples, predictions), evidence, confidence=confidence)
