"""What other people's tools say of our graphs: onnx.checker with shape inference, and onnxslim."""

import numpy as np
import onnx
import pytest

from compact_labse import load
from compact_labse.formats.contract import IR_VERSION, OPSET, OUTPUTS
from compact_labse.formats.onnx.edit import CONTRIB
from compact_labse.formats.onnx.graph import static_graph
from compact_labse.formats.onnx.half import halve
from compact_labse.formats.onnx.quantize import Calibration, quantize
from tests.formats.onnx.test_onnx_quantize import TEXTS, feed, session_of

# Operators of ONNX Runtime's own that its builds for phones and browsers have as well.
OWN = {"MatMulIntegerToFloat", "Gelu", "MatMulNBits", "DynamicQuantizeMatMul"}


@pytest.fixture(scope="module")
def made(traced):
    """Every format of the tiny transformer by name, and its encoder."""
    folder, model = traced
    encoder = load(folder)
    found = Calibration(model, [feed(encoder, TEXTS[:16])])
    recipes = ("rows", "static", "blocks-32", "dynamic")
    graphs = {name: quantize(model, recipe=name, table_bits=8, plans=found.plans(name)) for name in recipes}
    graphs |= {f"table {bits}": quantize(static_graph(np.ones((300, 16))), recipe="tables", table_bits=bits)
               for bits in (8, 4, 3)}  # fmt: skip
    return encoder, {"float": model, "half": halve(model), **graphs}


def test_the_checker_takes_every_format_and_all_declare_what_they_use(made):
    for name, model in made[1].items():
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == IR_VERSION
        versions = {entry.domain: entry.version for entry in model.opset_import}
        own = {node.op_type for node in model.graph.node if node.domain == CONTRIB}
        assert versions == {"": OPSET, **({CONTRIB: 1} if own else {})}, name
        assert own <= OWN
        assert {node.domain for node in model.graph.node} <= {"", CONTRIB}
        if name in ("float", "half", "static") or name.startswith("table"):
            assert own <= {"Gelu"}


@pytest.mark.parametrize("name", ["float", "rows"])
def test_onnxslim_changes_no_vector_and_finds_nothing_more_the_second_time(made, name):
    onnxslim = pytest.importorskip("onnxslim")
    encoder, graphs = made
    once = onnxslim.slim(graphs[name])
    twice = onnxslim.slim(once)
    assert [node.op_type for node in twice.graph.node] == [node.op_type for node in once.graph.node]
    vectors = [session_of(model).run([OUTPUTS[1]], feed(encoder, TEXTS[:8]))[0] for model in (graphs[name], once)]
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.99999
