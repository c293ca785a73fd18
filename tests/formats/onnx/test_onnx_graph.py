import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compact_labse import load
from compact_labse.formats.contract import INPUTS, IR_VERSION, OPSET, OUTPUTS, Facts
from compact_labse.formats.onnx import graph as onnx_graph
from compact_labse.formats.onnx import weights as onnx_weights
from compact_labse.formats.onnx.graph import graph_of, save, stamp, static_graph
from compact_labse.tokens import pad

TEXTS = ["The train leaves at nine.", "", "Die Bäckerei an der Ecke verkauft auch frischen Kaffee.", "明天", "x" * 300]
FACTS = Facts(dim=16, pooling="mean", dtype="fp32", recipe="float")


def run(model, ids, mask):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True)))


def feed(encoder, texts):
    return pad(encoder.tokenize(texts), encoder.tokens.pad_id)


def assert_contract(model, dim):
    axes = {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in
            [*model.graph.input, *model.graph.output]}  # fmt: skip
    assert list(axes) == [*INPUTS, *OUTPUTS]
    assert all(axes[name] == ["batch", "tokens"] for name in INPUTS)
    assert axes[OUTPUTS[0]][:2] == ["batch", "tokens"]
    assert axes[OUTPUTS[1]] == ["batch", dim]
    assert {value.type.tensor_type.elem_type for value in model.graph.input} == {onnx.TensorProto.INT64}
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {onnx.TensorProto.FLOAT}
    assert model.ir_version == IR_VERSION
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]


def assert_same(encoder, model):
    for texts in (TEXTS[:1], TEXTS[1:], TEXTS):
        ids, mask = feed(encoder, texts)
        tokens, sentences = run(model, ids, mask)
        assert tokens.shape[:2] == ids.shape
        assert (sentences * encoder.forward(ids, mask)).sum(1).min() > 0.999999
        np.testing.assert_allclose(np.linalg.norm(sentences, axis=1), 1, atol=1e-5)


def test_a_traced_transformer_keeps_the_contract_and_the_vectors(traced):
    folder, model = traced
    encoder = load(folder)
    assert_contract(model, encoder.dim)
    assert_same(encoder, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labse", "electra", "distilbert", "xlmr", "mpnet"])
def test_every_architecture_is_traced(tiny, name):
    encoder = load(tiny(name))
    model = graph_of(encoder)
    assert_contract(model, encoder.dim)
    assert_same(encoder, model)


def test_clients_that_take_cls_and_normalise_read_labse_from_the_token_vectors(tiny):
    """Where Dense follows CLS pooling, it is applied to every token, so that such clients get the true vector."""
    encoder = load(tiny("labse"))
    ids, mask = feed(encoder, TEXTS)
    tokens, sentences = run(graph_of(encoder), ids, mask)
    first = tokens[:, 0] / np.linalg.norm(tokens[:, 0], axis=1, keepdims=True)
    np.testing.assert_allclose(first, sentences, atol=1e-6)


def test_a_bag_of_tokens_is_built_by_hand(tiny):
    encoder = load(tiny("static"))
    model = graph_of(encoder)
    assert_contract(model, encoder.dim)
    assert len(model.graph.node) == 10
    assert_same(encoder, model)


def test_a_bag_without_any_token_gives_zeros_not_nan():
    model = static_graph(np.ones((3, 4), np.float32))
    ids = np.zeros((2, 3), np.int64)
    sentences = run(model, ids, np.array([[1, 0, 0], [0, 0, 0]]))[1]
    np.testing.assert_allclose(sentences, [[0.5] * 4, [0] * 4])


def test_tracing_leaves_the_attention_of_the_model_as_it_was(traced):
    folder, _ = traced
    transformer = load(folder).module.body.transformer
    before = transformer.config._attn_implementation
    with onnx_graph._eager_attention(load(folder).module):
        pass
    module = load(folder).module
    with onnx_graph._eager_attention(module):
        assert module.body.transformer.config._attn_implementation == "eager"
    assert module.body.transformer.config._attn_implementation == before != "eager"


def test_a_saved_file_holds_the_facts_and_no_path_of_this_machine(traced, tmp_path):
    model = onnx.ModelProto()
    model.CopyFrom(traced[1])
    stamp(model, FACTS)
    stamp(model, FACTS)
    save(model, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(traced[0]).encode() not in content
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert Facts.read(session.get_modelmeta().custom_metadata_map, "model") == FACTS


def test_shapes_of_inner_values_are_left_out_because_they_lead_to_a_slower_fusion(traced, tmp_path):
    save(traced[1], tmp_path / "model.onnx")
    assert traced[1].graph.value_info
    assert not onnx.load(tmp_path / "model.onnx").graph.value_info


def test_weights_beyond_the_limit_of_a_protobuf_lie_beside_the_file(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "ONE_FILE", 1000)
    monkeypatch.setattr(onnx_weights, "LARGE", 1000)
    encoder = load(tiny("static"))
    save(graph_of(encoder), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx_data").stat().st_size > 1000
    moved = shutil.move(tmp_path, tmp_path.parent / "elsewhere")
    session = ort.InferenceSession(f"{moved}/model.onnx", providers=["CPUExecutionProvider"])
    ids, mask = feed(encoder, TEXTS)
    found = session.run([OUTPUTS[1]], dict(zip(INPUTS, (ids, mask, 0 * ids), strict=True)))[0]
    np.testing.assert_allclose(found, encoder.forward(ids, mask), atol=1e-6)


def test_weights_go_to_a_second_file_when_asked(tmp_path):
    model = onnx_graph.static_graph(np.ones((5000, 64), np.float32))
    save(model, tmp_path / "model.onnx", external=True)
    assert (tmp_path / "model.onnx_data").stat().st_size >= 5000 * 64 * 4 > (tmp_path / "model.onnx").stat().st_size


@pytest.mark.parametrize("spare", [0, -1])
def test_a_model_of_exactly_the_limit_is_one_file(tmp_path, monkeypatch, spare):
    model = static_graph(np.ones((100, 8), np.float32))
    monkeypatch.setattr(onnx_graph, "ONE_FILE", sum(map(onnx_weights.size_of, model.graph.initializer)) + spare)
    monkeypatch.setattr(onnx_weights, "LARGE", 1000)
    save(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx_data").exists() == (spare < 0)
    assert len(model.graph.initializer[0].raw_data) == 3200  # what is saved is not changed
