"""What a `.tflite` file says about itself: its facts, its operators, whether it is whole. Needs only ai_edge_litert.

The facts lie in the file as flatbuffer metadata, a JSON object under the name `compact_labse`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.errors import UserError
from compact_labse.formats.contract import Facts

NAME = "compact_labse"
MAGIC = b"TFL3"
LIMIT = 2**31 - 1  # bytes: offsets in a flatbuffer are signed 32-bit numbers


def read_facts(path: Path) -> Facts:
    """The facts in a file; UserError if it is damaged or was not written by this package."""
    with _opened(path) as model:
        found = {entry.Name(): entry.Buffer() for entry in map(model.Metadata, range(model.MetadataLength()))}
        number = found.get(NAME.encode())
        if number is None:
            raise UserError(
                f"{path} has no metadata {NAME!r}: it was not written by `compact-labse export`, or by an older "
                f"version; export the model again."
            )
        content = json.loads(bytes(model.Buffers(number).DataAsNumpy()))
    return Facts.read(content, path)


def operators(path: Path) -> set[str]:
    """The names of the operators in a file; custom ones (Flex among them) as `CUSTOM:<name>`."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    with _opened(path) as model:
        codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
        return {
            f"CUSTOM:{code.CustomCode().decode()}" if code.CustomCode() else names[_builtin(code)] for code in codes
        }


def refuse_custom(path: Path) -> None:
    """UserError if a file needs operators that not every TFLite runtime has, Flex ones above all."""
    custom = sorted(name for name in operators(path) if name.startswith("CUSTOM:"))
    if custom:
        raise UserError(f"{path.name} was not written: it needs operators that phones do not have: {', '.join(custom)}")


def with_metadata(content: bytes, entries: Mapping[str, bytes], description: str = "") -> bytes:
    """A model's bytes with named metadata added, in place of those of the same name."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for buffer in model.buffers:
        if buffer.offset > 1:  # behind the flatbuffer, where quantizers put large weights and packing would lose them
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    model.metadata = [entry for entry in model.metadata or [] if entry.name.decode() not in entries]
    for name, data in entries.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(data, np.uint8)
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    model.description = description or model.description
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=MAGIC)
    return bytes(builder.Output())


def facts_entry(facts: Facts) -> dict[str, bytes]:
    """The facts as an entry for `with_metadata`."""
    return {NAME: json.dumps(facts.properties(), ensure_ascii=False).encode()}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The flatbuffer of a file, mapped and found whole; UserError if it is not."""
    from ai_edge_litert import schema_py_generated as schema

    size = path.stat().st_size
    with open(path, "rb") as file:
        if size < 64 or file.read(8)[4:] != MAGIC:
            raise UserError(f"{path} ({size:,} bytes) is not a TFLite model: copy or export it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            try:
                model = schema.Model.GetRootAs(mapped)
                whole = all(_fits(model.Buffers(number), size) for number in range(model.BuffersLength()))
                if not whole or not model.SubgraphsLength():
                    raise ValueError("it ends before its weights do")
                yield model
            except UserError:
                raise
            except Exception as error:  # a flatbuffer with wrong offsets fails in many ways
                raise UserError(f"{path} ({size:,} bytes) is not a whole TFLite model: {error}") from error


def _fits(buffer: Any, size: int) -> bool:
    if buffer.Offset() > 1:  # weights outside of the flatbuffer, as large files have them
        return buffer.Offset() + buffer.Size() <= size
    place = buffer._tab.Offset(4)
    return not place or buffer._tab.Vector(place) + buffer.DataLength() <= size


def _builtin(code: Any) -> int:
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
