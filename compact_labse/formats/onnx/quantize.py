"""Quantize an ONNX graph: the recipes for linear layers by name, and what they must learn from calibration text.

Shapes: R rows (tokens), K inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from compact_labse.errors import UserError
from compact_labse.formats.contract import INPUTS
from compact_labse.formats.onnx import linear as onnx_linear
from compact_labse.formats.onnx.edit import Edit
from compact_labse.formats.onnx.row_plan import plan_rows
from compact_labse.formats.onnx.tables import quantize_tables
from compact_labse.formats.onnx.weights import spill_folder, write_beside
from compact_labse.formats.static_plan import plan_static

CALIBRATION_ROWS = 512
Plans = Mapping[str, Any]  # RowPlan for rows, StaticPlan for static
Planner = Callable[[np.ndarray, Sequence[np.ndarray]], Any]
Feed = Mapping[str, np.ndarray]

_LINEAR: dict[str, Callable[[Edit, Plans], None]] = {
    "rows": onnx_linear.rows,
    "blocks-128": lambda edit, plans: onnx_linear.blocks(edit, 128),
    "blocks-64": lambda edit, plans: onnx_linear.blocks(edit, 64),
    "blocks-32": lambda edit, plans: onnx_linear.blocks(edit, 32),
    "blocks4-32": lambda edit, plans: onnx_linear.blocks(edit, 32, bits=4),
    "tables": lambda edit, plans: None,
    "static": onnx_linear.static,
    "dynamic": lambda edit, plans: onnx_linear.dynamic(edit),
}
# Batch-invariant recipes, fastest first; export/README.md has the measurements.
INVARIANT = ("rows", "blocks-128", "blocks-64", "blocks-32", "tables")


def has_linears(model: onnx.ModelProto) -> bool:
    """Whether a model has layers to quantize beside its tables; a bag of tokens has none."""
    return bool(Edit(model).linears())


PLANNERS: dict[str, Planner] = {"rows": plan_rows, "static": plan_static}


def make_plans(model: onnx.ModelProto, feeds: Iterable[Feed], recipe: str = "rows") -> dict[str, Any]:
    """How a recipe quantizes every activation, chosen on what calibration batches bring there."""
    return Calibration(model, feeds).plans(recipe)


class Calibration:
    """The activations of a float32 graph on calibration text, computed once for all recipes."""

    def __init__(self, model: onnx.ModelProto, feeds: Iterable[Feed]) -> None:
        edit = Edit(model)
        self._weights: dict[str, list[np.ndarray]] = {}
        for linear in edit.linears():
            self._weights.setdefault(linear.activation, []).append(edit.array(linear.weight))
        self._rows = _activations(model, list(self._weights), feeds)
        self._plans: dict[str, dict[str, Any]] = {}

    def plans(self, recipe: str) -> dict[str, Any]:
        """The plans of a recipe, {} for one that needs none; made once."""
        if recipe not in PLANNERS:
            return {}
        if recipe not in self._plans:
            plan = PLANNERS[recipe]
            self._plans[recipe] = {name: plan(self._rows[name], found) for name, found in self._weights.items()}
        return self._plans[recipe]


def quantize(model: onnx.ModelProto, *, recipe: str, table_bits: int, plans: Plans | None = None) -> onnx.ModelProto:
    """A quantized copy: linear layers by `recipe` (some need the plans of `make_plans`), tables in `table_bits`."""
    if recipe not in _LINEAR:
        raise UserError(f"unknown recipe {recipe!r}, expected one of {', '.join(_LINEAR)}")
    edit = Edit(model)
    _LINEAR[recipe](edit, plans or {})
    quantize_tables(edit, table_bits)
    if recipe != "tables":
        onnx_linear.fuse_gelu(edit)
    return edit.finish()


def quantize_mixed(
    model: onnx.ModelProto, recipes: Mapping[str, str], table_bits: int | None, plans: Plans
) -> onnx.ModelProto:
    """A copy in which each linear layer has a recipe of its own, by the name of its output; others stay float32.

    `plans` are those of "rows"; tables stay as they are if `table_bits` is None.
    """
    edit = Edit(model)
    for recipe in sorted(set(recipes.values())):
        edit.only = {name for name, wanted in recipes.items() if wanted == recipe}
        _LINEAR[recipe](edit, plans)
    if table_bits is not None:
        quantize_tables(edit, table_bits)
    onnx_linear.fuse_gelu(edit)
    return edit.finish()


def _activations(model: onnx.ModelProto, names: list[str], feeds: Iterable[Feed]) -> dict[str, np.ndarray]:
    """Up to 512 rows `[R, K]` of each named value, drawn evenly from the real tokens of all batches."""
    if not names:
        return {}
    feeds = list(feeds)
    kept = _evenly(sum(int(feed[INPUTS[1]].sum()) for feed in feeds))
    session, before = _probe(model, names), 0
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for feed in feeds:
        real_BT = feed[INPUTS[1]].astype(bool)
        tokens = int(real_BT.sum())
        rows = kept[(kept >= before) & (kept < before + tokens)] - before
        for name, value_BTK in zip(names, session.run(names, dict(feed)), strict=True):
            found[name].append(value_BTK[real_BT][rows])
        before += tokens
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _probe(model: onnx.ModelProto, names: list[str]) -> ort.InferenceSession:
    """A session that gives the named inner values."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    spilled = spill_folder(model) is not None
    source = str(write_beside(probe, "probe.onnx")) if spilled else probe.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _evenly(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, CALIBRATION_ROWS)).astype(int)
