"""Predictions of a stream of inputs, written as they are made."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import tee
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from lightadapt.adapted import Adapted
from lightadapt.data.encodings import decode
from lightadapt.data.files import parse_json
from lightadapt.data.formats.brat import is_brat
from lightadapt.data.named import names_data
from lightadapt.errors import DataError, LightAdaptError, listed, shown, unquoted, warn
from lightadapt.stream.unknown import UNKNOWN

STDIN = "-"
OBJECT = re.compile(r'\{\s*["}]')
"""How a JSON object begins, and hardly any text."""
ESCAPED = "backslashreplace"
"""Half a character, which no encoding has, is written as JSON escapes it."""
Row = dict[str, Any]


def given_inputs(words: Sequence[str], *, with_inputs: bool = False) -> str | list[str]:
    """What the words behind a model stand for: a file or a data set, the standard input, or texts.

    Several are texts, and so is one with a space in it that names nothing.

    Args:
        with_inputs: whether the inputs are read as records, which a data set on the hub can hold.

    Raises:
        LightAdaptError: one word, that names no file.

    >>> given_inputs([]), given_inputs(["a.jsonl"]), given_inputs(["Where is it?"]), given_inputs(["one", "two"])
    ('-', 'a.jsonl', ['Where is it?'], ['one', 'two'])
    """
    if len(words) != 1:
        return list(words) or STDIN
    (word,) = words
    if word == STDIN or names_data(word) or os.path.exists(word):
        return word
    if word and not any(map(str.isspace, word)):
        if with_inputs:
            return word
        raise LightAdaptError(
            f"There is no file {shown(word)}. A single word is taken for the name of one: give several texts, or the "
            f"word on the standard input, as in: echo {shlex.quote(unquoted(word))} | lightadapt predict …"
        )
    return [word]


def predict_stream(
    adapted: Adapted,
    inputs: str | list[str],
    out: Path | None,
    *,
    as_csv: bool,
    scores: bool,
    unknown: bool,
    with_inputs: bool,
    batch_tokens: int | None,
    shots: str | None,
    columns: Mapping[str, str] | None,
) -> None:
    """Write a row for each input, in their order; memory holds some of them.

    Args:
        inputs: a file or a data set, `-` for the standard input, or texts.
        out: None: the standard output.
        with_inputs: whether a row begins with the fields of its input.

    Raises:
        DataError: an input cannot be used; the rows of those before it are written by then.
    """
    source: Any = inputs if isinstance(inputs, list) else lines_of(inputs, adapted) or inputs
    kept: Iterator[Any] | None = None
    if with_inputs:
        if source is inputs and isinstance(inputs, str):
            source, columns = adapted.task.read(inputs, split="test", columns=columns, labelled=False), None
        source, kept = tee(source)
    found = adapted.predict_stream(
        source, scores=scores, batch_tokens=batch_tokens, shots=shots, columns=columns, unknown=unknown
    )
    with _opened(out) as file:
        write = _csv_writer(file) if as_csv else _json_writer(file)
        for prediction in found:
            own = {} if kept is None else _fields_of(next(kept))
            write({**own, **_as_row(prediction, scores=scores, unknown=unknown)})


def write_rows(rows: Iterable[Row], out: Path) -> None:
    """Write rows to a file: as CSV where its name ends so, else as JSON lines.

    Raises:
        LightAdaptError: it cannot be written.
    """
    with _opened(out, "--output") as file:
        write = _csv_writer(file) if out.suffix.lower() == ".csv" else _json_writer(file)
        for row in rows:
            write(row)


def lines_of(inputs: str, adapted: Adapted) -> Iterator[Any] | None:
    """The inputs in the lines of the standard input, or of a text file where the task takes no tokens with tags.

    None for any other file, which the library reads itself.
    """
    if inputs == STDIN:
        return _parsed(_typed(), "standard input")
    path = Path(inputs)
    if path.suffix.lower() == ".txt" and path.is_file() and not is_brat(path) and "tokens" not in adapted.task.fields:
        return _parsed(io.StringIO(decode(path.read_bytes(), path)), inputs)
    return None


def _typed() -> Iterator[str]:
    """The lines of the standard input, which is UTF-8 as files are, whatever the language of the terminal is.

    Raises:
        DataError: naming the first line that is not.
    """
    if sys.stdin is None:  # as after `<&-`
        return
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield from line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"standard input, line {number} is not UTF-8: byte 0x{line[error.start]:02x} at {error.start}. Convert "
                "it, for example: iconv -f latin1 -t utf-8 FILE | lightadapt predict …"
            ) from error


def _parsed(lines: Iterable[str], source: str) -> Iterator[Any]:
    """Texts, or records where the first line is a JSON object; empty lines are left out.

    Raises:
        DataError: the first line is a JSON object, and another one is not; or one is broken.
    """
    as_records: bool | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if as_records is None:
            as_records = OBJECT.match(text) is not None
        yield _record(text, f"{source}, line {number}") if as_records else text


def _record(text: str, place: str) -> Row:
    if not OBJECT.match(text):
        raise DataError(
            f"{place} is not a JSON object, as the first line is: {shown(text)}. Give records in all lines, or "
            "texts in all."
        )
    try:
        record: Row = parse_json(text)
    except ValueError as error:
        raise DataError(f"{place} is not JSON ({error}): {shown(text)}. Repair it.") from error
    return record


def _fields_of(item: Any) -> Row:
    return dict(item) if isinstance(item, Mapping) else {"text": item}


def _as_row(prediction: Any, *, scores: bool, unknown: bool) -> Row:
    """The columns of a prediction: with scores, the most probable label and the probability of each.

    Args:
        unknown: whether one of the scores says how surely it is none of the labels.
    """
    if scores and isinstance(prediction, Mapping) and all(isinstance(value, float) for value in prediction.values()):
        labels = {label: value for label, value in prediction.items() if not (unknown and label == UNKNOWN)}
        none = unknown and prediction[UNKNOWN] > 0.5
        return {"prediction": None if none else max(labels, key=labels.__getitem__), "scores": dict(prediction)}
    return {"prediction": prediction}


@contextmanager
def _opened(out: Path | None, option: str = "--out") -> Iterator[TextIO]:
    if out is None:
        if sys.stdout is None:
            raise LightAdaptError("There is no standard output to write to. Name a file: --out predictions.jsonl.")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors=ESCAPED)
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        file = out.open("w", encoding="utf-8", errors=ESCAPED, newline="")
    except OSError as error:
        raise LightAdaptError(f"{option} {out} cannot be written ({error.strerror or error}).") from error
    with file:
        yield file


def _json_writer(file: TextIO) -> Callable[[Row], None]:
    def write(row: Row) -> None:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if file.isatty():
            file.flush()

    return write


def _csv_writer(file: TextIO) -> Callable[[Row], None]:
    """A column for each field, and `score:label` for each label; anything but texts and numbers is written as JSON."""
    writer = csv.writer(file, lineterminator="\n")
    names: list[str] = []
    told: list[str] = []

    def write(row: Row) -> None:
        probabilities = {f"score:{label}": value for label, value in row.pop("scores", {}).items()}
        row = {**row, **probabilities}
        if not names:
            names.extend(row)
            writer.writerow(names)
        others = sorted(row.keys() - set(names))
        if others and not told:
            told.extend(others)
            warn(f"CSV has the columns of the first row, so fields of later ones are left out: {listed(others)}.")
        writer.writerow([_cell(row.get(name)) for name in names])

    return write


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else json.dumps(value, ensure_ascii=False)


# ---- a first look


def answer_typed(adapted: Adapted, *, scores: bool, unknown: bool = False, shots: str | None = None) -> None:
    """Answer each line that is typed, until the end of the input."""
    console = Console(highlight=False)
    console.print("Type a text and press Enter; Ctrl-D ends.", style="dim")
    while True:
        try:
            text = console.input("[bold]> [/bold]").strip()
        except EOFError:
            return
        if not text:
            continue
        try:
            (prediction,) = adapted.predict([text], scores=scores, shots=shots, unknown=unknown)
        except LightAdaptError as error:
            typer.echo(f"Error: {error}", err=True)
            continue
        console.print(_marked(text, prediction) or escape(_plainly(prediction)))


def _marked(text: str, prediction: Any) -> str:
    """The text with its entities marked; empty where the prediction is of another kind."""
    spans = prediction if isinstance(prediction, list) else []
    if not spans or not all(isinstance(span, Mapping) and "start" in span for span in spans):
        return ""
    parts, end = [], 0
    for span in sorted(spans, key=lambda span: span["start"]):
        parts.append(escape(text[end : span["start"]]))
        parts.append(
            f"[reverse]{escape(text[span['start'] : span['end']])}[/reverse] [bold]{escape(span['label'])}[/bold]"
        )
        end = span["end"]
    return "".join([*parts, escape(text[end:])])


def _plainly(prediction: Any) -> str:
    """A prediction for people: probabilities with the highest first, a few of them."""
    if (
        isinstance(prediction, Mapping)
        and prediction
        and all(isinstance(value, float) for value in prediction.values())
    ):
        order = sorted(prediction, key=prediction.__getitem__, reverse=True)
        return "\n".join(f"{prediction[label]:7.1%}  {label}" for label in order[:5])
    if isinstance(prediction, str):
        return prediction
    if prediction is None:
        return "none of the classes"
    return json.dumps(prediction, ensure_ascii=False)
