"""Text files that are no UTF-8: what they may be, with what their first such line would read as."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shlex import quote
from unicodedata import category

from lightadapt.errors import DataError, shown

MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte order marks, with which a file says its encoding itself."""
DOUBTFUL = (("gb18030", "shift_jis", "big5", "euc_kr"), ("cp1252", "cp1251"))
"""Encodings that files have without saying so: those of which most texts are no text in the others come first."""


def decode(content: bytes, path: Path) -> str:
    """The text of a file, with one kind of line end, so that lines are counted alike everywhere.

    Raises:
        DataError: it is not UTF-8; what it may be is named with what it would read as, since a text that is read in
            the wrong encoding is spoiled without an error.
    """
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(_advice(content, error.start, path)) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}, line {line} holds the character NUL, which no text has. The file may be UTF-16, or no text file, "
            "or have a hole from a broken copy. Write it anew as UTF-8."
        )
    return text


def _advice(content: bytes, place: int, path: Path) -> str:
    line = content.count(b"\n", 0, place) + 1
    start = f"{path} is not UTF-8: byte 0x{content[place]:02x} in line {line}."
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if marked is not None:
        return (
            f"{start} Its byte order mark says {marked}. Convert it first, for example: "
            f"iconv -f {marked} -t utf-8 {quote(str(path))} > {quote(str(path.with_name(f'new_{path.name}')))}"
        )
    begin, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
    part = slice(begin, end if end >= 0 else None)
    readings = [f"{name} {shown(text, 50)}" for name, text in _readings(content, part)]
    if not readings:
        return f"{start} No usual encoding fits, so it may be no text file, or be damaged. Write it anew as UTF-8."
    return (
        f"{start} It does not say what it is; that line would read as: {'; '.join(readings)}. Take the encoding that "
        "reads right, and no other, since a wrong one spoils the texts without an error: "
        "pathlib.Path(new).write_text(pathlib.Path(old).read_text(encoding=…), encoding='utf-8')"
    )


def _readings(content: bytes, part: slice) -> list[tuple[str, str]]:
    """The encodings in which all of the content is text, at most four, with what a part of it is in each."""
    found: list[tuple[str, str]] = []
    for names, most in zip(DOUBTFUL, (3, 4), strict=True):
        for name in names:
            with suppress(UnicodeDecodeError):
                text = content[part].decode(name)
                content.decode(name)
                if len(found) < most and all(
                    category(each) not in ("Cc", "Co", "Cn") or each in "\t\r" for each in text
                ):
                    found.append((name, text))
    return found
