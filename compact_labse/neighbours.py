"""Where an index keeps its vectors and how it finds the nearest: exactly with numpy, or with usearch or faiss.

Shapes: N vectors, B queries, D dimension, K hits. All vectors have length 1, so that the inner product is the cosine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compact_labse.errors import UserError, require
from compact_labse.progress import track
from compact_labse.vectors import npy

Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]  # queries_BD, k -> scores_BK, rows_BK, best first

EXACT_UP_TO = 100_000  # vectors; comparing with all of them takes about as long as opening the model
BLOCK = 65_536  # vectors compared at a time
QUERIES = 4096
CELL_ROUNDS, CELLS_VISITED = 6, 5


@dataclass(frozen=True, kw_only=True)
class Backend:
    """`build` writes chunks of vectors to a file, `open` gives the function that searches it."""

    build: Callable[[Iterable[np.ndarray], Path, int], None]
    open: Callable[[Path, int], Find]


def choose(name: str, count: int) -> str:
    """The backend of that name; "auto" is exact for up to 100,000 vectors or where no index library is installed."""
    if name == "auto":
        found = [library for library in ("usearch", "faiss") if importlib.util.find_spec(library)]
        return "exact" if count <= EXACT_UP_TO or not found else found[0]
    if name not in BACKENDS:
        raise UserError(f"unknown kind of index {name!r}, expected auto or one of {', '.join(BACKENDS)}")
    return name


def nearest_others(vectors_ND: np.ndarray, k: int) -> np.ndarray:
    """Of each vector the `k` nearest others, nearest first, `[N, k]`: exact for up to 100,000, else nearly all of them.

    Beyond that faiss compares each vector with those of the cells around it (inverted file), about 0.3 % of all.
    """
    exact = len(vectors_ND) <= EXACT_UP_TO
    find = _exact(vectors_ND) if exact else _by_cells(vectors_ND)
    near_NK = np.empty((len(vectors_ND), k), np.int64)
    for start in track(range(0, len(vectors_ND), QUERIES), "neighbours"):
        _, rows = find(np.asarray(vectors_ND[start : start + QUERIES], np.float32), k + 1)
        rows = np.where(rows < 0, rows[:, :1], rows)  # a cell may hold fewer
        own = rows == np.arange(start, start + len(rows))[:, None]
        dropped = np.where(own.any(1), own.argmax(1), k)  # of equal vectors another one may have come in its place
        near_NK[start : start + QUERIES] = rows[np.arange(k + 1) != dropped[:, None]].reshape(-1, k)
    return near_NK


def _by_cells(vectors_ND: np.ndarray) -> Find:
    faiss = require("faiss", "search")
    count, dim = vectors_ND.shape
    cells = 1 << max(6, int(count**0.5).bit_length())
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed = CELL_ROUNDS, 0
    sample = np.random.default_rng(0).permutation(count)[: 50 * cells]
    index.train(np.asarray(vectors_ND[np.sort(sample)], np.float32))
    for start in range(0, count, BLOCK):
        index.add(np.asarray(vectors_ND[start : start + BLOCK], np.float32))
    index.nprobe = CELLS_VISITED
    return lambda queries_BD, k: _sorted(*index.search(np.ascontiguousarray(queries_BD), k))


def _build_exact(vectors: Iterable[np.ndarray], path: Path, dim: int) -> None:
    with npy(path, dim) as write:
        for chunk_ND in vectors:
            write([], chunk_ND)


def _open_exact(path: Path, dim: int) -> Find:
    return _exact(np.load(path, mmap_mode="r"))


def _exact(vectors_ND: np.ndarray) -> Find:
    def find(queries_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.empty((len(queries_BD), 0), np.float32)
        rows = np.empty((len(queries_BD), 0), np.int64)
        for start in range(0, len(vectors_ND), BLOCK):
            block = queries_BD @ vectors_ND[start : start + BLOCK].T
            here = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
            scores, rows = np.hstack([scores, block]), np.hstack([rows, here])
            if scores.shape[1] > k:
                kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
                scores, rows = np.take_along_axis(scores, kept, 1), np.take_along_axis(rows, kept, 1)
        return _sorted(scores, rows)

    return find


def _build_usearch(vectors: Iterable[np.ndarray], path: Path, dim: int) -> None:
    index = require("usearch.index", "search").Index(ndim=dim, metric="ip", dtype="f16")
    for chunk_ND in vectors:
        index.add(np.arange(len(index), len(index) + len(chunk_ND)), chunk_ND)
    index.save(str(path))


def _open_usearch(path: Path, dim: int) -> Find:
    try:
        index = require("usearch.index", "search").Index.restore(str(path), view=True)
    except RuntimeError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if index is None or index.ndim != dim:
        raise ValueError(f"{path.name} is not a usearch index of {dim} values")

    def find(queries_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = index.search(np.ascontiguousarray(queries_BD), k)
        scores, rows = 1 - np.atleast_2d(found.distances), np.atleast_2d(found.keys).astype(np.int64)
        return _sorted(scores, rows)

    return find


def _build_faiss(vectors: Iterable[np.ndarray], path: Path, dim: int) -> None:
    faiss = require("faiss", "search")
    index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    for chunk_ND in vectors:
        index.add(np.ascontiguousarray(chunk_ND))
    faiss.write_index(index, str(path))


def _open_faiss(path: Path, dim: int) -> Find:
    faiss = require("faiss", "search")
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise ValueError(f"{path.name} is not a faiss index") from error
    if index.d != dim:
        raise ValueError(f"{path.name} is an index of {index.d} values, expected {dim}")
    return lambda queries_BD, k: _sorted(*index.search(np.ascontiguousarray(queries_BD), k))


def _sorted(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


BACKENDS = {
    "exact": Backend(build=_build_exact, open=_open_exact),
    "usearch": Backend(build=_build_usearch, open=_open_usearch),
    "faiss": Backend(build=_build_faiss, open=_open_faiss),
}
