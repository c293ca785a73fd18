"""Weights of an ONNX graph in float16, arithmetic in float32: half the file, and nothing that a CPU cannot do.

A table's gathered rows become floats one by one, so it stays half in memory too; a matrix becomes float32 once, when
the runtime folds its cast. Vectors (biases, scales of normalisations) weigh nothing and stay float32. Computing in
float16 as well is what CPUs emulate by casting around every node: slower, less exact, and no smaller.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from compact_labse.formats.onnx.edit import Edit

LEAST_VALUES = 1024  # smaller matrices save less than their cast costs
LARGEST = float(np.finfo(np.float16).max)


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with its matrices and tables in float16; those with values that float16 cannot hold stay as they are."""
    edit = Edit(model)
    for tensor in model.graph.initializer:
        if not _suits(tensor):
            continue
        value = edit.array(tensor.name)
        if max(float(value.max()), -float(value.min())) > LARGEST:
            continue
        half = edit.constant(f"{tensor.name}__half", value.astype(np.float16))
        readers = edit.consumers(tensor.name)
        if all(node.op_type == "Gather" and node.input[0] == tensor.name for node in readers):
            for node in readers:
                rows = f"{node.output[0]}__half"
                gather = helper.make_node("Gather", [half, node.input[1]], [rows], axis=0)
                edit.replace(node, [gather, _float(rows, node.output[0])])
        else:
            edit.at_front(_float(half, f"{tensor.name}__float"))
            for node in readers:
                renamed = [f"{name}__float" if name == tensor.name else name for name in node.input]
                node.input[:] = renamed
    return edit.finish()


def _suits(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and int(np.prod(tensor.dims)) >= LEAST_VALUES


def _float(name: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [output], to=TensorProto.FLOAT)
