"""What a compressed model may weigh, how long it may take, and how much of the original's quality it must keep."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compact_labse.errors import UserError

SIZES = {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TIMES = {"": 1.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+)\s*([A-Za-zµ]*)")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of an artifact: bytes to ship, milliseconds for a sentence, share of the original's quality.

    None is no limit. Bytes are those of the model's file and its tokenizer.
    """

    max_size: int | None = None
    max_latency: float | None = None
    min_quality: float = 0.98

    def __post_init__(self) -> None:
        if self.max_size is None and self.max_latency is None:
            raise UserError("a budget is needed: give --max-size 20MB, --max-latency 3ms, or both")
        if not 0 < self.min_quality <= 1:
            raise UserError(f"--min-quality is a share of the original's, above 0 and up to 1; got {self.min_quality}")

    def excess(self, size: float, latency: float) -> tuple[float, float]:
        """How far beyond the limits of size and latency, as shares of them; 0 and below is within."""
        return (
            -1.0 if self.max_size is None else size / self.max_size - 1,
            -1.0 if self.max_latency is None else latency / self.max_latency - 1,
        )

    def fits(self, size: float, latency: float) -> bool:
        """Whether size and latency are within their limits."""
        return max(self.excess(size, latency)) <= 0

    def __str__(self) -> str:
        size = [] if self.max_size is None else [f"{self.max_size / 1e6:g} MB"]
        latency = [] if self.max_latency is None else [f"{self.max_latency:g} ms"]
        return f"{', '.join([*size, *latency])}, {self.min_quality:g} of the quality"


def bytes_of(text: str) -> int:
    """The bytes that "20MB", "512KiB" or "20000000" mean."""
    return int(_read(text, SIZES, "--max-size", "20MB"))


def milliseconds_of(text: str) -> float:
    """The milliseconds that "3ms", "800us" or "3" mean."""
    return _read(text, TIMES, "--max-latency", "3ms")


def _read(text: str, units: dict[str, float], option: str, example: str) -> float:
    found = _NUMBER.fullmatch(text.strip())
    value = float(found[1]) * units[found[2]] if found and found[2] in units else 0.0
    if value <= 0:
        known = ", ".join(name for name in units if name)
        raise UserError(f"{option} takes a size such as {example} ({known}), got {text!r}")
    return value
