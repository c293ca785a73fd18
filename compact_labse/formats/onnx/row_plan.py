"""How to quantize a row of activations: where zero lies among the 256 codes, and which inputs to scale down first.

Both are chosen on calibration text by the error of the layer's output. Shapes: R rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compact_labse.formats.integers import columns8

CENTRE = 128
# Share of the difficulty that smoothing moves from activations to weights (SmoothQuant, arXiv 2211.10438, equation 4).
STRENGTHS = (0.5, 0.65)
LOPSIDED = 100  # codes; a zero nearer to the centre gains nothing
WORTH_A_PASS = 0.8  # smoothing costs one more pass over the activations: it must cut the squared error by a fifth


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """`zero` is the code of 0.0; inputs are divided by `smooth_K` first, and the matrix's rows multiplied by it."""

    width: int
    zero: int = CENTRE
    smooth_K: np.ndarray | None = None


def plan_rows(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray]) -> RowPlan:
    """The plan with the smallest squared error over all matrices that multiply these activations."""
    exact = [x_RK @ weight for weight in weights_KN]
    plain = RowPlan(width=x_RK.shape[1])
    unsmoothed = [plain, *_lopsided(x_RK, plain)]
    smoothed = [plan for base in _smoothed(x_RK, weights_KN, plain) for plan in (base, *_lopsided(x_RK, base))]
    best, best_loss = _best(x_RK, weights_KN, exact, unsmoothed)
    other, other_loss = _best(x_RK, weights_KN, exact, smoothed)
    return other if other_loss < WORTH_A_PASS * best_loss else best


def quantized(x_RK: np.ndarray, plan: RowPlan) -> np.ndarray:
    """What the graph's QuantizeLinear keeps of (smoothed) activations, back in float32."""
    x_RK = _apply(x_RK, plan)
    if plan.zero == CENTRE:
        scale = np.abs(x_RK).max(axis=1, keepdims=True) / 127
    else:
        scale = np.maximum(x_RK.max(axis=1) / (255 - plan.zero), -x_RK.min(axis=1) / plan.zero)[:, None]
    scale = np.maximum(scale, np.float32(1e-12))
    return (np.clip(np.rint(x_RK / scale) + plan.zero, 0, 255) - plan.zero) * scale


def _smoothed(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray], plain: RowPlan) -> Iterator[RowPlan]:
    peak_K = np.maximum(np.abs(x_RK).max(axis=0), 1e-5)
    weight_K = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights_KN], axis=0), 1e-5)
    for strength in STRENGTHS:
        smooth_K = peak_K**strength / weight_K ** (1 - strength)
        yield RowPlan(width=plain.width, smooth_K=(smooth_K / smooth_K.mean()).astype(np.float32))


def _lopsided(x_RK: np.ndarray, base: RowPlan) -> Iterator[RowPlan]:
    """The same plan with zero lower, for activations that reach further up than down, as those after GELU do."""
    x_RK = _apply(x_RK, base)
    top, bottom = np.median(x_RK.max(axis=1)), -np.median(x_RK.min(axis=1))
    zero = int(np.clip(round(255 * bottom / max(top + bottom, 1e-12)), 1, 254))
    if zero < LOPSIDED:
        yield replace(base, zero=zero)


def _best(
    x_RK: np.ndarray, weights_KN: Sequence[np.ndarray], exact: list[np.ndarray], plans: list[RowPlan]
) -> tuple[RowPlan, float]:
    losses = [_loss(x_RK, weights_KN, exact, plan) for plan in plans]
    return plans[int(np.argmin(losses))], min(losses)


def _apply(x_RK: np.ndarray, plan: RowPlan) -> np.ndarray:
    return x_RK if plan.smooth_K is None else x_RK / plan.smooth_K


def _loss(x_RK: np.ndarray, weights_KN: Sequence[np.ndarray], exact: list[np.ndarray], plan: RowPlan) -> float:
    kept_RK, loss = quantized(x_RK, plan), 0.0
    for weight_KN, exact_RN in zip(weights_KN, exact, strict=True):
        codes, scale_N = columns8(weight_KN if plan.smooth_K is None else weight_KN * plan.smooth_K[:, None])
        error = (kept_RK @ codes.astype(np.float32)) * scale_N - exact_RN
        loss += float((error * error).sum() / max(float((exact_RN * exact_RN).sum()), 1e-20))
    return loss
