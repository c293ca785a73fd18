"""TFRecord: the checksum against published values, the wire format against bytes written by hand."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_labse.corpus.crc32c import BLOCK, POLYNOMIAL, crc32c
from compact_labse.corpus.read import read_pairs, read_texts
from compact_labse.corpus.tfrecord import MalformedMessage, frames, parse_example
from compact_labse.errors import UserError

# tf.train.Example with src_raw = "hi" and tgt_raw = "hé", as protocol-buffer bytes.
EXAMPLE = (
    b"\x0a\x28"  # features, 40 bytes
    b"\x0a\x11\x0a\x07src_raw\x12\x06\x0a\x04\x0a\x02hi"  # entry: key, feature { bytes_list { value } }
    b"\x0a\x13\x0a\x07tgt_raw\x12\x08\x0a\x06\x0a\x04h\xc3\xa9!"
)


SCHEMA = """
name: "x.proto" package: "x" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature"
  field { name: "bytes_list" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".x.BytesList" }
  field { name: "float_list" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".x.FloatList" }
  field { name: "int64_list" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".x.Int64List" }
}
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".x.Features.FeatureEntry" }
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".x.Feature" }
  }
}
message_type { name: "Example"
  field { name: "features" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".x.Features" }
}
"""


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def field(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def example(**features: bytes) -> bytes:
    entries = [
        field(1, field(1, name.encode()) + field(2, field(1, field(1, value)))) for name, value in features.items()
    ]
    return field(1, b"".join(entries))


def framed(*records: bytes) -> bytes:
    def crc(data: bytes) -> bytes:
        value = slow_crc32c(data)
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    lengths = [struct.pack("<Q", len(record)) for record in records]
    return b"".join(n + crc(n) + record + crc(record) for n, record in zip(lengths, records, strict=True))


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720, appendix B.4, and the usual check value
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_published_checksums(data: bytes, crc: int) -> None:
    assert crc32c(data) == slow_crc32c(data) == crc


@given(st.binary(max_size=40) | st.builds(lambda a, n: a * n, st.binary(min_size=1, max_size=9), st.integers(100, 500)))
def test_the_fast_checksum_is_the_slow_one(data: bytes) -> None:
    assert crc32c(data) == slow_crc32c(data)


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 3, 4, 5])
def test_lengths_around_a_block(extra: int) -> None:
    data = bytes(range(256)) * 5
    assert crc32c(data[: BLOCK + extra]) == slow_crc32c(data[: BLOCK + extra])


def test_the_framing_is_that_of_tensorboards_writer() -> None:
    records = pytest.importorskip("tensorboard.summary.writer.record_writer", reason="needs the extra 'train'")
    stream = io.BytesIO()
    writer = records.RecordWriter(stream)
    for record in (EXAMPLE, b"", b"\xff" * 3000):
        writer.write(record)
    assert stream.getvalue() == framed(EXAMPLE, b"", b"\xff" * 3000)
    assert list(frames(io.BytesIO(stream.getvalue()), "a")) == [EXAMPLE, b"", b"\xff" * 3000]


def test_messages_of_the_protobuf_library_are_parsed() -> None:
    """The schema of tf.Example, handed to the real library."""
    modules = ("descriptor_pb2", "descriptor_pool", "message_factory", "text_format")
    library = [pytest.importorskip(f"google.protobuf.{name}", reason="needs the extra 'train'") for name in modules]
    descriptor_pb2, descriptor_pool, message_factory, text_format = library
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto()))
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("x.Example"))()
    message.features.feature["src_raw"].bytes_list.value.append("ä".encode() * 300)
    message.features.feature["tgt_raw"].bytes_list.value.extend([b"x", b"y"])
    message.features.feature["score"].float_list.value.extend([1.5, -2])
    message.features.feature["id"].int64_list.value.extend([7, -1])
    expected = {"src_raw": "ä".encode() * 300, "tgt_raw": [b"x", b"y"]}
    assert dict(parse_example(message.SerializeToString())) == expected


def test_an_example_is_parsed() -> None:
    assert dict(parse_example(EXAMPLE)) == {"src_raw": b"hi", "tgt_raw": "hé!".encode()}
    assert example(src_raw=b"hi", tgt_raw="hé!".encode()) == EXAMPLE


def test_other_features_and_unknown_fields_are_left_out() -> None:
    number = field(1, field(1, b"id") + field(2, field(3, b"\x0a\x01\x07")))
    text = field(1, field(1, b"a") + field(2, field(1, field(1, b"x") + field(1, b"y"))))
    unknown = b"\x18\xac\x02" + b"\x25abcd" + b"\x29abcdefgh"  # a varint, a fixed32, a fixed64
    assert dict(parse_example(field(1, number + text) + unknown)) == {"a": [b"x", b"y"]}


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        list(parse_example(data))


@pytest.mark.parametrize("packed", [False, True])
def test_pairs_are_read(tmp_path: Path, packed: bool) -> None:
    data = framed(EXAMPLE, example(tgt_raw=b"zwei", src_raw=b"two", lang=b"de"))
    path = tmp_path / ("en-fr.tfrecord.gz" if packed else "en-fr.tfrecord-00000-of-00001")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert list(read_pairs(path)) == [("hi", "hé!", "fr"), ("two", "zwei", "de")]
    assert list(read_texts(path, columns=["tgt_raw"])) == ["hé!", "zwei"]


def test_whole_records_that_are_unusable_are_malformed(tmp_path: Path) -> None:
    reports: list[str] = []
    path = tmp_path / "a.tfrecord"
    bad = [
        b"\x0a\x7f",
        example(src_raw=b"a"),
        example(src_raw=b"a", tgt_raw=b"\xff"),
        example(src_raw=b"", tgt_raw=b"b"),
    ]
    path.write_bytes(framed(EXAMPLE, *bad, EXAMPLE))
    assert len(list(read_pairs(path, report=reports.append))) == 2
    assert [report.split(": ", 1)[1] for report in reports] == [
        "not a tf.Example (a field is longer than the record)",
        "missing column (no two columns have well-known names; its columns are: src_raw)",
        "invalid UTF-8 (byte 1 of the text)",
        "an empty side",
    ]
    assert reports[0].startswith(f"skipped {path}, record 2:")


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (0, r"record 1 \(byte 0\): wrong checksum of the length; the file is damaged or is no TFRecord"),
        (9, r"record 1 \(byte 0\): wrong checksum of the length"),
        (20, r"record 1 \(byte 0\): wrong checksum of the data"),
        (len(framed(EXAMPLE)) - 1, r"record 1 \(byte 0\): wrong checksum of the data"),
        (len(framed(EXAMPLE)) + 30, r"record 2 \(byte 58\): wrong checksum of the data"),
    ],
)
def test_a_flipped_bit_is_an_error(tmp_path: Path, at: int, message: str) -> None:
    data = bytearray(framed(EXAMPLE, EXAMPLE))
    data[at] ^= 4
    path = tmp_path / "a.tfrecord"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        list(read_pairs(path))


@pytest.mark.parametrize("cut", [1, 4, 10, 50])
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(EXAMPLE, EXAMPLE)[:-cut])
    with pytest.raises(UserError, match=r"a\.tfrecord, record 2 \(byte 58\): the file ends within this record"):
        list(read_pairs(path))
