"""Semantic search over lines of text: a folder with the lines and their vectors, opened without reading it all.

An index is self-contained: `index.json` (what it was made from), `lines.txt`, `offsets.npy`, and the vectors in the
form of its backend. Shapes: N lines, B queries, D dimension, K hits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.folder import writing_folder
from compact_labse.neighbours import BACKENDS, Backend, choose
from compact_labse.progress import track
from compact_labse.runtime import identity
from compact_labse.texts import chunks

ABOUT, LINES, OFFSETS, VECTORS = "index.json", "lines.txt", "offsets.npy", "vectors"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class About:
    """What an index was made from: hashes of the model and of the text, and how its vectors are stored."""

    model: str
    text: str
    backend: str
    count: int
    dim: int
    version: int = VERSION


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A line that answers a query: its cosine, its number in the file (from 1) and its text."""

    score: float
    line: int
    text: str


class Index:
    """An index opened for searching; lines and, where the backend can, vectors stay on disk until they are needed."""

    def __init__(self, folder: Path) -> None:
        self.about = read_about(folder)
        try:
            self._offsets_N2 = np.load(folder / OFFSETS, mmap_mode="r")
            self._lines = open(folder / LINES, "rb")
            self._find = _backend(self.about.backend, folder).open(folder / VECTORS, self.about.dim)
        except (OSError, ValueError) as error:
            raise UserError(f"the index {folder} is damaged ({error}); make it again with --rebuild") from error

    def search(self, queries_BD: np.ndarray, top_k: int = 5, min_score: float = -1.0) -> list[list[Hit]]:
        """For each query the lines nearest to it, best first, at most `top_k` and none below `min_score`."""
        if queries_BD.shape[1] != self.about.dim:
            raise UserError(
                f"the queries have {queries_BD.shape[1]} values, the index {self.about.dim}: another model?"
            )
        scores_BK, rows_BK = self._find(queries_BD, min(top_k, self.about.count))
        return [
            [self._hit(float(score), int(row)) for score, row in zip(scores, rows, strict=True) if score >= min_score]
            for scores, rows in zip(scores_BK, rows_BK, strict=True)
        ]

    def close(self) -> None:
        """Close the file of lines."""
        self._lines.close()

    def _hit(self, score: float, row: int) -> Hit:
        offset, line = (int(value) for value in self._offsets_N2[row])
        self._lines.seek(offset)
        return Hit(score=score, line=line, text=self._lines.readline().decode().removesuffix("\n"))


def build(
    encoder: Encoder, lines: Iterable[str], folder: Path, *, backend: str = "auto", overwrite: bool = False
) -> About:
    """Make an index of all lines that are not blank; it appears when complete. UserError if none is left.

    `backend` is "exact", "usearch", "faiss", or "auto": exact up to 100,000 lines, an approximate index beyond.
    """
    with writing_folder(folder, overwrite=overwrite) as temporary:
        digest, count = _store_lines(lines, temporary)
        if count == 0:
            raise UserError("the text has no line to search: all are blank")
        name = choose(backend, count)
        vectors = track(_vectors(encoder, temporary), "indexing", total=-(-count // 8192))
        _backend(name, temporary).build(vectors, temporary / VECTORS, encoder.dim)
        about = About(model=identity(encoder), text=digest, backend=name, count=count, dim=encoder.dim)
        (temporary / ABOUT).write_text(json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8")
    return about


def read_about(folder: Path) -> About:
    """What an index says about itself; UserError if the folder is no index, or one of another version."""
    try:
        about = About(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a search index: it has no {ABOUT}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / ABOUT} is damaged ({error}); make the index again with --rebuild") from error
    if about.version != VERSION:
        raise UserError(
            f"{folder} is an index of version {about.version}, this release reads {VERSION}: make it again, --rebuild"
        )
    return about


def check_replaceable(folder: Path) -> None:
    """UserError if a folder holds anything but an index, damaged or not: nothing else is ever replaced by one."""
    if folder.exists() and not (folder / ABOUT).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"{folder} is not a search index: it has no {ABOUT}; name another folder")


def text_digest(lines: Iterable[str]) -> str:
    """The hash of a text by its lines, as an index notes it."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(_bytes(line))
    return digest.hexdigest()


def _store_lines(lines: Iterable[str], folder: Path) -> tuple[str, int]:
    """Copy the lines that are not blank; gives the hash of all and the count of those kept."""
    digest, count, offset = hashlib.sha256(), 0, 0
    with open(folder / LINES, "wb") as file, open(folder / "offsets.raw", "wb") as offsets:
        for number, line in enumerate(lines, 1):
            raw = _bytes(line)
            digest.update(raw)
            if not line.strip():
                continue
            offsets.write(np.array([offset, number], dtype="<i8").tobytes())
            file.write(raw)
            offset, count = offset + len(raw), count + 1
    table = np.fromfile(folder / "offsets.raw", dtype="<i8").reshape(-1, 2)
    np.save(folder / OFFSETS, table)
    (folder / "offsets.raw").unlink()
    return digest.hexdigest(), count


def _vectors(encoder: Encoder, folder: Path) -> Iterator[np.ndarray]:
    with open(folder / LINES, encoding="utf-8", newline="\n") as file:
        for chunk in chunks(line.removesuffix("\n") for line in file):
            yield encoder.encode(chunk)


def _backend(name: str, folder: Path) -> Backend:
    if name not in BACKENDS:
        raise UserError(f"{folder} is an index of the unknown kind {name!r}, expected one of {', '.join(BACKENDS)}")
    return BACKENDS[name]


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "replace") + b"\n"
