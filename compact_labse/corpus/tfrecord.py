"""TFRecord files of `tf.Example` without TensorFlow: framing, checksums, and the few messages of the wire format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from compact_labse.corpus.columns import Columns
from compact_labse.corpus.crc32c import masked_crc32c
from compact_labse.corpus.lines import Record, place
from compact_labse.corpus.records import BadLines
from compact_labse.corpus.streams import opened
from compact_labse.errors import UserError

LIMIT = 1 << 28  # bytes; no record of sentences is longer, so a longer length is damage

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedMessage(ValueError):
    """Bytes that are no protocol buffer."""


def tfrecord_records(path: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """Record numbers from 1 and each Example's byte features, a list of one value unwrapped.

    A wrong checksum or a record that is cut off raises UserError, as nothing after it can be trusted; a record that is
    whole but is no Example is malformed.
    """
    with opened(path) as stream:
        for number, data in enumerate(frames(stream, path), 1):
            try:
                yield number, dict(parse_example(data))
            except MalformedMessage as error:
                bad.add(place(path, number, "record"), "not a tf.Example", str(error))


def frames(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """The records of a TFRecord stream: length (8 bytes), its checksum (4), the data, its checksum (4), repeated."""
    offset, number = 0, 1
    while head := stream.read(12):
        where = f"{place(path, number, 'record')} (byte {offset})"
        length, crc = struct.unpack("<QI", _whole(head, 12, where))
        if masked_crc32c(head[:8]) != crc or length > LIMIT:
            raise UserError(f"{where}: wrong checksum of the length; the file is damaged or is no TFRecord file")
        data = _whole(stream.read(length), length, where)
        (crc,) = struct.unpack("<I", _whole(stream.read(4), 4, where))
        if masked_crc32c(data) != crc:
            raise UserError(f"{where}: wrong checksum of the data; the file is damaged: fetch or write it again")
        yield data
        offset, number = offset + 16 + length, number + 1


def parse_example(data: bytes) -> Iterator[tuple[str, bytes | list[bytes]]]:
    """The byte features of a serialised `tf.Example`; features of numbers are left out."""
    for features in submessages(data, 1):
        for entry in submessages(features, 1):
            name = b"".join(submessages(entry, 1)[-1:])
            for feature in submessages(entry, 2):
                values = [value for byte_list in submessages(feature, 1) for value in submessages(byte_list, 1)]
                if values:
                    yield name.decode(errors="replace"), values[0] if len(values) == 1 else values


def submessages(data: bytes, wanted: int) -> list[bytes]:
    """The length-delimited values of field `wanted`, in order."""
    return [value for field, value in _fields(data) if field == wanted]


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        field, wire = key >> 3, key & 7
        if wire == _BYTES:
            length, position = _varint(data, position)
            yield field, data[position : position + length]
            position += length
        elif wire == _VARINT:
            _, position = _varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
        else:
            raise MalformedMessage(f"unknown wire type {wire}")
    if position > len(data):
        raise MalformedMessage("a field is longer than the record")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise MalformedMessage("it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise MalformedMessage("a number has more than ten bytes")


def _whole(block: bytes, length: int, where: str) -> bytes:
    if len(block) < length:
        raise UserError(f"{where}: the file ends within this record; it is damaged: fetch or write it again")
    return block
