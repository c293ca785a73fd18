"""Copy safetensors files while choosing rows of some tensors, block by block: memory stays small whatever the model.

Shapes: V rows of the vocabulary.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from compact_labse.errors import UserError

BLOCK_BYTES = 16 << 20

# A table of the vocabulary, and what a head over the vocabulary may be called, in the families of transformers,
# sentence-transformers' StaticEmbedding and model2vec.
TABLE = re.compile(
    r"(^|\.)(word_embeddings|tok_embeddings|embed_tokens|shared|wte|embedding|word_embedding)\.weight$|^embeddings$"
)
BESIDE = re.compile(r"(decoder|lm_head|vocab_projector|predictions|head)(\.(weight|bias))?$|^(mapping|weights)$")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a tensor lies in its file: `start` and `stop` are absolute offsets in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors of a safetensors file in the order in which they lie, and its metadata."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    metadata = header.pop("__metadata__", {})
    entries = {}
    for name, found in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = (8 + size + place for place in found["data_offsets"])
        entries[name] = Entry(dtype=found["dtype"], shape=tuple(found["shape"]), start=start, stop=stop)
    return entries, metadata


def is_whole(path: Path) -> bool:
    """Whether a file is there, has a header that can be read, and all bytes that the header names."""
    try:
        entries, _ = read_header(path)
        return max((entry.stop for entry in entries.values()), default=0) <= path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        return False


def vocabulary_tensors(headers: Mapping[Path, Mapping[str, Entry]]) -> tuple[int, set[str]]:
    """V and the names of all tensors with a row per piece: tables, shared copies of them, heads of a language model.

    UserError if there is no table, if tables differ in rows, or if a tensor has V rows and is nothing known.
    """
    entries = {name: entry for header in headers.values() for name, entry in header.items()}
    where = next(iter(headers)).parent
    tables = {name: e.shape[0] for name, e in entries.items() if len(e.shape) == 2 and TABLE.search(name)}
    mapping = entries.get("mapping")
    rows = {mapping.shape[0]} if mapping is not None else set(tables.values())
    if len(rows) != 1:
        found = ", ".join(f"{name} with {count}" for name, count in sorted(tables.items()))
        raise UserError(f"{where}: expected one table of token vectors, found {found or 'none'}; it cannot be trimmed")
    (size,) = rows
    names = {name for name, e in entries.items() if e.shape and e.shape[0] == size}
    strange = sorted(name for name in names if not (TABLE.search(name) or BESIDE.search(name)))
    wide = sorted(name for name, e in entries.items() if len(e.shape) > 1 and e.shape[-1] == size and name not in names)
    if strange or wide:
        raise UserError(
            f"{where}: the tensor {(strange or wide)[0]!r} is as long as the vocabulary ({size:,}) and is neither a "
            f"table nor a known head; it shares rows in a way that trim does not know"
        )
    return size, names


def copy_rows(source: Path, target: Path, rows: np.ndarray, names: set[str]) -> None:
    """Copy a safetensors file; of the tensors `names` only the ascending `rows`. Reads and writes 16 MB at a time."""
    entries, metadata = read_header(source)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, entry in entries.items():
        shape = (len(rows), *entry.shape[1:]) if name in names else entry.shape
        size = (entry.stop - entry.start) * shape[0] // max(1, entry.shape[0]) if shape else entry.stop - entry.start
        header[name] = {"dtype": entry.dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # readers map tensors in place, which must lie at multiples of eight
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(len(text).to_bytes(8, "little") + text)
        for name, entry in entries.items():
            if name in names:
                _copy_chosen(old, new, entry, rows)
            else:
                _copy(old, new, entry)


def _copy(old: IO[bytes], new: IO[bytes], entry: Entry) -> None:
    old.seek(entry.start)
    left = entry.stop - entry.start
    while left:
        block = old.read(min(left, BLOCK_BYTES))
        new.write(block)
        left -= len(block)


def _copy_chosen(old: IO[bytes], new: IO[bytes], entry: Entry, rows: np.ndarray) -> None:
    width = (entry.stop - entry.start) // entry.shape[0]
    at_once = max(1, BLOCK_BYTES // max(1, width))
    old.seek(entry.start)
    for first in range(0, entry.shape[0], at_once):
        count = min(at_once, entry.shape[0] - first)
        block = np.frombuffer(old.read(count * width), dtype=np.uint8).reshape(count, width)
        low, high = np.searchsorted(rows, (first, first + count))
        new.write(block[rows[low:high] - first].tobytes())


def parameters(path: Path) -> int:
    """How many values a safetensors file holds."""
    return sum(math.prod(entry.shape) for entry in read_header(path)[0].values())
