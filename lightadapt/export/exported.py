"""What an export has written, and what comparing it with the adaptation has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightadapt.base.description import as_rows


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What `Adapted.export` has written, and how far it says the same as the adaptation; it prints readably."""

    path: Path
    """The folder."""
    format: str
    """The name of the format."""
    settings: Mapping[str, Any]
    """Those of its options that are not at their default."""
    size: int
    """Bytes of all files."""
    records: int
    """On how many records the two were compared."""
    difference: float | None
    """The largest difference between their outputs; None where the other side shows none."""
    equal: float | None
    """The share of records with the same answer; None where the answers are numbers."""
    before: Mapping[str, float] = field(default_factory=dict)
    """The scores of the adaptation on `check=`; none without it."""
    after: Mapping[str, float] = field(default_factory=dict)
    """The scores of what was exported."""
    notes: tuple[str, ...] = ()
    """What else is to be known of it."""

    def as_json(self) -> dict[str, Any]:
        """All but the path, as JSON values."""
        content = asdict(self) | {"notes": list(self.notes)}
        del content["path"]
        return content

    def __str__(self) -> str:
        chosen = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        rows = {
            "format": self.format + (f" ({chosen})" if chosen else ""),
            "folder": f"{self.path}, {self.size / 1e6:,.1f} MB",
            "compared": f"on {self.records:,} record{'s' if self.records != 1 else ''}",
        }
        if self.difference is not None:
            rows["difference"] = f"{self.difference:.1e} at most"
        if self.equal is not None:
            rows["equal"] = f"{self.equal:.2%} of the answers"
        for name, value in self.after.items():
            rows[name] = f"{value:.4f}, before {self.before[name]:.4f}"
        return "\n".join([as_rows(rows), *self.notes])

    __repr__ = __str__
