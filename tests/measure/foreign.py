"""ONNX files of other exporters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def foreign_file(folder: Path, *, hungry: bool = False) -> Path:
    """`onnx/model.onnx` with two inputs, vectors of tokens, no metadata, no parity.json, in a folder with a tokenizer.

    A hungry one asks for ten terabytes whenever it runs.
    """
    from onnx import TensorProto, helper, numpy_helper

    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    table = np.random.default_rng(0).standard_normal((rows, 6), dtype=np.float32)
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("input_ids", "attention_mask")
    )
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "t", 6])
    gathered = helper.make_node("Gather", ["table", "input_ids"], ["rows" if hungry else "last_hidden_state"])
    weights, nodes = [numpy_helper.from_array(table, "table")], [gathered]
    if hungry:
        weights.append(numpy_helper.from_array(np.array([2_500_000_000_000, 1, 1, 1], np.int64), "shape"))
        nodes.append(helper.make_node("Expand", ["rows", "shape"], ["large"]))
        weights.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
        nodes.append(helper.make_node("ReduceMax", ["large", "axis"], ["last_hidden_state"], keepdims=0))
    graph = helper.make_graph(nodes, "foreign", [ids, mask], [out], weights)
    (folder / "onnx").mkdir(exist_ok=True)
    path = folder / "onnx" / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
