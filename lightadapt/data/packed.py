"""Packed files: .gz, and .zst where the package zstandard is installed."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lightadapt.data.stored import own_file
from lightadapt.errors import DataError

PACKED = (".gz", ".zst")
AT_ONCE = 2**20
"""Bytes that are unpacked together."""


def is_packed(path: Path) -> bool:
    """Whether the name of a file says that it is packed."""
    return path.suffix.lower() in PACKED


def suffix_of(name: str | Path) -> str:
    """The suffix that says what is in a file, in lower case; that of its packing is none.

    >>> suffix_of("train.jsonl.gz"), suffix_of("train.CSV")
    ('.jsonl', '.csv')
    """
    path = Path(name)
    return Path(path.stem).suffix.lower() if is_packed(path) else path.suffix.lower()


def unpack(content: bytes, path: Path) -> bytes:
    """The content of a packed file.

    Raises:
        DataError: it is broken, or what reads it is not installed.
    """
    with _reading(io.BytesIO(content), path) as stream:
        found: bytes = stream.read()
        return found


def large_or_none(path: Path, large: int) -> Any:
    """A temporary file with what is in a packed one; None where that is less than so many bytes.

    Raises:
        DataError: it is broken, cannot be read, or what reads it is not installed.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Check its permissions.") from error
    with file, _reading(file, path) as stream:
        start = stream.read(large)
        if len(start) < large:
            return None
        found = own_file(".unpacked")
        found.write(start)
        while piece := stream.read(AT_ONCE):
            found.write(piece)
        found.flush()
        return found


@contextmanager
def _reading(file: BinaryIO, path: Path) -> Iterator[Any]:
    try:
        with _opened(file, path) as stream:
            yield stream
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _broken(path, error) from error
    except Exception as error:  # zstandard has an error of its own
        if type(error).__name__ != "ZstdError":
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be unpacked ({error}). It may be cut off, or be no {path.suffix} file.")


def _opened(file: BinaryIO, path: Path) -> Any:
    if path.suffix.lower() == ".gz":
        return gzip.open(file)
    try:
        import zstandard
    except ImportError as error:
        raise DataError(
            f"{path} is packed with Zstandard, which the package zstandard reads: pip install zstandard. Or unpack it: "
            "zstd -d."
        ) from error
    return closing(_Frames(file, zstandard.ZstdDecompressor))


class _Frames:
    """The content of a Zstandard file of any number of frames.

    The package's own reader takes a file that is cut off for one that ends there.
    """

    def __init__(self, file: BinaryIO, decompressor: Callable[[], Any]) -> None:
        self._file = file
        self._decompressor = decompressor
        self._frame: Any = None
        self._packed, self._ready = b"", bytearray()

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end; all that there are, where no size is given.

        Raises:
            EOFError: the file ends within a frame.
        """
        while size < 0 or len(self._ready) < size:
            piece = self._packed or self._file.read(AT_ONCE)
            if not piece:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError("it ends before the content does")
                break
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor().decompressobj()
            self._ready += self._frame.decompress(piece)
            self._packed = self._frame.unused_data if self._frame.eof else b""
        found = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(found)]
        return found

    def close(self) -> None:
        """The file is closed by who opened it."""
