"""CRC-32C (Castagnoli) of bytes, as TFRecord files use it, in numpy.

The checksum is linear over the bits of the data, so a block's value is the XOR of one table entry per byte, chosen by
the byte and its distance from the block's end; the running value enters by XOR into the block's first four bytes.
"""

from __future__ import annotations

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78  # reflected
BLOCK = 1024  # bytes per lookup; the table has 256 entries of 4 bytes for each

_ONES = 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`: 0xE3069283 for b"123456789"."""
    crc = _ONES
    for start in range(0, len(data), BLOCK):
        crc = _block(crc, data[start : start + BLOCK])
    return crc ^ _ONES


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C as TFRecord stores it: rotated right by 15 bits plus a constant, modulo 2**32."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def _block(crc: int, data: bytes) -> int:
    padded = data.ljust(4, b"\0") if len(data) < 4 else data
    values = np.frombuffer(padded, dtype=np.uint8).astype(np.intp)
    values[:4] ^= [crc & 255, crc >> 8 & 255, crc >> 16 & 255, crc >> 24]
    if len(data) < 4:
        return int(np.bitwise_xor.reduce(_table()[_rows(len(data)) + values[: len(data)]])) ^ crc >> 8 * len(data)
    return int(np.bitwise_xor.reduce(_table()[_rows(len(data)) + values]))


def _rows(length: int) -> np.ndarray:
    return _offsets()[BLOCK - length :]


@functools.cache
def _offsets() -> np.ndarray:
    """For each byte of a full block, where its 256 entries start: those for the last byte come first in the table."""
    return np.arange(BLOCK - 1, -1, -1, dtype=np.intp) * 256


@functools.cache
def _table() -> np.ndarray:
    """`table[256 * k + b]`: what byte `b` contributes when `k` bytes follow it."""
    entries = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        entries = entries >> np.uint32(1) ^ np.where(entries & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    table = np.empty((BLOCK, 256), dtype=np.uint32)
    table[0] = entries
    for k in range(1, BLOCK):
        table[k] = table[k - 1] >> np.uint32(8) ^ entries[table[k - 1] & 255]
    return table.reshape(-1)
