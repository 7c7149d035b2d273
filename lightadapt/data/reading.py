"""Records in: every accepted form of data becomes one `Records`, which can name the place of each record."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lightadapt.data.stored import Stored, stored_like
from lightadapt.errors import DataError, nearest

if TYPE_CHECKING:
    import datasets
    import pandas

Record: TypeAlias = dict[str, Any]
Data: TypeAlias = (
    "str | Path | Sequence[Mapping[str, Any]] | datasets.Dataset | datasets.IterableDataset | pandas.DataFrame"
)

CONLL_SUFFIXES = (".conll", ".bio", ".txt")
TABLE_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
TAG = re.compile(r"O|[BIESLU]-\S+")


@dataclass(frozen=True)
class Records:
    """Records with their origin, so that an error can say where to look."""

    items: Sequence[Record]
    source: str = "data"
    """What the records were read from, as the caller named it."""
    lines: list[int] | None = None
    """First line of each record in a text file, counted from 1."""
    numbers: Sequence[int] | None = None
    """What each record is counted as, where they are some of many; None: from 0."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def place(self, index: int) -> str:
        """The name of a record for an error message: `Record 17 (train.jsonl, line 18)`; counted from 0."""
        number = index if self.numbers is None else self.numbers[index]
        if self.lines is not None:
            return f"Record {number} ({self.source}, line {self.lines[index]})"
        return f"Record {number}" if self.source == "data" else f"Record {number} ({self.source})"


def read(source: Data, *, split: str = "train", columns: Mapping[str, str] | None = None) -> Records:
    """All records of any accepted form, as plain dicts.

    Args:
        source: a list of dicts, a `datasets.Dataset` or `IterableDataset`, a pandas frame, a path
            (`.jsonl .json .csv .tsv .parquet`, or `.conll .bio .txt` with one token and its tag a line),
            or a hub data-set id, with the split behind a colon when it is not `split` (`"ag_news:test"`).
        split: the split read of a hub data set when its id names none.
        columns: `{field: column}` for fields that have another name in the data.

    Raises:
        DataError: nothing to read, an unknown kind of file, a file that is not UTF-8, a broken line, or a
            column that is not there.
    """
    records = _read(source, split)
    if not len(records):
        raise DataError(f"{records.source} holds no records. Give at least one.")
    for index, item in enumerate(records):
        if not isinstance(item, Mapping):
            raise DataError(
                f"{records.place(index)} is a {type(item).__name__}, not a dict. A record is a dict of fields."
            )
    return _rename(records, columns) if columns else records


def is_collection(source: Any) -> bool:
    """Whether the source is a plain collection of items (list, generator, Series, array), not a file or a table."""
    if isinstance(source, (str, Path, Mapping)) or not isinstance(source, Iterable):
        return False
    return type(source).__name__ not in ("DataFrame", "Dataset", "IterableDataset", "DatasetDict")


def _read(source: Any, split: str) -> Records:
    if isinstance(source, (str, Path)):
        return _read_named(source, split)
    kind = type(source).__name__
    if kind in ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict"):
        return Records(_read_dataset(source))
    if kind == "DataFrame":
        return Records(_read_frame(source))
    if isinstance(source, Mapping):
        raise DataError(
            f"Data is a dict with the keys {', '.join(map(repr, itertools.islice(source, 5)))}. "
            "Give a list of records (dicts), one per example."
        )
    if is_collection(source):
        return Records(list(source))
    raise DataError(
        f"Data is a {type(source).__name__}. Accepted: a list of dicts, a datasets.Dataset, a pandas frame, "
        "a path, or a hub data-set id."
    )


def _read_named(source: str | Path, split: str) -> Records:
    path = Path(source)
    suffix = path.suffix.lower()
    known = TABLE_SUFFIXES + CONLL_SUFFIXES
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a text that is too long for a name
        raise DataError(f"{str(source)[:60]!r}… is no file name ({error.strerror}). Texts go into a list.") from error
    if is_folder:
        raise DataError(f"{path} is a folder. Give one file of it, such as {path / 'train.jsonl'}.")
    if is_file:
        if suffix not in known:
            raise DataError(f"Unknown file type {suffix!r} of {path}. {nearest(suffix, known)}Known: {' '.join(known)}")
        return _read_file(path, suffix)
    # Ids on the hub with a dot in them have an owner; a bare name with a suffix is a file that is not there.
    if (
        suffix in known
        or isinstance(source, Path)
        or str(source).startswith((".", "/", "~"))
        or (suffix and "/" not in str(source))
    ):
        hint = "" if suffix in known else f" {nearest(suffix, known)}Known file types: {' '.join(known)}"
        raise DataError(f"File {path} does not exist (looked from {Path.cwd()}).{hint}")
    return _read_hub(str(source), split)


def _read_file(path: Path, suffix: str) -> Records:
    if suffix == ".parquet":
        from pyarrow import ArrowException, parquet

        try:
            return Records(parquet.read_table(path).to_pylist(), str(path))
        except (ArrowException, OSError) as error:
            raise DataError(f"{path} is not a readable parquet file: {error}") from error
    text = _read_text(path)
    if suffix in CONLL_SUFFIXES:
        return _read_conll(text, path)
    if suffix == ".jsonl":
        return _read_json_lines(text, path)
    if suffix == ".json":
        return _read_json(text, path)
    return _read_table(text, path, delimiter="\t" if suffix == ".tsv" else ",")


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        # One kind of line end, so that lines are counted alike everywhere.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        raise DataError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} in line {line}. "
            f"Convert it first, for example: iconv -f {encoding} -t utf-8 {path.name} > new_{path.name}"
        ) from error


def _read_json_lines(text: str, path: Path) -> Records:
    items, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            items.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number} is not JSON ({error.msg}): {line[:80]!r}. "
                "In a .jsonl file each line is one record."
            ) from error
        lines.append(number)
    return Records(items, str(path), lines)


def _read_json(text: str, path: Path) -> Records:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # many tools write JSON lines under the name .json
            return _read_json_lines(text, path)
        raise DataError(f"{path} is not JSON: {error.msg} in line {error.lineno}.") from error
    if isinstance(content, Mapping) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list):
        raise DataError(f"{path} holds a {type(content).__name__}. It must hold a list of records.")
    return Records(content, str(path))


def _read_table(text: str, path: Path, delimiter: str) -> Records:
    records = _parse_table(text, path, delimiter, csv.QUOTE_MINIMAL)
    if delimiter == "\t" and any("\n" in str(value) for item in records for value in item.values()):
        # A field over several lines in a tab-separated file is most often a stray quote that swallowed its
        # neighbours: then every line is whole when quotes mean nothing.
        with suppress(DataError):
            return _parse_table(text, path, delimiter, csv.QUOTE_NONE)
    return records


def _parse_table(text: str, path: Path, delimiter: str, quoting: Any) -> Records:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header = next(reader, [])
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns named {twice[0]!r}. Rename one of them.")
    items, lines = [], []
    before = reader.line_num
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(
                f"{path}: the record that begins in line {before + 1} is broken ({error}). Most often a quote is not "
                "closed; a quote inside a quoted field is written twice."
            ) from error
        start, before = before + 1, reader.line_num
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {start} has {len(row)} fields but the header has {len(header)} "
                f"({', '.join(header)}). Quote fields that contain the separator."
            )
        items.append({name: value if value != "" else None for name, value in zip(header, row, strict=True)})
        lines.append(start)
    return Records(items, str(path), lines)


def _read_conll(text: str, path: Path) -> Records:
    items: list[Record] = []
    lines: list[int] = []
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        columns = _columns(line)
        if not columns or columns[0] == "-DOCSTART-":
            if tokens:
                items.append({"tokens": tokens, "tags": tags})
                tokens, tags = [], []
        elif len(columns) > 1 and TAG.fullmatch(columns[-1]):
            if not tokens:
                lines.append(number)
            tokens.append(columns[0])
            tags.append(columns[-1])
        elif not columns[0].startswith("#"):  # a comment, as in CoNLL-U; the token "#" has a tag behind it
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} is no token with a tag. Each line holds a token and, "
                "last, its tag such as O, B-PER or I-PER; an empty line ends a sentence."
            )
    counted = [record["tokens"] for record in items[:20] if len(record["tokens"]) > 2]
    if len(counted) > 1 and all(tokens == [str(n + 1) for n in range(len(tokens))] for tokens in counted):
        raise DataError(f"The first column of {path} counts the tokens. Keep two columns: the token and its tag.")
    return Records(items, str(path), lines)


def _columns(line: str) -> list[str]:
    """The columns of a line: between tabs, else between plain spaces; other white space belongs to a token."""
    parts = line.rstrip("\r").split("\t" if "\t" in line else " ")
    return [part.strip(" ") for part in parts if part.strip(" ")]


def _read_hub(name: str, split: str) -> Records:
    import datasets

    identifier, _, own_split = name.partition(":")
    try:
        data = datasets.load_dataset(identifier, split=own_split or split)
    except Exception as error:  # the hub client raises many kinds; all mean that there is no such data
        raise DataError(
            f"{name!r} is neither a file here nor a data set that can be loaded from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}). "
            "Check the path, or the id and split ('owner/name:split')."
        ) from error
    return Records(_read_dataset(data), name)


def _read_dataset(data: Any) -> Sequence[Record]:
    """The rows of a data set, with class numbers replaced by their names; those of a stream in a file."""
    if isinstance(data, Mapping):
        raise DataError(f"This is a dictionary of splits ({', '.join(data)}). Choose one, such as data['train'].")
    names = {column: _class_names(feature) for column, feature in (data.features or {}).items()}
    named = {column: labels for column, labels in names.items() if labels}
    rows = ({**row, **{key: _name_classes(row[key], labels) for key, labels in named.items()}} for row in data)
    return Stored(rows) if type(data).__name__ == "IterableDataset" else list(rows)


def _read_frame(frame: Any) -> list[Record]:
    """The rows of a frame, with missing cells (NaN, NA, NaT) as None."""
    import pandas

    def cell(value: Any) -> Any:
        return None if pandas.api.types.is_scalar(value) and pandas.isna(value) else value

    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The frame has two columns named {twice!r}. Rename one of them.")
    return [{key: cell(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _class_names(feature: Any) -> list[str] | None:
    """The names behind a `ClassLabel` column, or a list of them, or nothing for other columns."""
    inner = getattr(feature, "feature", feature)
    return list(inner.names) if type(inner).__name__ == "ClassLabel" else None


def _name_classes(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_name_classes(entry, names) for entry in value]
    # -1 is how the hub's data sets say "not labelled".
    return names[value] if isinstance(value, int) and value >= 0 else None


def _rename(records: Records, columns: Mapping[str, str]) -> Records:
    present = dict.fromkeys(itertools.chain.from_iterable(records.items))
    for field, column in columns.items():
        if column not in present:
            raise DataError(
                f"columns={{{field!r}: {column!r}}}: there is no column {column!r} in {records.source}. "
                f"{nearest(column, present)}Columns: {', '.join(present)}"
            )
    renamed = {column: field for field, column in columns.items()}
    items = (
        {renamed.get(key, key): value for key, value in item.items() if key in renamed or key not in columns}
        for item in records
    )
    return Records(stored_like(records.items, items), records.source, records.lines)
