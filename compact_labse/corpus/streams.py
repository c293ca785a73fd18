"""Open a corpus file as a stream of bytes, decompressed by its name; a damaged file is an error that names it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from compact_labse.errors import UserError, require

BUFFER = 1 << 20  # bytes; also makes line iteration run in C for every compression


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A buffered stream of the decompressed bytes of `path`.

    Everything that goes wrong while the block reads from it becomes a UserError that names the file: a truncated or
    damaged archive, a file that is not what its name says, missing permissions.
    """
    try:
        with open(path, "rb") as raw, _decompressed(path, raw) as stream:
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, DamagedZstd, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        raise UserError(f"{path} is damaged or not what its name says: {_say(error)}; fetch it again") from error


def compressing(path: str, raw: IO[bytes]) -> IO[bytes]:
    """A stream that writes to `raw`, compressed as the name `path` says. Closing it leaves `raw` open."""
    if path.endswith(".gz"):
        # Without time and name the same text gives the same file.
        return cast("IO[bytes]", gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0))
    if path.endswith(".xz"):
        return cast("IO[bytes]", lzma.LZMAFile(raw, "wb"))
    if path.endswith(".bz2"):
        return cast("IO[bytes]", bz2.BZ2File(raw, "wb"))
    if path.endswith(".zst"):
        return require("zstandard", "train").ZstdCompressor(level=10).stream_writer(raw, closefd=False)
    return cast("IO[bytes]", io.BufferedWriter(_KeepOpen(raw), BUFFER))


class DamagedZstd(Exception):
    """The bytes are not a whole Zstandard frame."""


def _decompressed(path: str, raw: IO[bytes]) -> IO[bytes]:
    name = path.lower()
    for suffix, opener in _OPENERS.items():
        if name.endswith(suffix):
            return io.BufferedReader(cast("Any", opener(raw)), BUFFER)
    return raw


class _ZstdFrames(io.RawIOBase):
    """Zstandard frames, one after the other. The library's own reader ends silently where a file was cut off."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._library = require("zstandard", "train")
        self._raw, self._rest = raw, b""
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._rest or self._raw.read(BUFFER // 64)
            self._rest = b""
            if not block:
                if self._frame is not None:
                    raise DamagedZstd("it ends within a Zstandard frame")
                return 0
            self._ready = memoryview(self._next(block))
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _next(self, block: bytes) -> bytes:
        self._frame = self._frame or self._library.ZstdDecompressor().decompressobj()
        try:
            text = self._frame.decompress(block)
        except self._library.ZstdError as error:
            raise DamagedZstd(str(error)) from error
        if self._frame.eof:
            self._rest, self._frame = self._frame.unused_data, None
        return text


class _KeepOpen(io.RawIOBase):
    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        return self._raw.write(block)


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__


_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),
    ".xz": lambda raw: lzma.LZMAFile(raw, "rb"),
    ".bz2": lambda raw: bz2.BZ2File(raw, "rb"),
    ".zst": _ZstdFrames,
}
