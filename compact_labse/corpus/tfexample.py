"""`tf.Example` messages of numbers and their TFRecord frames, written and read without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from compact_labse.corpus.crc32c import masked_crc32c
from compact_labse.corpus.tfrecord import submessages

BYTES_OF_INT64 = 9  # 7 bits each; numbers here are not negative


def example(features: Mapping[str, np.ndarray]) -> bytes:
    """A serialised `tf.Example`: arrays of floats become a FloatList, of non-negative integers an Int64List.

    Features stand in the order of their names, so that the same features give the same bytes.
    """
    entries = b"".join(
        _message(1, _message(1, name.encode()) + _message(2, _feature(features[name]))) for name in sorted(features)
    )
    return _message(1, entries)


def frame(data: bytes) -> bytes:
    """The data as a record of a TFRecord file: length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def numbers(data: bytes) -> dict[str, np.ndarray]:
    """The float32 and int64 features of a serialised `tf.Example`, packed as every writer packs them."""
    found = {}
    for features in submessages(data, 1):
        for entry in submessages(features, 1):
            name = b"".join(submessages(entry, 1)[-1:]).decode(errors="replace")
            for feature in submessages(entry, 2):
                for floats in submessages(feature, 2):
                    found[name] = np.frombuffer(b"".join(submessages(floats, 1)), "<f4")
                for integers in submessages(feature, 3):
                    found[name] = unpacked(b"".join(submessages(integers, 1)))
    return found


def packed(values_N: np.ndarray) -> bytes:
    """Non-negative integers as varints end to end: 7 bits a byte, lowest first, the high bit set but on the last."""
    values_N = np.asarray(values_N, np.int64)
    if len(values_N) and values_N.min() < 0:
        raise ValueError("negative numbers are not written here")
    parts_NB = values_N[:, None] >> (7 * np.arange(BYTES_OF_INT64))
    more_NB = parts_NB > 127
    used_NB = np.concatenate([np.ones((len(values_N), 1), bool), more_NB[:, :-1]], axis=1)
    return ((parts_NB & 127) | (more_NB << 7)).astype(np.uint8)[used_NB].tobytes()


def unpacked(data: bytes) -> np.ndarray:
    """The int64 numbers of varints end to end."""
    bytes_K = np.frombuffer(data, np.uint8).astype(np.int64)
    ends_K = bytes_K < 128
    number_K: np.ndarray = np.cumsum(ends_K) - ends_K
    starts_N = np.concatenate([[0], np.flatnonzero(ends_K)[:-1] + 1]) if ends_K.any() else np.empty(0, np.int64)
    shift_K = 7 * (np.arange(len(bytes_K)) - starts_N[number_K])
    values_N = np.zeros(len(starts_N), np.int64)
    np.add.at(values_N, number_K, (bytes_K & 127) << shift_K)
    return values_N


def _feature(values: np.ndarray) -> bytes:
    if values.dtype.kind == "f":
        return _message(2, _message(1, values.astype("<f4").tobytes()))
    return _message(3, _message(1, packed(values)))


def _message(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + packed(np.array([len(content)])) + content
