"""The readers of files against files of every kind: none may fail but with our error, and what is written is read back.

python benchmarks/fuzzing.py [--minutes 10] [--seed 0]

A round writes a table of odd texts (quotes, separators of lines, NUL, emoji, a leading "#", numbers as text, …) as a
file of each kind with the usual writer of that kind, and asks for the same table back. Then bytes of the file are
changed, moved, left out or doubled, or it is written in another encoding, and it is read again: it has to end in
records or in a `DataError` that names the file in at most 1,000 characters. Faults are printed, each kind once.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow
from command import command, set_up
from pyarrow import parquet

import lightadapt as la
from lightadapt.data import read

Rows = list[dict[str, str]]
# fmt: off
ODD = [
    '"', '""', "'", ",", ";", "\t", "\n", "\r\n", "\r", "\n\n", "\\", "\\n", " ", "\u00a0", "\u2028", "\u2029",
    "\u0085", "\u200b", "\ufeff", "\x0b", "\x0c", "\x1c", "\x1e", "\x7f", "#", "# ", "-", "=1+1", "0", "007", "1.0",
    "1e5", "nan", "NaN", "null", "None", "true", "O", "B-PER", "-DOCSTART-", "{", "}", "[", "]", "[]", '{"a": 1}', "é",
    "e\u0301", "ß", "漢字", "かな", "한글", "Где", "שלום", "😀", "👩\u200d👩\u200d👧", "🇩🇪", "\U0001f9ff", "\U00010348",
    "a", "word", "two words", "€", "“x”",
]
# fmt: on
"""Parts of texts."""
NUL = "\0"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "cp1252", "gbk", "shift_jis", "big5")
PIECES = (
    b"",
    b'"',
    b'""',
    b"\n",
    b"\r",
    b"\t",
    b",",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"\\",
    b"[",
    b"]",
    b"{",
    b"#",
)
"""What changed bytes become, beside random ones."""


def text_of(chance: random.Random, *, nul: bool = False) -> str:
    """An odd text of one to five parts; never empty, since tables cannot tell an empty text from none."""
    parts = chance.choices([*ODD, NUL] if nul else ODD, k=chance.choice([1, 1, 2, 3, 5]))
    return "".join(parts)


def table(chance: random.Random, *, nul: bool) -> Rows:
    """Rows of the same columns with odd texts in them; the last column has few values, as labels have."""
    names = chance.choice([["text"], *[["text", "label"]] * 5, ["text", text_of(chance).strip() or "x", "label"]])
    names = list(dict.fromkeys(names))
    labels = [text_of(chance, nul=nul) for _ in range(2)]
    return [
        {name: chance.choice(labels) if name == "label" else text_of(chance, nul=nul) for name in names}
        for _ in range(chance.choice([1, 2, 3, 8]))
    ]


# ---- writers


def as_json_lines(rows: Rows, chance: random.Random) -> bytes:
    """The rows as JSON lines; characters beyond ASCII as they are, or escaped."""
    plain = chance.random() < 0.5
    return "\n".join(json.dumps(row, ensure_ascii=plain) for row in rows).encode()


def as_json(rows: Rows, chance: random.Random) -> bytes:
    """The rows as a JSON list, indented or not, or as that of `data`."""
    whole = rows if chance.random() < 0.7 else {"data": rows}
    return json.dumps(whole, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 2])).encode()


def as_table(rows: Rows, chance: random.Random, delimiter: str) -> bytes:
    """The rows as the csv module writes them, with quotes where they are needed or everywhere."""
    end = chance.choice(["\r\n", "\n"])
    # Of the ends of lines, the module sees a need of quotes only for those that it writes itself.
    quoting = csv.QUOTE_ALL if end == "\n" or chance.random() < 0.5 else csv.QUOTE_MINIMAL
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_csv(rows: Rows, chance: random.Random) -> bytes:
    """The rows with commas between."""
    return as_table(rows, chance, ",")


def as_tsv(rows: Rows, chance: random.Random) -> bytes:
    """The rows with tabs between."""
    return as_table(rows, chance, "\t")


def as_parquet(rows: Rows, chance: random.Random) -> bytes:
    """The rows as a parquet file."""
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink, compression=chance.choice(["none", "snappy", "zstd"]))
    return sink.getvalue()


WRITERS: dict[str, Callable[[Rows, random.Random], bytes]] = {
    "jsonl": as_json_lines,
    "json": as_json,
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
}
"""The writer of each kind of file."""


def one_line_end(rows: Rows) -> Rows:
    """The rows with a line feed for each kind of line end in a text, as files of lines are read."""
    return [dict(tuple(re.sub(r"\r\n?", "\n", each) for each in pair) for pair in row.items()) for row in rows]


def sentences(chance: random.Random) -> list[dict[str, list[str]]]:
    """Sentences of odd tokens, in which no white space of a column stands."""
    found = []
    for _ in range(chance.choice([1, 2, 4])):
        count = chance.choice([1, 2, 6])
        words = [text_of(chance) for _ in range(count)]
        tokens = [word.translate(dict.fromkeys(map(ord, " \t\n\r\ufeff"), "_")) for word in words]
        tokens = [token if token != "-DOCSTART-" else "-" for token in tokens]  # not a token, but the start of a text
        found.append({"tokens": tokens, "tags": chance.choices(["O", "B-PER", "I-PER", "B-é"], k=count)})
    return found


def as_conll(rows: Sequence[dict[str, list[str]]], chance: random.Random) -> bytes:
    """The sentences with a token and its tag a line."""
    gap = chance.choice([" ", "\t"])
    lines = ["\n".join(map(gap.join, zip(row["tokens"], row["tags"], strict=True))) for row in rows]
    return ("\n\n".join(lines) + chance.choice(["", "\n", "\n\n"])).encode()


# ---- what is wrong


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes, or in another encoding."""
    if chance.random() < 0.3:
        text = content.decode("utf-8", "replace")
        return text.encode(chance.choice(ENCODINGS), "replace")
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at, size = chance.randrange(len(changed) + 1), chance.choice([0, 1, 3, 50])
        part = bytes(changed[at : at + size])
        if chance.random() < 0.2:  # the same bytes elsewhere, once more
            at, size = chance.randrange(len(changed) + 1), 0
        else:
            part = chance.choice([*PIECES, part * 2, chance.randbytes(2)])
        changed[at : at + size] = part
    return bytes(changed)


def fault_of(path: Path, wanted: object = None) -> str:
    """What is wrong with how a file is read; nothing where it is read, or refused as it should be.

    Args:
        wanted: the records that were written; None where the file was spoilt.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = read(path).items
    except la.DataError as error:
        said = str(error)
        if wanted is not None:
            return f"refused, though it is whole: {said}"
        return "" if path.name in said and len(said) <= 1_000 else f"a refusal without the file: {said}"
    except Exception:
        return traceback.format_exc()
    if wanted is None or found == wanted or warned:
        return ""
    return f"read otherwise than it was written: {found!r:.400} for {wanted!r:.400}"


def faults(chance: random.Random, folder: Path) -> Iterator[tuple[str, str]]:
    """The kind of file and what is wrong, of one round over all kinds."""
    kind = chance.choice([*WRITERS, "conll"])
    rows = sentences(chance) if kind == "conll" else table(chance, nul=kind in ("json", "jsonl", "parquet"))
    content = (as_conll if kind == "conll" else WRITERS[kind])(rows, chance)  # type: ignore[arg-type, operator]
    path = folder / f"data.{kind}"
    path.write_bytes(content)
    yield kind, fault_of(path, one_line_end(rows) if kind in ("csv", "tsv") else rows)
    for _ in range(4):
        path.write_bytes(spoilt(content, chance))
        yield f"{kind}, spoilt", fault_of(path)


def main() -> None:
    """The table of a run."""
    parser = command(__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the files")
    options = parser.parse_args()
    set_up(1)
    chance, end = random.Random(options.seed), time.monotonic() + 60 * options.minutes
    files: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            for kind, fault in faults(chance, Path(folder)):
                files[kind] += 1
                if fault:
                    wrong[kind] += 1
                    if wrong[kind] <= 3:
                        print(kind, fault, sep=": ", flush=True)
    print("| kind | files | faults |")
    for kind in sorted(files):
        print(f"| {kind} | {files[kind]:,} | {wrong[kind]:,} |")


if __name__ == "__main__":
    main()
