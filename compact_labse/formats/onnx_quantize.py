"""Quantize an ONNX graph: the recipes for linear layers by name, and what they must learn from calibration text.

Shapes: R rows (tokens), K inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from compact_labse.errors import UserError
from compact_labse.formats import onnx_linear
from compact_labse.formats.contract import INPUTS
from compact_labse.formats.onnx_edit import Edit
from compact_labse.formats.onnx_tables import quantize_tables
from compact_labse.formats.row_plan import RowPlan, plan_rows

CALIBRATION_ROWS = 512
Plans = Mapping[str, RowPlan]
Feed = Mapping[str, np.ndarray]

_LINEAR: dict[str, Callable[[Edit, Plans], None]] = {
    "rows": onnx_linear.rows,
    "blocks-128": lambda edit, plans: onnx_linear.blocks(edit, 128),
    "blocks-64": lambda edit, plans: onnx_linear.blocks(edit, 64),
    "blocks-32": lambda edit, plans: onnx_linear.blocks(edit, 32),
    "tables": lambda edit, plans: None,
    "dynamic": lambda edit, plans: onnx_linear.dynamic(edit),
}
# Batch-invariant recipes, fastest first; export/README.md has the measurements.
INVARIANT = ("rows", "blocks-128", "blocks-64", "blocks-32", "tables")


def has_linears(model: onnx.ModelProto) -> bool:
    """Whether a model has layers to quantize beside its tables; a bag of tokens has none."""
    return bool(Edit(model).linears())


def make_plans(model: onnx.ModelProto, feeds: Iterable[Feed]) -> dict[str, RowPlan]:
    """How to quantize the rows of every activation, chosen on what calibration batches bring there."""
    edit = Edit(model)
    weights: dict[str, list[np.ndarray]] = {}
    for linear in edit.linears():
        weights.setdefault(linear.activation, []).append(edit.array(linear.weight))
    seen = _activations(model, list(weights), feeds)
    return {name: plan_rows(seen[name], matrices) for name, matrices in weights.items()}


def quantize(model: onnx.ModelProto, *, recipe: str, table_bits: int, plans: Plans | None = None) -> onnx.ModelProto:
    """A quantized copy: linear layers by `recipe`, tables in `table_bits`; `rows` needs the plans of `make_plans`."""
    if recipe not in _LINEAR:
        raise UserError(f"unknown recipe {recipe!r}, expected one of {', '.join(_LINEAR)}")
    edit = Edit(model)
    _LINEAR[recipe](edit, plans or {})
    quantize_tables(edit, table_bits)
    if recipe != "tables":
        onnx_linear.fuse_gelu(edit)
    return edit.finish()


def _activations(model: onnx.ModelProto, names: list[str], feeds: Iterable[Feed]) -> dict[str, np.ndarray]:
    """Up to 512 rows `[R, K]` of each named value, drawn evenly from the real tokens of all batches."""
    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for feed in feeds:
        real_BT = feed[INPUTS[1]].astype(bool)
        for name, value_BTK in zip(names, session.run(names, dict(feed)), strict=True):
            found[name].append(value_BTK[real_BT])
    return {name: _evenly(np.concatenate(rows)) for name, rows in found.items()}


def _evenly(rows_RK: np.ndarray) -> np.ndarray:
    kept = np.linspace(0, len(rows_RK) - 1, min(len(rows_RK), CALIBRATION_ROWS)).astype(int)
    return rows_RK[kept]
