"""Exporting with the weights in a file: the same artifacts as with the weights in memory."""

import numpy as np
import onnx
import pytest

from compact_labse import load, sample
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.onnx import graph as onnx_graph
from compact_labse.formats.onnx import weights as onnx_weights
from compact_labse.formats.onnx.half import halve
from compact_labse.formats.onnx.quantize import Calibration, quantize
from compact_labse.tokens import pad
from tests.formats.onnx.test_onnx_quantize import session_of


@pytest.fixture(scope="module")
def spilled(traced, tmp_path_factory):
    """The graph of the tiny transformer twice: weights in memory, and weights in a file."""
    folder, model = traced
    place = tmp_path_factory.mktemp("spill")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "SPILL", 0)
        found = onnx_graph.graph_of(load(folder, device="cpu"), place)
    return load(folder), model, found


def feed(encoder, count=8):
    texts = [text for group in sample.parallel("calibration").values() for text in group[:1]][:count]
    ids, mask = pad(encoder.tokenize(texts), encoder.tokens.pad_id)
    return dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True))


def test_a_graph_without_its_weights_is_small_and_has_the_same_constants(spilled):
    _, model, found = spilled
    assert onnx_weights.spill_folder(model) is None
    assert onnx_weights.spill_folder(found) is not None
    assert found.ByteSize() < model.ByteSize() - 10_000
    values = {t.name: onnx_weights.array_of(t) for t in found.graph.initializer}
    for tensor in model.graph.initializer:
        np.testing.assert_array_equal(values[tensor.name], onnx_weights.array_of(tensor))


@pytest.mark.parametrize("kind", ["float", "half", "rows", "static", "blocks-32"])
def test_every_recipe_makes_the_same_file_of_it(spilled, tmp_path, kind):
    encoder, model, found = spilled

    def made(source):
        if kind == "float":
            return source
        if kind == "half":
            return halve(source)
        plans = Calibration(source, [feed(encoder)]).plans(kind) if kind in ("rows", "static") else {}
        return quantize(source, recipe=kind, table_bits=8, plans=plans)

    onnx_graph.save(made(model), tmp_path / "memory.onnx")
    onnx_graph.save(made(found), tmp_path / "file.onnx")
    assert not (tmp_path / "file.onnx_data").exists()
    vectors = [session_of(onnx.load(tmp_path / f"{name}.onnx")).run([OUTPUTS[1]], feed(encoder))[0]
               for name in ("memory", "file")]  # fmt: skip
    np.testing.assert_array_equal(*vectors)
    assert onnx_weights.spill_folder(found) is not None  # the graph can be used again


def test_weights_go_from_file_to_file(spilled, tmp_path):
    encoder, model, found = spilled
    onnx_graph.save(found, tmp_path / "model.onnx", external=True)
    slim = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    entries = [{e.key: e.value for e in t.external_data} for t in slim.graph.initializer if t.external_data]
    assert {entry["location"] for entry in entries} == {"model.onnx_data"}
    assert all(int(entry["offset"]) % onnx_weights.ALIGNMENT == 0 for entry in entries)
    whole = onnx.load(tmp_path / "model.onnx")
    vectors = [session_of(source).run([OUTPUTS[1]], feed(encoder))[0] for source in (whole, model)]
    np.testing.assert_allclose(*vectors, atol=1e-6)
