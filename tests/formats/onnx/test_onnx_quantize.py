import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compact_labse import load, sample
from compact_labse.errors import UserError
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.integers import columns8, table8, table_small, untable_small
from compact_labse.formats.onnx import linear as onnx_linear
from compact_labse.formats.onnx.edit import Edit
from compact_labse.formats.onnx.graph import save, static_graph
from compact_labse.formats.onnx.quantize import INVARIANT, has_linears, make_plans, quantize
from compact_labse.formats.onnx.row_plan import RowPlan, quantized
from compact_labse.tokens import pad

TEXTS = [text for group in sample.parallel("test").values() for text in group[:3]]


def feed(encoder, texts):
    ids, mask = pad(encoder.tokenize(texts), encoder.tokens.pad_id)
    return dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True))


def session_of(model):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def case(traced):
    """Encoder, float32 graph, and plans from calibration text."""
    folder, model = traced
    encoder = load(folder)
    texts = [text for group in sample.parallel("calibration").values() for text in group[:2]]
    return encoder, model, make_plans(model, [feed(encoder, texts)])


def cosines(model, encoder, texts=TEXTS):
    found = session_of(model).run([OUTPUTS[1]], feed(encoder, texts))[0]
    return (found * encoder.encode(texts)).sum(1)


@pytest.mark.parametrize("recipe", [*INVARIANT, "dynamic"])
def test_every_recipe_stays_near_its_source_and_is_smaller(case, recipe):
    encoder, model, plans = case
    small = quantize(model, recipe=recipe, table_bits=8, plans=plans)
    assert cosines(small, encoder).min() > 0.997
    assert small.ByteSize() < model.ByteSize()


def test_the_source_graph_is_not_changed(case):
    _, model, plans = case
    before = model.SerializeToString(deterministic=True)
    quantize(model, recipe="rows", table_bits=4, plans=plans)
    assert model.SerializeToString(deterministic=True) == before


def test_a_layer_by_rows_computes_what_the_plan_says(case):
    """The graph's first layer against numpy: same codes, same integer product, same scales."""
    encoder, model, plans = case
    first = Edit(model).linears()[0]
    plan = RowPlan(width=16, zero=40, smooth_K=np.linspace(0.5, 2, 16).astype(np.float32))
    small = quantize(model, recipe="rows", table_bits=8, plans={**plans, first.activation: plan})
    for name in (first.activation, first.node.output[0]):
        small.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    x, found = session_of(small).run([first.activation, first.node.output[0]], feed(encoder, TEXTS[:4]))
    codes, scale = columns8(Edit(model).array(first.weight) * plan.smooth_K[:, None])
    expected = (quantized(x.reshape(-1, 16), plan) @ codes.astype(np.float32)) * scale
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-2 * np.abs(expected).max())
    assert np.mean(np.abs(found.reshape(expected.shape) - expected)) < 1e-3


@pytest.mark.parametrize("recipe", ["rows", "tables"])
def test_a_text_has_the_same_vector_in_every_batch(case, recipe):
    encoder, model, plans = case
    session = session_of(quantize(model, recipe=recipe, table_bits=8, plans=plans))
    together = session.run([OUTPUTS[1]], feed(encoder, TEXTS))[0]
    alone = np.concatenate([session.run([OUTPUTS[1]], feed(encoder, [text]))[0] for text in TEXTS])
    assert (alone * together).sum(1).min() > 0.99999


def test_dynamic_quantization_gives_a_text_another_vector_in_every_batch(case):
    encoder, model, _ = case
    session = session_of(quantize(model, recipe="dynamic", table_bits=8))
    together = session.run([OUTPUTS[1]], feed(encoder, TEXTS))[0]
    alone = np.concatenate([session.run([OUTPUTS[1]], feed(encoder, [text]))[0] for text in TEXTS])
    assert (alone * together).sum(1).min() < 0.9999


def test_gelu_becomes_one_node_and_means_the_same(case):
    encoder, model, _ = case
    edit = Edit(model)
    onnx_linear.fuse_gelu(edit)
    fused = edit.finish()
    kinds = [node.op_type for node in fused.graph.node]
    assert kinds.count("Gelu") == 2
    assert "Erf" not in kinds
    assert cosines(fused, encoder).min() > 0.999999


def test_only_products_of_tokens_with_constants_are_quantized(case):
    _, model, _ = case
    names = {linear.weight for linear in Edit(model).linears()}
    assert len(names) == 12  # of two layers: query, key, value, output, and two of the feed-forward network
    assert len([node for node in model.graph.node if node.op_type == "MatMul"]) == 16


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_a_static_table_in_few_bits_gives_the_vectors_of_the_restored_table(bits):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(300, 32)).astype(np.float32)
    small = quantize(static_graph(table), recipe="tables", table_bits=bits)
    assert not has_linears(static_graph(table))
    restored = np.multiply(*table8(table)) if bits == 8 else untable_small(*table_small(table, bits), bits)
    ids, mask = rng.integers(0, 300, (5, 7)), np.ones((5, 7), np.int64)
    mask[2, 3:] = 0
    tokens, sentences = session_of(small).run(list(OUTPUTS), dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True)))
    np.testing.assert_allclose(tokens, restored[ids], atol=1e-5)
    expected = (restored[ids] * mask[..., None]).sum(1)
    np.testing.assert_allclose(sentences, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    codes = [tensor for tensor in small.graph.initializer if f"__int{bits}" in tensor.name]
    assert sum(len(tensor.raw_data) for tensor in codes) == 300 * 32 * bits // 8
    assert {entry.domain for entry in small.opset_import} == {""}  # any runtime reads it


def test_a_table_that_cannot_be_packed_is_refused():
    with pytest.raises(
        UserError, match="a table of 4 bits needs a dimension that 2 divides, this one has 5: use --int8"
    ):
        quantize(static_graph(np.ones((300, 5), np.float32)), recipe="tables", table_bits=4)


def test_an_unknown_recipe_is_named():
    with pytest.raises(UserError, match="unknown recipe 'magic', expected one of rows, blocks-128"):
        quantize(static_graph(np.ones((3, 4), np.float32)), recipe="magic", table_bits=8)


RUN = """
import sys
import numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(session.run(["sentence_embedding"], dict(np.load(sys.argv[2])))[0].tobytes().hex())
"""


@pytest.mark.slow
def test_rows_give_the_same_vectors_on_a_cpu_without_vnni(case, tmp_path):
    """8-bit products of older CPUs saturate: scales that ignore this cost 0.01 of cosine there, and only there."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None:
        pytest.skip("needs the emulator qemu-x86_64 (Debian: qemu-user)")
    encoder, model, plans = case
    save(quantize(model, recipe="rows", table_bits=8, plans=plans), tmp_path / "model.onnx")
    np.savez(tmp_path / "feed.npz", **feed(encoder, TEXTS[:8]))
    paths = f"import sys; sys.path[:] = {sys.path!r}\n"
    command = [sys._base_executable, "-c", paths + RUN, str(tmp_path / "model.onnx"), str(tmp_path / "feed.npz")]
    vectors = [
        np.frombuffer(
            bytes.fromhex(subprocess.run(line, check=True, capture_output=True, text=True).stdout), np.float32
        )
        for line in (command, [emulator, "-cpu", "Haswell", *command])
    ]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
