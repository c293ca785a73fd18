"""Fixed ranges for activations: which share of them to keep, and which inputs to scale down first.

Chosen on calibration text by the error of the layer's output, as `row_plan` does for ranges of each row's own. Shapes:
R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compact_labse.formats.integers import columns8

SHARES = (100.0, 99.99, 99.9, 99.5)  # per cent of the values that the range holds; 100 is the minimum and maximum
STRENGTHS = (0.5, 0.65, 0.8)  # of SmoothQuant, arXiv 2211.10438, equation 4


@dataclass(frozen=True, kw_only=True)
class StaticPlan:
    """Inputs are divided by `smooth_K` (None: by 1); code `zero` stands for 0.0 and a step for `scale`."""

    scale: float
    zero: int
    smooth_K: np.ndarray | None = None


def plan_static(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray]) -> StaticPlan:
    """The plan with the smallest squared error over all matrices that multiply these activations."""
    exact = [x_RK @ weight for weight in weights_KN]
    plans = [plan for smooth_K in (None, *_smooth(x_RK, weights_KN)) for plan in _ranges(x_RK, smooth_K)]
    return min(plans, key=lambda plan: _loss(x_RK, weights_KN, exact, plan))


def kept(x_RK: np.ndarray, plan: StaticPlan) -> np.ndarray:
    """What the graph's QuantizeLinear and DequantizeLinear leave of (smoothed) activations."""
    x_RK = x_RK if plan.smooth_K is None else x_RK / plan.smooth_K
    return (np.clip(np.rint(x_RK / plan.scale) + plan.zero, 0, 255) - plan.zero) * np.float32(plan.scale)


def _ranges(x_RK: np.ndarray, smooth_K: np.ndarray | None) -> Iterator[StaticPlan]:
    x_RK = x_RK if smooth_K is None else x_RK / smooth_K
    for share in SHARES:
        low, high = min(0.0, float(np.percentile(x_RK, 100 - share))), max(0.0, float(np.percentile(x_RK, share)))
        scale = max(high - low, 1e-12) / 255
        yield StaticPlan(scale=scale, zero=int(np.clip(round(-low / scale), 0, 255)), smooth_K=smooth_K)


def _smooth(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    peak_K = np.maximum(np.abs(x_RK).max(axis=0), 1e-5)
    weight_K = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights_KN], axis=0), 1e-5)
    for strength in STRENGTHS:
        smooth_K = peak_K**strength / weight_K ** (1 - strength)
        yield (smooth_K / smooth_K.mean()).astype(np.float32)


def _loss(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray], exact: list[np.ndarray], plan: StaticPlan) -> float:
    kept_RK, loss = kept(x_RK, plan), 0.0
    for weight_KN, exact_RN in zip(weights_KN, exact, strict=True):
        codes, scale_N = columns8(weight_KN if plan.smooth_K is None else weight_KN * plan.smooth_K[:, None])
        error = (kept_RK @ codes.astype(np.float32)) * scale_N - exact_RN
        loss += float((error * error).sum() / max(float((exact_RN * exact_RN).sum()), 1e-20))
    return loss
