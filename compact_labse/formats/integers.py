"""Float weights as integers with scales: tables row by row in 8 or 4 bits, matrices column by column or in blocks.

Pure numpy; every function has an inverse in the graphs that `onnx_quantize` writes. Shapes: V rows, D dimension,
K inputs, N outputs of a linear layer.
"""

from __future__ import annotations

import numpy as np

HALF4 = 8  # a 4-bit code c in 0..15 stands for c - 7.5: sixteen levels, as many above zero as below
OFFSET4 = HALF4 - 0.5
CLIPS = np.linspace(0.5, 1.0, 21)
ROWS_AT_A_TIME = 8192


def table8(table_VD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes `[V, D]` and float32 scales `[V, 1]`: `codes * scales` is the table, to 0.4 % of each row's peak."""
    scale_V1 = _peak(table_VD) / 127
    return np.rint(table_VD / scale_V1).astype(np.int8), scale_V1


def table4(table_VD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pairs of 4-bit codes `[V, D/2]` and float32 scales `[V, 1]`.

    The low half of byte j codes column j, the high half column j + D/2. Each row's scale is the one of 21 that leaves
    the smallest squared error: cutting off a row's peak costs less than coarse steps for all its other values.
    D must be even.
    """
    packed, scales = [], []
    for start in range(0, len(table_VD), ROWS_AT_A_TIME):
        rows = table_VD[start : start + ROWS_AT_A_TIME]
        scale = _best_scale4(rows)
        codes = _codes4(rows, scale)
        half = rows.shape[1] // 2
        packed.append(codes[:, :half] | codes[:, half:] << 4)
        scales.append(scale)
    return np.concatenate(packed), np.concatenate(scales)


def untable4(packed: np.ndarray, scale_V1: np.ndarray) -> np.ndarray:
    """The float32 table `[V, D]` that `table4` stands for."""
    codes = np.concatenate([packed & 15, packed >> 4], axis=1)
    return (codes.astype(np.float32) - np.float32(OFFSET4)) * scale_V1


def columns8(weight_KN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes `[K, N]` and float32 scales `[N]` that no CPU's 8-bit product overflows.

    CPUs without VNNI add two products of an unsigned and a signed byte in 16 bits and saturate. With the codes of rows
    2j and 2j + 1 at most 128 together, 255 * 128 < 2^15 holds for every input.
    """
    inputs = len(weight_KN)
    padded = np.abs(np.pad(weight_KN, ((0, inputs % 2), (0, 0))))
    pairs = padded[0::2] + padded[1::2]
    scale_N = np.maximum(pairs.max(axis=0), np.float32(1e-20)).astype(np.float32) / 127
    return np.rint(weight_KN / scale_N).astype(np.int8), scale_N


def blocks8(weight_KN: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 codes `[N, blocks, size]` around 128 and float32 scales `[N * blocks]`, as MatMulNBits reads them."""
    inputs, outputs = weight_KN.shape
    count = -(-inputs // size)
    padded = np.pad(weight_KN, ((0, count * size - inputs), (0, 0))).T.reshape(outputs, count, size)
    scale = _peak(padded) / 127
    codes = np.rint(padded / scale) + 128
    return codes.astype(np.uint8), scale.reshape(-1)


def _peak(values: np.ndarray) -> np.ndarray:
    """The largest magnitude along the last axis, never zero."""
    return np.maximum(np.abs(values).max(axis=-1, keepdims=True), np.float32(1e-20)).astype(np.float32)


def _codes4(rows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return (np.clip(np.floor(rows / scale), -HALF4, HALF4 - 1) + HALF4).astype(np.uint8)


def _best_scale4(rows: np.ndarray) -> np.ndarray:
    peak = _peak(rows) / HALF4
    best, least = peak, np.full_like(peak, np.inf)
    for clip in CLIPS:
        scale = (peak * clip).astype(np.float32)
        error = _codes4(rows, scale).astype(np.float32) - np.float32(OFFSET4)
        error = error * scale - rows
        loss = (error * error).sum(axis=1, keepdims=True)
        best, least = np.where(loss < least, scale, best), np.minimum(loss, least)
    return best
