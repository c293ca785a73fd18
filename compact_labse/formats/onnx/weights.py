"""Weights of ONNX graphs that lie in a file, not in memory: a graph of gigabytes is then a few kilobytes and a map.

While a large model is exported, its float32 weights lie once in a `spill` file; constants refer to it by its absolute
path, are read through a memory map, and copied to their final file in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGE = 1 << 16  # bytes; smaller tensors stay in the graph
ALIGNMENT = 1 << 16  # bytes; what runtimes need to map a tensor instead of reading it
PIECE = 1 << 24  # bytes copied at a time


def is_spilled(tensor: onnx.TensorProto) -> bool:
    """Whether a constant's value lies in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def size_of(tensor: onnx.TensorProto) -> int:
    """The bytes of a constant's value."""
    return int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """The value of a constant, a read-only memory map if it lies in a file."""
    if not is_spilled(tensor):
        return numpy_helper.to_array(tensor)
    place, offset, _ = _where(tensor)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(place, dtype=kind, mode="r", offset=offset, shape=tuple(tensor.dims))


def read_spilled(path: Path) -> onnx.ModelProto:
    """A model whose constants stay in the data file beside it, and are found there from anywhere."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if is_spilled(tensor):
            place, offset, length = _where(tensor)
            _refer(tensor, str(path.parent.resolve() / place), offset, length)
    return model


def spill_folder(model: onnx.ModelProto) -> Path | None:
    """The folder that a model's constants lie in; None if they are all in memory."""
    places = [Path(_where(tensor)[0]) for tensor in model.graph.initializer if is_spilled(tensor)]
    return places[0].parent if places else None


def write_beside(model: onnx.ModelProto, name: str) -> Path:
    """Write a model that shares the constants of a spill file into that file's folder, where runtimes find them."""
    folder = spill_folder(model)
    assert folder is not None
    near = onnx.ModelProto()
    near.CopyFrom(model)
    for tensor in near.graph.initializer:
        if is_spilled(tensor):
            place, offset, length = _where(tensor)
            _refer(tensor, Path(place).name, offset, length)
    onnx.save(near, folder / name)
    return folder / name


def save_with_data(model: onnx.ModelProto, path: Path) -> None:
    """Write a model and, to `<name>_data` beside it, its large constants one after the other, aligned for mapping."""
    graph, data = model.graph, path.with_name(f"{path.name}_data")
    kept = list(graph.initializer)
    slim = [_moved(tensor, data) if size_of(tensor) >= LARGE or is_spilled(tensor) else tensor for tensor in kept]
    try:
        _set(graph, slim)
        onnx.save(model, path)
    finally:
        _set(graph, kept)


def bring_in(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself if no constant is spilled, else a copy with all of them in memory."""
    if spill_folder(model) is None:
        return model
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    _set(whole.graph, [numpy_helper.from_array(np.array(array_of(t)), t.name) for t in model.graph.initializer])
    return whole


def _moved(tensor: onnx.TensorProto, data: Path) -> onnx.TensorProto:
    """Append a constant's bytes to a file; gives the constant that refers to them."""
    value = array_of(tensor).reshape(-1).view(np.uint8)
    with open(data, "ab") as file:
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        offset = file.tell()
        for start in range(0, len(value), PIECE):
            file.write(value[start : start + PIECE].tobytes())
    moved = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    _refer(moved, data.name, offset, len(value))
    return moved


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _where(tensor: onnx.TensorProto) -> tuple[str, int, int]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return entries["location"], int(entries.get("offset", 0)), int(entries.get("length", size_of(tensor)))


def _set(graph: onnx.GraphProto, tensors: Iterable[onnx.TensorProto]) -> None:
    tensors = list(tensors)
    del graph.initializer[:]
    graph.initializer.extend(tensors)
