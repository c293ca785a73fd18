"""Fixed ranges for activations: those that a model learned, or a share of the values seen on calibration text.

The share is chosen by the error of the layer's output, as `row_plan` does for ranges of each row's own. Scaling large
inputs down first, which helps there, does not here: all-MiniLM-L6-v2 loses .01 of its worst cosine by it. Shapes: R
rows, K inputs, N outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compact_labse.errors import UserError
from compact_labse.formats.contract import RANGES
from compact_labse.formats.integers import columns8

SHARES = (100.0, 99.99, 99.9, 99.5)  # per cent of the values that the range holds; 100 is the minimum and maximum


@dataclass(frozen=True, kw_only=True)
class StaticPlan:
    """Code `zero` stands for 0.0 and a step for `scale`."""

    scale: float
    zero: int


def plan_of(low: float, high: float) -> StaticPlan:
    """The plan of a range, which is made to hold zero."""
    low, high = min(0.0, low), max(0.0, high)
    scale = max(high - low, 1e-12) / 255
    return StaticPlan(scale=scale, zero=int(np.clip(round(-low / scale), 0, 255)))


def learned_ranges(folder: Path | None) -> dict[str, tuple[float, float]]:
    """The range of what goes into each layer, by its name in the transformer, as training in 8 bits found it.

    {} if the model folder has none. UserError if its `ranges.json` is damaged.
    """
    path = None if folder is None else folder / RANGES
    if path is None or not path.is_file():
        return {}
    try:
        return {name: (float(low), float(high)) for name, (low, high) in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged: expected a pair of numbers for each layer; delete it to calibrate"
        ) from error


def plan_static(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray]) -> StaticPlan:
    """The plan with the smallest squared error over all matrices that multiply these activations."""
    exact = [x_RK @ weight for weight in weights_KN]
    return min(_ranges(x_RK), key=lambda plan: _loss(x_RK, weights_KN, exact, plan))


def kept(x_RK: np.ndarray, plan: StaticPlan) -> np.ndarray:
    """What the graph's QuantizeLinear and DequantizeLinear leave of activations."""
    return (np.clip(np.rint(x_RK / plan.scale) + plan.zero, 0, 255) - plan.zero) * np.float32(plan.scale)


def _ranges(x_RK: np.ndarray) -> Iterator[StaticPlan]:
    for share in SHARES:
        yield plan_of(float(np.percentile(x_RK, 100 - share)), float(np.percentile(x_RK, share)))


def _loss(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray], exact: list[np.ndarray], plan: StaticPlan) -> float:
    kept_RK, loss = kept(x_RK, plan), 0.0
    for weight_KN, exact_RN in zip(weights_KN, exact, strict=True):
        codes, scale_N = columns8(weight_KN)
        error = (kept_RK @ codes.astype(np.float32)) * scale_N - exact_RN
        loss += float((error * error).sum() / max(float((exact_RN * exact_RN).sum()), 1e-20))
    return loss
