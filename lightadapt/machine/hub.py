"""Names that may be asked of the hub: nothing else is sent there."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

HUB_ID = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?", re.ASCII)
LOOKED_AT = 1_000
"""Entries of a folder that a name is compared with."""


def may_be_on_hub(name: str) -> bool:
    """Whether a name of nothing that is here can be an id on the hub: a name, or `owner/name`.

    It is taken for a slip where a folder of the owner's name lies here that has something of nearly that name in it.
    """
    return bool(HUB_ID.fullmatch(name)) and not _nearly_lies_here(name)


def is_owned_name(name: str) -> bool:
    """Whether a name of nothing that is here is `owner/name` on the hub; where a folder `owner` is, it is a path."""
    owner, _, rest = name.partition("/")
    return bool(HUB_ID.fullmatch(name) and rest) and not os.path.exists(owner)


def _nearly_lies_here(name: str) -> bool:
    owner, _, rest = name.partition("/")
    return bool(rest) and os.path.isdir(owner) and bool(get_close_matches(rest, _names_in(Path(owner)), n=1))


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in islice(folder.iterdir(), LOOKED_AT)]
    except OSError:
        return []
