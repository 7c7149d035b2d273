"""What a server is told: where it listens, how much it takes at once, and what it allows."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lightadapt.errors import LightAdaptError, shown
from lightadapt.numbers import check_whole, is_number, wrong_number

KEYS = "LIGHTADAPT_API_KEYS"
"""The variable of the environment that holds the API keys, with commas between them."""
COUNTS = (
    *("batch_records", "batch_characters", "queue_records", "request_records", "request_bytes"),
    *("decode_tokens", "max_new_tokens"),
)
"""Settings that are whole numbers above 0."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a server.

    Raises:
        LightAdaptError: a value cannot be used.
    """

    host: str = "127.0.0.1"
    """The address to listen on; `"0.0.0.0"` is every address of this machine."""
    port: int = 8000
    """0 takes one that is free."""
    max_wait_ms: float = 2.0
    """How long a request that came during a computation waits for others to be computed with."""
    batch_records: int = 256
    """The most records that are computed together, of all requests."""
    batch_characters: int = 131_072
    """The most characters likewise; a longer request goes alone."""
    decode_tokens: int = 16_384
    """The most tokens that texts which are written at once can come to, with their prompts; a longer one goes alone.
    Their keys and values are in memory."""
    queue_records: int = 4_096
    """The most records that wait; a request beyond is answered with 429."""
    request_records: int = 1_024
    """The most records of one request; one with more is answered with 413."""
    request_bytes: int = 4 * 2**20
    """The most bytes of the body of a request; a larger one is answered with 413."""
    timeout: float = 60.0
    """Seconds from the arrival of a request after which it is given up and answered with 504."""
    max_new_tokens: int = 1_024
    """The most tokens that a request may have generated."""
    max_loaded: int | None = None
    """The most adaptations of a base that are in memory; others come in when they are asked for, and the one used
    longest ago goes. None: all are loaded at the start."""
    adapters: Path | None = None
    """The folder that adaptations may be added from while the server runs; None: none can be added or removed."""
    feedback: Path | None = None
    """The folder for corrections, one file for each adaptation; None: they are not taken."""
    keys: frozenset[str] = frozenset()
    """The API keys of which a request has to bring one; empty: none is needed."""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not self.host:
            raise LightAdaptError(f"host={shown(self.host)}: give an address, such as '127.0.0.1'.")
        check_whole("port", self.port, least=0, most=65_535, wanted="a whole number from 0 to 65535")
        for name in COUNTS:
            check_whole(name, getattr(self, name), wanted="a whole number above 0")
        if self.max_loaded is not None:
            check_whole("max_loaded", self.max_loaded, wanted="a whole number above 0")
        if not is_number(self.max_wait_ms) or not 0 <= self.max_wait_ms <= 10_000:
            raise wrong_number("max_wait_ms", self.max_wait_ms, "a number from 0 to 10,000")
        if not is_number(self.timeout) or not 0 < self.timeout <= 86_400:
            raise wrong_number("timeout", self.timeout, "a number of seconds above 0, at most 86,400")
        if self.request_records > self.queue_records:
            raise LightAdaptError(
                f"request_records={self.request_records} and queue_records={self.queue_records}: the largest request "
                "would never find room. Give a queue that is as long."
            )
        if self.adapters is not None and not os.path.isdir(self.adapters):
            raise LightAdaptError(f"adapters={shown(str(self.adapters))}: there is no such folder.")
        if self.adapters is not None and not self.is_local and not self.keys:
            raise LightAdaptError(
                f"adapters={shown(str(self.adapters))} with host={self.host!r}: everybody who reaches this machine "
                f"could change what is served. Set {KEYS}, or listen on 127.0.0.1."
            )
        reason = "" if self.feedback is None else _why_not_kept(Path(self.feedback))
        if reason:
            raise LightAdaptError(
                f"feedback={shown(str(self.feedback))} {reason}. Give a folder for corrections; one that is not there "
                "is made."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _why_not_kept(folder: Path) -> str:
    """Why nothing can be kept in a folder, which need not be there yet; empty where it can."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return "is a file"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a ValueError is for a name that no path has
        return f"cannot be used ({error.strerror if isinstance(error, OSError) else error})"
    there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    return "" if os.access(there, os.W_OK | os.X_OK) else f"cannot be written to ({there} may not be changed)"


def keys_of(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The API keys that the environment names.

    Raises:
        LightAdaptError: the variable is there and holds none, so that nobody is let in by mistake.

    >>> sorted(keys_of({"LIGHTADAPT_API_KEYS": "one, two"}))
    ['one', 'two']
    """
    given = environment.get(KEYS)
    keys = frozenset(key.strip() for key in (given or "").split(",") if key.strip())
    if given is not None and not keys:
        raise LightAdaptError(f"{KEYS} is set and holds no key. Give keys with commas between them, or unset it.")
    return keys
