"""Vectors to a file, chunk by chunk: `.npy`, `.parquet` or `.jsonl`, complete or not there at all.

Shapes: N texts, D dimension.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from compact_labse.errors import UserError, require
from compact_labse.folder import writing_file

Chunk = tuple[Sequence[str], np.ndarray]
Write = Callable[[Sequence[str], np.ndarray], None]

MAGIC = b"\x93NUMPY\x01\x00"
HEADER = 128  # bytes; room for any number of rows


def write_vectors(path: Path, dim: int, found: Iterable[Chunk]) -> int:
    """Write chunks of texts and vectors `[N, dim]` to a file whose ending names the format; gives the number of texts.

    `.npy` holds float32 `[N, dim]` and no texts; `.parquet` columns `text` and `vector`; `.jsonl` objects of both. The
    file appears when complete. UserError for another ending, a missing library or a full disk.
    """
    if path.suffix not in WRITERS:
        raise UserError(f"{path} has no ending of a known format: expected one of {', '.join(WRITERS)}")
    count = 0
    with writing_file(path) as temporary, WRITERS[path.suffix](temporary, dim) as write:
        for texts, vectors_ND in found:
            write(texts, vectors_ND)
            count += len(texts)
    return count


@contextmanager
def npy(path: Path, dim: int) -> Iterator[Write]:
    """Write float32 rows to a `.npy` file whose number of rows is known only at the end."""
    rows = 0
    with open(path, "wb") as file:
        file.write(b"\0" * HEADER)

        def write(texts: Sequence[str], vectors_ND: np.ndarray) -> None:
            nonlocal rows
            file.write(np.ascontiguousarray(vectors_ND, dtype="<f4").data)
            rows += len(vectors_ND)

        yield write
        file.seek(0)
        described = str({"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
        room = HEADER - len(MAGIC) - 2
        file.write(MAGIC + room.to_bytes(2, "little") + described.encode().ljust(room - 1) + b"\n")


@contextmanager
def parquet(path: Path, dim: int) -> Iterator[Write]:
    """Write a row group per chunk."""
    pa, pq = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), dim))])
    with pq.ParquetWriter(path, schema) as writer:

        def write(texts: Sequence[str], vectors_ND: np.ndarray) -> None:
            flat = pa.array(np.ascontiguousarray(vectors_ND, dtype=np.float32).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, dim)
            writer.write_table(pa.table([pa.array([_utf8(text).decode() for text in texts]), vectors], schema=schema))

        yield write


@contextmanager
def jsonl(path: Path, dim: int) -> Iterator[Write]:
    """Write a JSON object a line."""
    with open(path, "wb") as file:
        yield lambda texts, vectors_ND: write_jsonl(file, texts, vectors_ND)


def write_jsonl(file: IO[bytes], texts: Sequence[str], vectors_ND: np.ndarray) -> None:
    """`{"text": ..., "vector": [...]}` a line, seven decimals a value: what float32 holds of numbers below 1."""
    for text, values in zip(texts, np.round(vectors_ND.astype(np.float64), 7).tolist(), strict=True):
        file.write(_utf8(json.dumps({"text": text, "vector": values}, ensure_ascii=False)) + b"\n")


WRITERS: dict[str, Callable[[Path, int], AbstractContextManager[Write]]] = {
    ".npy": npy,
    ".parquet": parquet,
    ".jsonl": jsonl,
}


def _utf8(text: str) -> bytes:
    """The text in UTF-8; lone surrogates, which an argument of the command line may hold, become question marks."""
    return text.encode("utf-8", "replace")
