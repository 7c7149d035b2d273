"""What data says, read without lightadapt's readers and tasks, and what lightadapt made of it.

`difference` is empty where both agree. A record that says nothing sure by the strict rules here, but was accepted, is a
difference, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pyarrow import parquet

from lightadapt.tasks import Task

Record = dict[Any, Any]
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
"""A number as JSON or a spreadsheet writes it."""
INNER = {"entities": ("start", "end", "label", "text"), "messages": ("role", "content")}
"""The names in the dicts of a field."""


ANSWER = ("text", "answer_start")
ROLES = ("system", "user", "assistant", "tool")


class NotSureError(Exception):
    """A record says nothing, or two things."""


# ---- what the data says


def rows_of(data: Any, form: str) -> list[Record]:
    """The records of data of a form, by the parsers of Python, pandas and pyarrow."""
    if form == "list":
        return list(data)
    if form == "dataset":
        return [data[index] for index in range(len(data))]
    if form == "frame":
        return _cells(data)
    if form == "parquet":
        return parquet.read_table(data).to_pylist()
    text = Path(data).read_bytes().decode("utf-8-sig")
    if form == "conll":
        return _sentences(text)
    if form in ("csv", "tsv"):
        frame = pandas.read_csv(data, sep="," if form == "csv" else "\t", dtype=str, keep_default_na=False)
        return [{name: value or None for name, value in row.items()} for row in _cells(frame)]
    lines = [text] if form == "json" and text.lstrip().startswith("[") else re.split(r"\r\n|\n|\r", text)
    values = [json.loads(line, object_pairs_hook=_once) for line in lines if line.strip()]
    return values[0] if form == "json" and len(values) == 1 else values


def _cells(frame: pandas.DataFrame) -> list[Record]:
    """The rows of a frame, with missing and empty cells as None."""
    columns = {
        name: [None if _is_missing(value) else value for value in frame[name].tolist()] for name in frame.columns
    }
    return [{name: values[row] for name, values in columns.items()} for row in range(len(frame))]


def _is_missing(value: Any) -> bool:
    return value is None or value is pandas.NaT or value is pandas.NA or (isinstance(value, float) and value != value)


def _once(pairs: list[tuple[str, Any]]) -> Record:
    if len({name for name, _ in pairs}) < len(pairs):
        raise NotSureError("a name stands twice in an object")
    return dict(pairs)


def _sentences(text: str) -> list[Record]:
    found: list[Record] = []
    for block in re.split(r"\n[ \t]*\n", re.sub(r"\r\n?", "\n", text)):
        lines = [line.split() for line in block.split("\n") if line.strip()]
        if lines:
            found.append({"tokens": [line[0] for line in lines], "tags": [line[-1] for line in lines]})
    return found


# ---- what was made of it


def difference(task: Task, rows: Sequence[Record], examples: Sequence[Any], labels: Sequence[str]) -> str:
    """Where the examples say something else than the rows; nothing where they agree."""
    if len(rows) != len(examples):
        return f"{len(rows)} rows became {len(examples)} examples"
    for number, (row, example) in enumerate(zip(rows, examples, strict=True)):
        row = {name: value for name, value in row.items() if not _is_missing(value)}
        slip = _slip(row, task.fields)
        if slip:
            return f"row {number}: {slip!r} was ignored"
        try:
            said = _said(task.name, row, labels)
        except Exception as error:  # whatever a value raises: the row does not say it plainly
            return f"row {number} is not sure: {type(error).__name__}: {error}"
        made = _made(example)
        if said != made:
            return f"row {number} says {said!r:.300}, but became {made!r:.300}"
    return ""


def _slip(row: Record, fields: Sequence[str]) -> Any:
    """A name that is nearly that of a field which the row lacks; in a dict of a field, too."""
    found = next((key for key in row for name in fields if name not in row and _nearly(key, name)), None)
    for field, names in INNER.items():
        for inner in row.get(field) or () if isinstance(row.get(field), (list, tuple)) else ():
            if found is None and isinstance(inner, dict):
                found = next((key for key in inner for name in names if name not in inner and _nearly(key, name)), None)
    return found


def _nearly(key: Any, name: str) -> bool:
    return isinstance(key, str) and (key.lower() == name or key in (f"{name}s", name[:-1]))


def _made(example: Any) -> Any:
    """The example as plain values, in the form of `_said`."""
    kind = type(example).__name__
    if kind == "EntityExample":
        return (example.tokens or example.text, [tuple(entity) for entity in example.entities])
    if kind == "GenerationExample":
        messages = [(message["role"], message["content"]) for message in example.messages]
        if messages:
            return messages
        return example.text if example.text is not None else (example.source, example.references)
    if kind == "TextExample" and isinstance(example.label, tuple):
        return (example.text, example.text_pair, set(example.label))
    return tuple(example)


def _said(task: str, row: Record, labels: Sequence[str]) -> Any:
    if task in ("classification", "multilabel", "regression"):
        if task == "multilabel":
            answer: Any = {_known(label, labels) for label in _list(row["labels"])}
        else:
            answer = _number(row["label"]) if task == "regression" else _known(row["label"], labels)
        return (_text(row["text"]), _text(row["text_pair"]) if "text_pair" in row else None, answer)
    if task == "ner":
        return _said_of_tokens(row, labels) if "tokens" in row else _said_of_entities(row, labels)
    if task == "qa":
        return _said_of_question(row)
    if task == "relation":
        text, head, tail = _said_of_arguments(row)
        return (text, head, tail, _known(row["label"], labels))
    if task == "multiple-choice":
        return _said_of_choices(row)
    if "messages" in row and task in ("generation", "dialogue"):
        messages = [(_text(each["role"]), _text(each["content"], empty=True)) for each in _list(row["messages"])]
        if any(role not in ROLES and role.strip().lower() in ROLES for role, _ in messages):
            raise NotSureError(f"the roles {[role for role, _ in messages]}")
        return messages
    source, target = ("prompt", "completion") if task == "generation" else ("source", "target")
    if "text" in row and source not in row:
        return _text(row["text"])
    references = row[target]
    return (_text(row[source]), [_text(each) for each in (_list(references) if _is_list(references) else [references])])


def _said_of_entities(row: Record, labels: Sequence[str]) -> Any:
    text, entities = _text(row["text"]), []
    for entity in _list(row["entities"]):
        start, end = _whole(entity["start"]), _whole(entity["end"])
        stated = next((entity[name] for name in ("text", "word") if entity.get(name) is not None), text[start:end])
        if not text[start:end].strip() or stated.strip() not in ("", text[start:end].strip()):
            raise NotSureError(f"{start}-{end} is {text[start:end]!r}, not {stated!r}")
        entities.append((start, end, _known(entity["label"], labels)))
    return (text, sorted(entities))


def _said_of_tokens(row: Record, labels: Sequence[str]) -> Any:
    tokens, tags = [_text(token, empty=True) for token in _list(row["tokens"])], _list(row["tags"])
    if len(tokens) != len(tags):
        raise NotSureError("tokens and tags differ in number")
    entities: list[tuple[int, int, str]] = []
    for number, tag in enumerate(tags):
        start = sum(map(len, tokens[:number])) + number
        if tag == "O":
            continue
        prefix, label = tag[0], _known(tag[2:], labels)
        goes_on = prefix == "I" and number and tags[number - 1][0] in "BI" and tags[number - 1][2:] == label
        if tag[1] != "-" or prefix not in "BI":
            raise NotSureError(f"the tag {tag!r}")
        first = entities.pop()[0] if goes_on else start
        entities.append((first, start + len(tokens[number]), label))
    return (tokens, entities)


def _said_of_question(row: Record) -> Any:
    context, answers = _text(row["context"]), row["answers"]
    if _is_list(answers):
        answers = {name: [each[name] for each in answers] for name in ANSWER}
    texts, starts = ([each] if isinstance(each, (str, int)) else _list(each) for each in map(answers.get, ANSWER))
    spans = [(_whole(start), _whole(start) + len(text)) for text, start in zip(texts, starts, strict=True)]
    for text, (start, end) in zip(texts, spans, strict=True):
        if start < 0 or context[start:end] != text:
            raise NotSureError(f"{start}-{end} of the context is {context[start:end]!r}, not {text!r}")
    return (_text(row["question"]), context, spans)


def _said_of_arguments(row: Record) -> Any:
    text = _text(row["text"])
    if "head" not in row and "tail" not in row:
        match = re.fullmatch(r"(.*)<e1>(.*)</e1>(.*)<e2>(.*)</e2>(.*)", text, re.DOTALL)
        if match is None:
            raise NotSureError("marks")
        before, head, between, tail, behind = match.groups()
        start, second = len(before), len(before + head + between)
        return before + head + between + tail + behind, (start, start + len(head)), (second, second + len(tail))
    spans = [tuple(map(_whole, _list(row[name]))) for name in ("head", "tail")]
    for start, end in spans:
        if not (0 <= start < end <= len(text) and text[start:end].strip()):
            raise NotSureError(f"{start}-{end} of {text!r}")
    return text, spans[0], spans[1]


def _said_of_choices(row: Record) -> Any:
    choices = [_text(choice) for choice in _list(row["choices"])]
    answer = row["answer"]
    if isinstance(answer, str):
        answer = int(answer) if answer.strip().isdecimal() else "ABCDEFGHIJ".index(answer.strip())
    answer = _whole(answer)
    if not 0 <= answer < len(choices) or choices.count(choices[answer]) > 1:
        raise NotSureError(f"answer {answer} of {choices[:5]}")
    parts = [_text(row[name]) for name in ("context", "premise", "question") if name in row]
    return (" ".join(parts), choices, answer)


# ---- values by strict rules


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or bool(getattr(value, "ndim", 0))


def _list(value: Any) -> list[Any]:
    if not _is_list(value):
        raise NotSureError(f"a {type(value).__name__} for a list")
    return list(value) if isinstance(value, (list, tuple)) else list(value.tolist())


def _text(value: Any, *, empty: bool = False) -> str:
    if type(value) is not str or not (empty or value.strip()):
        raise NotSureError("no text")
    value.encode("utf-8")
    return value


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else value


def _whole(value: Any) -> int:
    value = _plain(value)
    if type(value) is not int:
        raise NotSureError(f"a {type(value).__name__} for a whole number")
    return value


def _known(label: Any, labels: Sequence[str]) -> str:
    label = _plain(label)
    if type(label) is not str or label not in labels:
        raise NotSureError("a label that is none of the known ones")
    return label


def _number(value: Any) -> float:
    value = _plain(value)
    written = isinstance(value, str) and NUMBER.fullmatch(value)
    if not (written or (isinstance(value, (int, float, Decimal, np.number)) and not isinstance(value, bool))):
        raise NotSureError("no number")
    if not np.isfinite(float(value)):
        raise NotSureError("no finite number")
    return float(value)
