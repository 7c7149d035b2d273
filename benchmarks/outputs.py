"""Run the code of pages of the documentation, and write what it prints below it.

    python benchmarks/outputs.py                     # the quickstart, two minutes of training on two cores
    python benchmarks/outputs.py docs/PAGE.md ...

A block of Python that `<!-- output -->` follows has its output in a block of text below that mark. All blocks of a page
run from top to bottom in one process and in a folder of their own, with the real models that they name.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PAGES = [Path(__file__).parent.parent / "docs" / "quickstart.md"]
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<mark>\n<!-- output -->\n(?:\n```text\n.*?^```\n)?)?", re.S | re.M
)
PACKAGES = re.compile(r"/\S*/site-packages/")
"""Where packages lie on this machine, which is nobody's concern."""
WIDEST = 88
"""Characters of a line that fit on a page."""


def printed_by(code: str, names: dict[str, object]) -> str:
    """What the code prints, run with these names."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<page>", "exec"), names)
    return out.getvalue()


def fold(line: str) -> str:
    """A line broken at spaces so that it fits on a page."""
    rows = [""]
    for word in re.findall(r"\S+\s*|\s+", line):
        if len(rows[-1] + word.rstrip()) > WIDEST and rows[-1].strip():
            rows.append("    ")
        rows[-1] += word
    return "\n".join(row.rstrip() for row in rows)


def with_outputs(page: str, run: Callable[[str, dict[str, object]], str] = printed_by) -> str:
    """The text of a page with the outputs of its code renewed."""
    names: dict[str, object] = {"__name__": "__main__"}

    def renewed(found: re.Match[str]) -> str:
        said = run(found["code"], names)
        if not found["mark"]:
            return found.group()
        lines = "\n".join(map(fold, PACKAGES.sub("/…/", said).strip("\n").splitlines()))
        return f"```python\n{found['code']}```\n\n<!-- output -->\n\n```text\n{lines}\n```\n"

    return BLOCK.sub(renewed, page)


def main(pages: list[Path]) -> None:
    """Renew the pages in place."""
    pages = [page.resolve() for page in pages]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for page in pages:
            page.write_text(with_outputs(page.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"{page.name} is renewed")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or PAGES)
