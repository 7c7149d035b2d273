"""Results in a JSON file that a later call goes on from."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, as a whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, ensure_ascii=False)
            stream.write("\n")
        Path(temporary).chmod(0o644)  # a temporary file is its owner's alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Kept:
    """Rows of results, each known by some of its values, in a file that is written anew with each of them.

    >>> folder = tempfile.TemporaryDirectory()
    >>> kept = Kept(Path(folder.name) / "runs" / "rates.json", by=("method", "rate"))
    >>> kept.add({"method": "lora", "rate": 0.001, "accuracy": 0.9})
    >>> again = Kept(kept.path, by=kept.by)
    >>> ("lora", 0.001) in again, again["lora", 0.001]["accuracy"], again.get("lora", 0.1)
    (True, 0.9, None)
    """

    def __init__(self, path: Path, *, by: Sequence[str]) -> None:
        self.path, self.by = path, tuple(by)
        self.rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return self.get(*key) is not None

    def __getitem__(self, key: tuple[Any, ...]) -> dict[str, Any]:
        found = self.get(*key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, *key: Any) -> dict[str, Any] | None:
        """The row that these values know it by, or None."""
        return next((row for row in self.rows if self._key(row) == key), None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row, in the place of an earlier one that the same values know."""
        self.rows = [each for each in self.rows if self._key(each) != self._key(row)] + [dict(row)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.rows)

    def _key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in self.by)
