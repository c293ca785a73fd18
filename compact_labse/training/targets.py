"""Targets: a teacher's vectors of source texts, live or cached in shards that an interrupted run goes on with.

Shapes: U distinct source texts, M of them with a target, B batch, E teacher dimension.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from compact_labse.errors import UserError
from compact_labse.folder import writing_file
from compact_labse.pairs import Pairs
from compact_labse.progress import say, track

SHARD_ROWS = 16_384
MAGIC = b"compact-labse targets 1\n"


class Teacher(Protocol):
    """What targets need of an encoder."""

    dim: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `[N, E]`."""


class CachedTargets:
    """Teacher vectors from finished shards. `vectors(unique_B)` gives those of some source texts, and which exist."""

    def __init__(self, shards: list[np.ndarray], place_U: np.ndarray, dim: int) -> None:
        self._shards, self._place_U, self.dim = shards, place_U, dim

    def vectors(self, unique_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Float32 vectors `[B, E]`, zero where there is none, and a mask `[B]` that says where there is one."""
        place_B = self._place_U[unique_B]
        found_B = place_B >= 0
        vectors_BE = np.zeros((len(unique_B), self.dim), np.float32)
        shard_B = np.where(found_B, place_B // SHARD_ROWS, -1)
        for shard in np.unique(shard_B[found_B]):
            rows = np.flatnonzero(shard_B == shard)
            vectors_BE[rows] = self._shards[shard][place_B[rows] % SHARD_ROWS]
        return vectors_BE, found_B


class LiveTargets:
    """Teacher vectors computed when asked for: no disk, but the teacher runs in every step."""

    def __init__(self, teacher: Teacher, pairs: Pairs) -> None:
        self._teacher, self._pairs, self.dim = teacher, pairs, teacher.dim

    def vectors(self, unique_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Float32 vectors `[B, E]`, and a mask that is true everywhere."""
        texts = self._pairs.source.texts(self._pairs.first[unique_B])
        return self._teacher.encode(texts), np.ones(len(unique_B), bool)


def cache_targets(
    teacher: Teacher, teacher_hash: str, pairs: Pairs, folder: Path, most: int | None = None
) -> CachedTargets:
    """Encode the training pairs' source texts into shards in `folder`, those that are there already excepted.

    With `most`, only so many texts get a target, chosen by hash: a later, larger `most` keeps the shards made before.
    Shards made by another teacher or of other texts raise UserError.
    """
    order_M = _order(pairs, most)
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(order_M), SHARD_ROWS)
    shards, made, pace = [], 0, Pace("teacher vectors", len(order_M))
    for number, start in enumerate(track(starts, "teacher vectors")):
        path = folder / f"{number:05}.targets"
        texts = pairs.source.texts(pairs.first[order_M[start : start + SHARD_ROWS]])
        header = {
            "teacher": teacher_hash,
            "dim": teacher.dim,
            "count": len(texts),
            "texts": sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest(),
        }
        shard = read_shard(path, header) if path.is_file() else None
        if shard is None:
            write_shard(path, header, teacher.encode(texts))
            shard, made = read_shard(path, header), made + 1
            pace.done(start + len(texts), len(texts))
        assert shard is not None
        shards.append(shard)
    say(f"targets: {len(order_M):,} teacher vectors, {len(shards) - made} of {len(shards)} shards were there already")
    place_U = np.full(len(pairs.first), -1, np.int64)
    place_U[order_M] = np.arange(len(order_M))
    return CachedTargets(shards, place_U, teacher.dim)


def write_shard(path: Path, header: dict[str, object], vectors_ME: np.ndarray) -> None:
    """Write vectors as float16 after a JSON header; the file appears whole or not at all."""
    text = json.dumps(header).encode() + b"\n"
    with writing_file(path) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC + text + b" " * (-(len(MAGIC) + len(text)) % 64))
        file.write(vectors_ME.astype(np.float16).tobytes())


def read_shard(path: Path, expected: dict[str, object]) -> np.ndarray | None:
    """The float16 vectors `[M, E]` of a shard, memory-mapped; None when it is a shorter one of the same texts' kind.

    UserError when the file is damaged, or its header differs from `expected` in anything but the number of texts (a
    last shard grows when more texts are wanted).
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{path} is not a file of teacher vectors; delete it and run again")
        line = file.readline()
        start = len(MAGIC) + len(line)
    header = json.loads(line)
    if header != expected:
        if _same_kind(header, expected):
            return None
        _complain(path, header, expected)
    start += -start % 64
    count, dim = header["count"], header["dim"]
    size, wanted = path.stat().st_size, start + 2 * count * dim
    if size != wanted:
        raise UserError(f"{path} is damaged: {size} bytes, expected {wanted}; delete it and run again")
    return np.asarray(np.memmap(path, np.float16, "r", offset=start, shape=(count, dim)))


def _same_kind(header: dict[str, object], expected: dict[str, object]) -> bool:
    same = header["teacher"] == expected["teacher"] and header["dim"] == expected["dim"]
    return same and header["count"] != expected["count"]


def _complain(path: Path, header: dict[str, object], expected: dict[str, object]) -> None:
    what = next(name for name in ("teacher", "dim", "count", "texts") if header.get(name) != expected[name])
    raise UserError(
        f"the cached targets {path} were made for other {'texts' if what == 'texts' else 'teacher weights'}: "
        f"{what} is {str(header.get(what))[:16]}, expected {str(expected[what])[:16]}; "
        f"delete {path.parent} or name another folder"
    )


def _order(pairs: Pairs, most: int | None) -> np.ndarray:
    """Numbers of the training pairs' distinct source texts, by the hash of the text, the first `most`."""
    unique_M = np.unique(pairs.unique[pairs.train_rows]).astype(np.int64)
    keys_M = pairs.source_key[pairs.first[unique_M]]
    return unique_M[np.argsort(keys_M, kind="stable")][:most]


class Pace:
    """Says now and then how far a long job is, where stderr is no terminal that shows a bar."""

    EVERY_S = 30.0

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._made = title, total, 0
        self._started = self._said = time.monotonic()

    def done(self, place: int, made: int) -> None:
        """Note that the job is at `place` of its total after `made` more items."""
        self._made += made
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._said < self.EVERY_S:
            return
        rate = self._made / (now - self._started)
        minutes = (self._total - place) / rate / 60
        say(f"{self._title}: {place:,} of {self._total:,}, {rate:,.0f} per second, {minutes:.0f} min left")
        self._said = now
