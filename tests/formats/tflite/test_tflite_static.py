import json
from collections import Counter

import numpy as np
import pytest

from compact_labse import load, sample
from compact_labse.cli import main
from compact_labse.errors import GateError, Unsuitable, UserError
from compact_labse.formats.contract import RANGES
from compact_labse.formats.static_plan import StaticPlan, kept, plan_of
from compact_labse.pipelines import load_pipeline
from compact_labse.tokens import pad

pytest.importorskip("ai_edge_litert", reason="needs the extra 'tflite'")
tf = pytest.importorskip("tensorflow", reason="needs the extra 'tensorflow'")
torch = pytest.importorskip("torch")

from compact_labse.formats.tf.graph import express  # noqa: E402
from compact_labse.formats.tflite import static as tflite_static  # noqa: E402
from compact_labse.formats.tflite.tables import maker  # noqa: E402

PIPELINE = load_pipeline("export", "tflite_export")
LOOSE = {"worst_cosine": 0.5, "language_cosine": 0.9, "neighbours": 0.5, "language_neighbours": 0.3}
TEXTS = [text for group in sample.parallel("calibration").values() for text in group[:12]]
RNG = np.random.default_rng(0)


def export(model, **config):
    return PIPELINE.run(PIPELINE.TFLiteExport(model=str(model), formats=("int8-static",), **config))


def operators(path):
    """Of each operator of a file: its name and the types of its first two inputs and its output."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        tensors = [graph.tensors[place] for place in (*operator.inputs[:2], operator.outputs[0])]
        kinds = tuple(types[tensor.type] for tensor in tensors)
        yield names[max(code.builtinCode, code.deprecatedBuiltinCode)], kinds, tensors


def test_tensorflow_rounds_as_the_plan_says():
    x = RNG.normal(size=(40, 9)).astype(np.float32) * 3
    for plan in (plan_of(-1.3, 5.2), plan_of(0, 2), plan_of(-0.17, 0)):
        np.testing.assert_allclose(tflite_static.within(tf.constant(x), plan).numpy(), kept(x, plan), atol=1e-5)


def test_observed_rows_are_what_goes_in_and_comes_out(tiny):
    encoder = load(tiny("labse"), device="cpu")
    seen = tflite_static.observed(encoder, TEXTS[:40])
    layers = dict(encoder.module.named_modules())
    assert len(seen) == 13 and set(seen) <= set(layers.values())  # 2 x 6 layers and the Dense
    for layer, (x_RK, y_RN) in seen.items():
        assert 40 <= len(x_RK) == len(y_RN) and np.abs(x_RK).max() > 0
        np.testing.assert_allclose(layer(torch.from_numpy(x_RK)).detach().numpy(), y_RN, atol=1e-5)


def test_rows_of_padding_are_never_seen(tiny, monkeypatch):
    encoder = load(tiny("minilm"), device="cpu")
    monkeypatch.setattr(tflite_static, "ROWS", 10**9)
    short, long = "a", "The train leaves at nine from the other side of the river."
    tokens = sum(map(len, encoder.tokenize([short, long])))
    assert {len(x) for x, _ in tflite_static.observed(encoder, [short, long]).values()} == {tokens}


def test_ranges_of_training_are_taken_for_inputs(tiny_copy):
    folder = tiny_copy("minilm")
    layer = "encoder.layer.1.intermediate.dense"
    (folder / RANGES).write_text(json.dumps({layer: [-1.5, 2.5]}))
    encoder = load(folder, device="cpu")
    found = tflite_static.ranges_of(encoder, TEXTS[:40])
    named = dict(encoder.module.body.transformer.named_modules())
    assert found[named[layer]].inputs == plan_of(-1.5, 2.5) and len(found) == 12
    assert sum(ranges.inputs == plan_of(-1.5, 2.5) for ranges in found.values()) == 1
    (folder / RANGES).write_text('{"encoder": 3}')
    with pytest.raises(UserError, match=r"ranges\.json is damaged: expected a pair of numbers for each layer"):
        tflite_static.ranges_of(encoder, TEXTS[:40])


def rounded(twin):
    """The twin with the kernels of its layers rounded as the converter does it, a step a column."""
    for part in twin.submodules:
        if isinstance(part, tflite_static.StaticLinear):
            kernel_KN = part.kernel.numpy()
            step_N = np.abs(kernel_KN).max(0) / 127
            part.kernel.assign(np.round(kernel_KN / step_N) * step_N)
    return twin


def test_the_file_computes_in_integers_what_the_plans_say(tiny, tmp_path):
    """All linear layers take and give integers, and their vectors are those of the rounded twin in float32."""
    folder = export(tiny("minilm"), out=tmp_path / "out", loosen=LOOSE, reason="a tiny random model")
    found = list(operators(folder / "model_int8_static.tflite"))
    kinds = Counter((name, types) for name, types, _ in found if name == "FULLY_CONNECTED")
    assert kinds == {("FULLY_CONNECTED", ("INT8", "INT8", "INT8")): 12}
    for weight in (tensors[1] for name, _, tensors in found if name == "FULLY_CONNECTED"):
        assert len(weight.quantization.scale) == weight.shape[0] > 1  # one for each output
    source, encoder = load(tiny("minilm"), device="cpu"), load(folder / "model_int8_static.tflite")
    linear = tflite_static.maker_of(source, TEXTS)
    twin = rounded(express(source.module, maker("int8", source.module.body.rows), tflite_static.StaticBlock, linear))
    texts = ["The train leaves at nine.", "", "明天", "x " * 40]
    ids, mask = pad(source.tokenize(texts), source.tokens.pad_id)
    oracle = twin(*(tf.constant(x, tf.int32) for x in (ids, mask, 0 * ids)))[1].numpy()
    ours = encoder.encode(texts)
    assert (ours * oracle).sum(1).min() > 0.9995
    assert 1 - (ours * oracle).sum(1).min() < 0.5 * (1 - (ours * source.encode(texts)).sum(1).min())


def test_ranges_that_hold_nothing_fail_the_gates(tiny_copy, capsys):
    folder = tiny_copy("minilm")
    layers = load(folder, device="cpu").module.body.transformer.named_modules()
    ranges = {name: [-1e-3, 1e-3] for name, layer in layers if isinstance(layer, torch.nn.Linear)}
    (folder / RANGES).write_text(json.dumps(ranges))
    with pytest.raises(GateError, match=r"model_int8_static\.tflite was not written, \d gates failed"):
        export(folder, loosen=LOOSE, reason="a tiny random model")
    assert not (folder / "tflite").exists()
    assert "ranges of 12 layers' inputs as they were learned in training" in capsys.readouterr().err


def test_what_has_no_fixed_ranges_is_refused_and_left_out_of_all(tiny, tmp_path, monkeypatch, capsys):
    with pytest.raises(Unsuitable, match="there is nothing for --int8-static to do"):
        export(tiny("static"), out=tmp_path / "out")
    words = ["export", str(tiny("static")), "--tflite", "--int8-static", "--out", str(tmp_path / "out")]
    assert main(words) == 2 and "is a table without linear layers" in capsys.readouterr().err
    with pytest.raises(Unsuitable, match="--int8-static needs TensorFlow: pip install"):
        export(tiny("minilm"), out=tmp_path / "out", converter="litert_torch")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_keeps_zero():
    assert kept(np.zeros(1, np.float32), StaticPlan(scale=0.1, zero=7)).item() == 0
