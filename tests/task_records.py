"""Records of every task, and the kinds of tokenizers by family."""

from __future__ import annotations

LONG = "The parcel is in Rome now, and then " * 8 + "it goes on."
RECORDS = {
    "classification": [
        {"text": "my order is late", "label": "a"},
        {"text": "hello", "text_pair": None, "label": "b"},
        {"text": "where is the parcel of my friend", "label": "c"},
    ],
    "multilabel": [
        {"text": "my order is late", "labels": ["a", "b"]},
        {"text": "hello", "labels": []},
        {"text": "where is the parcel of my friend", "labels": ["b"]},
    ],
    "regression": [
        {"text": "my order is late", "label": 1.5},
        {"text": "hello", "label": 3},
        {"text": "where is the parcel of my friend", "label": -0.5},
    ],
    "ner": [
        {
            "text": "Maria Berg lives in Rome",
            "entities": [{"start": 0, "end": 10, "label": "P"}, {"start": 20, "end": 24, "label": "L"}],
        },
        {"text": "nothing", "entities": []},
    ],
    "qa": [
        {"question": "Where is it?", "context": LONG, "answers": {"text": ["it goes on"], "answer_start": [288]}},
        {"question": "Who?", "context": "Maria wrote it.", "answers": {"text": ["Maria"], "answer_start": [0]}},
        {"question": "When?", "context": "Maria wrote it.", "answers": {"text": [], "answer_start": []}},
    ],
    "relation": [
        {"text": "The <e1>company</e1> makes <e2>chairs</e2>.", "label": "P(e1,e2)"},
        {"text": "The parcel broke the window", "head": [4, 10], "tail": [21, 27], "label": "Other"},
    ],
    "multiple-choice": [
        {"question": "What is it?", "choices": ["a parcel", "a window or a door", "Rome"], "answer": 1},
        {"premise": "It broke.", "question": "why", "choices": ["late", "bad"], "answer": 0},
    ],
    "generation": [
        {"prompt": "my order", "completion": "is late"},
        {"prompt": "where is the", "completion": ["parcel of my friend", "it"]},
    ],
    "summarization": [{"source": "my order", "target": "is late"}, {"source": "where is", "target": "the parcel"}],
    "translation": [
        {"source": "my order", "target": "is late and it is broken"},
        {"source": "where is", "target": "the parcel of my friend"},
    ],
    "dialogue": [
        {
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "where is it"},
                {"role": "user", "content": "Rome"},
                {"role": "assistant", "content": "good"},
            ]
        },
        {"source": "hello there", "target": "where"},
    ],
}
KINDS = {
    "word": "encoder",
    "byte": "encoder",
    "metaspace": "encoder",
    "llama": "decoder",
    "gpt2": "decoder",
    "t5": "encoder-decoder",
    "bart": "encoder-decoder",
}
