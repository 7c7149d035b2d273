"""The outputs on pages of the documentation are those of the code above them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PAGE = """# Page

```python
number = 41
print("not shown")
```

Words.

```python
print(number + 1)
print("/home/ada/lib/site-packages/model", "word " * 30)
```

<!-- output -->
{}
More words.
"""


@pytest.fixture
def with_outputs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "outputs", raising=False)
    import outputs

    return outputs.with_outputs


def test_outputs_are_put_below_their_code_and_renewed(with_outputs):
    found = with_outputs(PAGE.format(""))
    rows = found.split("```text\n")[1].split("\n```")[0].splitlines()
    assert rows[0] == "42"
    assert rows[1].startswith("/…/model word")
    assert "not shown" not in found.replace('print("not shown")', "")
    assert max(map(len, rows)) <= 88
    assert found.endswith("```\n\nMore words.\n")
    assert with_outputs(found) == found
    assert with_outputs(PAGE.format("\n```text\nwhat it said before\n```\n")) == found
