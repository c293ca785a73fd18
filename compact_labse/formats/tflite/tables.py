"""Embedding tables as TFLite gathers them: in 8 or 4 bits or float16; only the gathered rows become floats.

Converters quantize a table with one scale for all rows, or turn all of it into floats when a file is opened. These are
built of operators that every TFLite has (GATHER, BITCAST, CAST, MUL, FLOOR), with a scale a row.
Shapes: B batch, T tokens, V rows, H row size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.formats.integers import offset, table8, table_small
from compact_labse.formats.tf.bodies import MakeTable
from compact_labse.formats.tf.layers import Table


class Half(tf.Module):
    """A table in float16."""

    def __init__(self, table_VH: np.ndarray) -> None:
        super().__init__()
        self.bits = tf.constant(table_VH.astype(np.float16).view(np.int16))  # GATHER takes no float16

    def __call__(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """The rows of the ids, float32 `[B, T, H]`."""
        return tf.cast(tf.bitcast(tf.gather(self.bits, ids_BT), tf.float16), tf.float32)


class Table8(tf.Module):
    """A table in 8 bits, a scale a row."""

    def __init__(self, table_VH: np.ndarray) -> None:
        super().__init__()
        codes, scale_V1 = table8(table_VH)
        self.codes, self.scales = tf.constant(codes), Scales(scale_V1)

    def __call__(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """The rows of the ids, float32 `[B, T, H]`."""
        return tf.cast(tf.gather(self.codes, ids_BT), tf.float32) * self.scales(ids_BT)


class Table4(tf.Module):
    """A table in 4 bits, two codes a byte, a scale a row; Unsuitable if the row size is odd."""

    def __init__(self, table_VH: np.ndarray) -> None:
        super().__init__()
        (packed,), scale_V1 = table_small(table_VH, 4)
        self.packed, self.scales = tf.constant(packed), Scales(scale_V1)

    def __call__(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """The rows of the ids, float32 `[B, T, H]`; the bytes are taken apart in floats, for TFLite has no masks."""
        pairs = tf.cast(tf.gather(self.packed, ids_BT), tf.float32)
        high = tf.floor(pairs * (1 / 16))
        codes = tf.concat([pairs - high * 16, high], axis=-1)
        return (codes - offset(4)) * self.scales(ids_BT)


class Scales(tf.Module):
    """A scale a row: as the bits of a float16 where that changes none by more than a thousandth, else of a float32.

    Plain floats would be quantized by the converter, with one scale for all scales.
    """

    def __init__(self, scale_V1: np.ndarray) -> None:
        super().__init__()
        with np.errstate(over="ignore"):
            half = scale_V1.astype(np.float16)
        self.exact = not np.allclose(half, scale_V1, rtol=1e-3, atol=0)
        self.bits = tf.constant(scale_V1.astype(np.float32).view(np.int32) if self.exact else half.view(np.int16))

    def __call__(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """The scales of the ids' rows, float32 `[B, T, 1]`."""
        gathered = tf.gather(self.bits, ids_BT)
        return tf.bitcast(gathered, tf.float32) if self.exact else tf.cast(tf.bitcast(gathered, tf.float16), tf.float32)


def maker(kind: str, rows: int) -> MakeTable:
    """What stores the tables of a format: in int4 the largest table has 4 bits, the table of positions 8."""
    makers: dict[str, MakeTable] = {"fp32": Table, "fp16": Half, "int8": Table8, "int8-static": Table8}
    if kind != "int4":
        return makers[kind]

    def small(table_VH: np.ndarray) -> Any:
        return (Table4 if len(table_VH) == rows else Table8)(table_VH)

    return small
