"""Ragged arrays on disk, memory-mapped: the texts or the token ids of a corpus that need not fit in memory.

Shapes: N rows of the store, B rows of a batch, K elements of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compact_labse.errors import UserError


class RaggedWriter:
    """Appends rows of different lengths to `<name>.bin` and their starts to `<name>.starts.bin`; a context manager."""

    def __init__(self, folder: Path, name: str, dtype: str) -> None:
        self._values = open(folder / f"{name}.bin", "wb")
        self._starts = open(folder / f"{name}.starts.bin", "wb")
        self._dtype, self._end = np.dtype(dtype), 0
        self._starts.write(np.int64(0).tobytes())

    def __enter__(self) -> RaggedWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._values.close()
        self._starts.close()

    def extend(self, rows: Sequence[Sequence[int] | bytes]) -> None:
        """Append rows of integers, or of bytes."""
        if not len(rows):
            return
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64) + self._end
        if isinstance(rows[0], bytes):
            self._values.write(b"".join(rows))  # type: ignore[arg-type]
        else:
            values = np.fromiter((value for row in rows for value in row), self._dtype, int(ends[-1]) - self._end)
            self._values.write(values.tobytes())
        self._starts.write(ends.tobytes())
        self._end = int(ends[-1])


class Ragged:
    """A stored ragged array; opening costs nothing, rows are read when taken."""

    def __init__(self, folder: Path, name: str, dtype: str) -> None:
        self.starts_N1 = read_array(folder / f"{name}.starts.bin", "int64")
        self.values = read_array(folder / f"{name}.bin", dtype)
        if len(self.starts_N1) < 1 or int(self.starts_N1[-1]) != len(self.values):
            raise UserError(f"{folder}/{name}.bin is damaged: it ends early; delete {folder} and run again")

    def __len__(self) -> int:
        return len(self.starts_N1) - 1

    def take(self, rows_B: np.ndarray, longest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Values `[K]` of the rows end to end, each cut at `longest`, and where each starts, `[B + 1]`."""
        starts_B = self.starts_N1[rows_B]
        lengths_B = self.starts_N1[rows_B + 1] - starts_B
        if longest is not None:
            lengths_B = np.minimum(lengths_B, longest)
        offsets_B1 = np.concatenate([[0], np.cumsum(lengths_B)])
        place_K = np.arange(offsets_B1[-1]) + np.repeat(starts_B - offsets_B1[:-1], lengths_B)
        return self.values[place_K], offsets_B1


class Texts(Ragged):
    """A stored list of texts."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name, "uint8")

    def __getitem__(self, row: int) -> str:
        return self.values[self.starts_N1[row] : self.starts_N1[row + 1]].tobytes().decode("utf-8")

    def texts(self, rows_B: np.ndarray) -> list[str]:
        """The texts of some rows."""
        return [self[int(row)] for row in rows_B]


def read_array(path: Path, dtype: str) -> np.ndarray:
    """A raw array, memory-mapped; an empty file is an empty array, and a missing one a UserError."""
    if not path.is_file():
        raise UserError(f"{path} is missing; delete {path.parent} and run again")
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")


def write_array(path: Path, values: np.ndarray) -> None:
    """Write a raw array that `read_array` reads."""
    with open(path, "wb") as file:
        file.write(np.ascontiguousarray(values).tobytes())


def joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Several ragged batches as one: values end to end, starts shifted."""
    values_K = np.concatenate([values for values, _ in parts])
    ends = np.cumsum([0, *(int(offsets[-1]) for _, offsets in parts)])
    starts = [offsets[:-1] + end for (_, offsets), end in zip(parts, ends, strict=False)]
    return values_K, np.concatenate([*starts, ends[-1:]])
