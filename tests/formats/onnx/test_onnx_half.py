import numpy as np
import onnx
import onnxruntime as ort

from compact_labse import load, sample
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.onnx.graph import static_graph
from compact_labse.formats.onnx.half import halve
from compact_labse.tokens import pad

TEXTS = [text for group in sample.parallel("test").values() for text in group[:3]]


def run(model, ids, mask):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True)))


def test_matrices_are_half_and_vectors_are_not(traced):
    folder, model = traced
    half, encoder = halve(model), load(folder)
    for tensor in half.graph.initializer:
        large = len(tensor.dims) == 2 and np.prod(tensor.dims) >= 1024
        assert not large or tensor.data_type == onnx.TensorProto.FLOAT16
    assert half.ByteSize() < 0.8 * model.ByteSize()
    onnx.checker.check_model(half, full_check=True)
    found = run(half, *pad(encoder.tokenize(TEXTS), encoder.tokens.pad_id))[1]
    assert found.dtype == np.float32
    assert (found * encoder.encode(TEXTS)).sum(1).min() > 0.99999


def test_a_table_gives_its_rows_rounded_once():
    table = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    ids = np.array([[3, 199, 7]])
    np.testing.assert_array_equal(
        run(halve(static_graph(table)), ids, np.ones_like(ids))[0], table.astype(np.float16)[ids]
    )


def test_values_that_float16_cannot_hold_stay_float32():
    table = np.full((200, 8), 7e4, np.float32)
    half = halve(static_graph(table))
    assert half.graph.initializer[0].data_type == onnx.TensorProto.FLOAT
