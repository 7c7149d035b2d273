"""An artifact with other content, whose digests fit it: what somebody makes who knows how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightadapt.adaptation.artifact import _digest
from lightadapt.adaptation.digests import digests_of, seal
from lightadapt.adaptation.placing import MANIFEST_NAME


def reseal(folder: Path) -> None:
    """Make the digests fit what lies in the folder."""
    rewrite(folder, MANIFEST_NAME, lambda manifest: None)


def rewrite(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file of an artifact, in place, and seal it again."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    change(content)
    (folder / name).write_text(json.dumps(content))
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    files = sorted({*manifest["files"], *digests_of(folder)})
    facts = {"sha256": _digest(folder), "digests": digests_of(folder), "files": files}
    (folder / MANIFEST_NAME).write_text(json.dumps(seal({**manifest, **facts})))
