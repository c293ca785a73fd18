"""What repeated measurements allow us to say: medians, spread, and when a difference is only noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, exp, log

import numpy as np

# Fewer rounds than this cannot give an interval for a median that is right nine times in ten.
_ENOUGH_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ratio of one artifact to another over paired rounds. `verdict`: "higher", "lower", "tie" or "unjudged"."""

    ratio: float
    low: float
    high: float
    rounds: int
    verdict: str


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of raw values, linearly interpolated."""
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=np.float64), [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def spread(values: Sequence[float]) -> float:
    """Half the range of repeated measurements, in percent of their median: the "+-" beside a figure."""
    middle = float(np.median(values))
    return 100 * (max(values) - min(values)) / 2 / middle if middle else 0.0


def median_interval(values: Sequence[float], miss: float = 0.07) -> tuple[float, float]:
    """An interval that misses the true median with probability `miss` at most (order statistics, no assumption).

    Five rounds give minimum to maximum (miss 0.0625). Below five the range is widened by half of itself on each
    side per missing round, because it is too narrow to trust.
    """
    ordered, n = sorted(values), len(values)
    if n < _ENOUGH_ROUNDS:
        extra = (ordered[-1] - ordered[0]) * (_ENOUGH_ROUNDS - n) / 2
        return ordered[0] - extra, ordered[-1] + extra
    drop = 0
    while 2 * sum(comb(n, i) for i in range(drop + 2)) / 2**n <= miss:
        drop += 1
    return ordered[drop], ordered[n - 1 - drop]


def compare(values: Sequence[float], reference: Sequence[float]) -> Comparison:
    """Compare rounds of one artifact with the same rounds of another; a spread that covers 1 makes a tie.

    Rounds are paired (round 3 with round 3), so that a machine that slows down midway does not decide.
    """
    if len(values) != len(reference) or not values:
        raise ValueError(f"rounds must be paired: {len(values)} and {len(reference)}")
    ratios = [a / b for a, b in zip(values, reference, strict=True)]
    # In logarithms, because twice as fast and half as fast are equally far from a tie.
    low, high = (exp(end) for end in median_interval([log(ratio) for ratio in ratios]))
    if len(ratios) == 1:
        verdict = "unjudged"
    elif low <= 1 <= high:
        verdict = "tie"
    else:
        verdict = "higher" if low > 1 else "lower"
    return Comparison(ratio=float(np.median(ratios)), low=low, high=high, rounds=len(ratios), verdict=verdict)
