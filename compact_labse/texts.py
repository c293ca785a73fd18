"""Lines of text from files of any size, compressed or not, and from stdin; in chunks that fit into memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import IO

from compact_labse.corpus.streams import opened
from compact_labse.progress import say

CHUNK_LINES, CHUNK_CHARACTERS = 8192, 4_000_000
BOM = b"\xef\xbb\xbf"


def read_lines(path: str) -> Iterator[str]:
    """The lines of a text file (`.gz`, `.xz`, `.bz2`, `.zst` by name) or of stdin ("-"), without their ends.

    Every line counts, empty ones too, so that results can be matched by number. Bytes that are not UTF-8 become U+FFFD,
    and a message says where the first of them was. UserError if the file cannot be read.
    """
    if path == "-":
        yield from _decoded(sys.stdin.buffer, "stdin")
        return
    with opened(path) as stream:
        yield from _decoded(stream, path)


def chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lists of lines, at most 8192 lines and about four million characters each; a longer line is a list of its own."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        if chunk and (len(chunk) == CHUNK_LINES or size + len(line) > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield chunk


def _decoded(stream: IO[bytes], name: str) -> Iterator[str]:
    damaged, first = 0, 0
    for number, line in enumerate(stream, 1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(BOM)
        try:
            yield line.decode()
        except UnicodeDecodeError:
            damaged, first = damaged + 1, first or number
            yield line.decode(errors="replace")
    if damaged:
        say(f"{name}: {damaged} lines are not UTF-8 (the first is line {first}); what could not be read became U+FFFD")
