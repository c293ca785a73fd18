"""Float weights as integers with scales: tables row by row in 8 to 2 bits, matrices column by column or in blocks.

Pure numpy; every function has an inverse in the graphs that `onnx.quantize` writes. Shapes: V rows, D dimension,
K inputs, N outputs of a linear layer.
"""

from __future__ import annotations

import numpy as np

from compact_labse.errors import Unsuitable, UserError

PLANES = {2: (2,), 3: (2, 1), 4: (4,)}  # a code of 3 bits is stored as 2 low ones and 1 high one, each packed densely
CLIPS = np.linspace(0.4, 1.0, 25)
ROWS_AT_A_TIME = 8192


def table8(table_VD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes `[V, D]` and float32 scales `[V, 1]`: `codes * scales` is the table, to 0.4 % of each row's peak."""
    codes_VD = np.empty(table_VD.shape, np.int8)
    scale_V1 = np.empty((len(table_VD), 1), np.float32)
    for start in range(0, len(table_VD), ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        scale_V1[rows] = _peak(table_VD[rows]) / 127
        codes_VD[rows] = np.rint(table_VD[rows] / scale_V1[rows])
    return codes_VD, scale_V1


def table_small(table_VD: np.ndarray, bits: int) -> tuple[list[np.ndarray], np.ndarray]:
    """A table in 2, 3 or 4 bits: planes of packed codes, uint8 `[V, D * plane / 8]`, and scales `[V, 1]`.

    A code c stands for `c - (2^bits - 1) / 2` steps: as many levels above zero as below. Each row's step is, of some
    thirty, the one that leaves the smallest squared error, since cutting off a row's peak costs less than coarse steps
    for all its other values. Scales are float16 where that changes none by more than a thousandth.
    """
    _check_dimension(table_VD.shape[1], bits)
    codes, scales = [], []
    for start in range(0, len(table_VD), ROWS_AT_A_TIME):
        rows = table_VD[start : start + ROWS_AT_A_TIME]
        scales.append(_best_scale(rows, bits))
        codes.append(_codes(rows, scales[-1], bits))
    codes_VD, scale_V1 = np.concatenate(codes), np.concatenate(scales)
    planes, shift = [], 0
    for plane in PLANES[bits]:
        planes.append(_packed(codes_VD >> shift & (1 << plane) - 1, plane))
        shift += plane
    return planes, _half_if_exact(scale_V1)


def untable_small(planes: list[np.ndarray], scale_V1: np.ndarray, bits: int) -> np.ndarray:
    """The float32 table `[V, D]` that the planes and scales of `table_small` stand for."""
    codes, shift = np.zeros((len(scale_V1), planes[0].shape[1] * 8 // PLANES[bits][0]), np.uint8), 0
    for plane, packed in zip(PLANES[bits], planes, strict=True):
        parts = [packed >> start & (1 << plane) - 1 for start in range(0, 8, plane)]
        codes |= np.concatenate(parts, axis=1) << shift
        shift += plane
    return (codes - np.float32(offset(bits))) * scale_V1.astype(np.float32)


def offset(bits: int) -> float:
    """The code, between two levels, that stands for zero."""
    return (2**bits - 1) / 2


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


def blocks4(weight_KN: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `[N, blocks, size / 2]`, two codes around 8 a byte, and scales `[N * blocks]`, as MatMulNBits reads them.

    Each block's scale is, of 25, the one that leaves the smallest squared error.
    """
    inputs, outputs = weight_KN.shape
    count = -(-inputs // size)
    padded = np.pad(weight_KN, ((0, count * size - inputs), (0, 0))).T.reshape(outputs, count, size)
    widest = _peak(padded) / 7
    best, least = widest, np.full_like(widest, np.inf)
    for clip in CLIPS:
        scale = (widest * clip).astype(np.float32)
        error = np.clip(np.rint(padded / scale), -8, 7) * scale - padded
        loss = (error * error).sum(axis=-1, keepdims=True)
        best, least = np.where(loss < least, scale, best), np.minimum(loss, least)
    codes = (np.clip(np.rint(padded / best), -8, 7) + 8).astype(np.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4, best.reshape(-1)


def _peak(values: np.ndarray) -> np.ndarray:
    """The largest magnitude along the last axis, never zero."""
    return np.maximum(np.abs(values).max(axis=-1, keepdims=True), np.float32(1e-20)).astype(np.float32)


def _check_dimension(dim: int, bits: int) -> None:
    if bits not in PLANES:
        raise UserError(f"a table is stored in 8, 4, 3 or 2 bits, not in {bits}")
    least = 8 // min(PLANES[bits])
    if dim % least:
        raise Unsuitable(
            f"a table of {bits} bits needs a dimension that {least} divides, this one has {dim}: use --int8"
        )


def _packed(codes_VD: np.ndarray, plane: int) -> np.ndarray:
    """Codes of `plane` bits, several a byte: part p of the columns lies `p * plane` bits up."""
    parts = np.split(codes_VD, 8 // plane, axis=1)
    return np.bitwise_or.reduce([part << plane * place for place, part in enumerate(parts)]).astype(np.uint8)


def _codes(rows: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    half = 2 ** (bits - 1)
    return (np.clip(np.floor(rows / scale), -half, half - 1) + half).astype(np.uint8)


def _best_scale(rows: np.ndarray, bits: int) -> np.ndarray:
    widest = _peak(rows) / np.float32(offset(bits))
    best, least = widest, np.full_like(widest, np.inf)
    # A row that was trained in so many bits need not use its widest level: the peak may be any level above zero.
    levels = offset(bits) - np.arange(1, 2 ** (bits - 1))
    for clip in (*CLIPS, *(offset(bits) / levels)):
        scale = (widest * clip).astype(np.float32)
        error = (_codes(rows, scale, bits) - np.float32(offset(bits))) * scale - rows
        loss = (error * error).sum(axis=1, keepdims=True)
        best, least = np.where(loss < least, scale, best), np.minimum(loss, least)
    return best


def _half_if_exact(scale: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    return half if np.allclose(half, scale, rtol=1e-3, atol=0) else scale
