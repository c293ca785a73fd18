import json

import numpy as np
import pytest

from compact_labse import load
from compact_labse.cli import main
from compact_labse.errors import GateError, UserError
from compact_labse.folder import model_hash, sha256_file
from compact_labse.formats.tflite import file as tflite_file
from compact_labse.formats.tflite import graph as tflite_graph
from compact_labse.pipelines import load_pipeline

pytest.importorskip("ai_edge_litert", reason="needs the extra 'tflite'")
tf = pytest.importorskip("tensorflow", reason="needs the extra 'tensorflow'")
PIPELINE = load_pipeline("export", "tflite_export")


def export(**config):
    return PIPELINE.run(PIPELINE.TFLiteExport(**config))


@pytest.fixture
def static(tiny_copy):
    return tiny_copy("static")


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_export_lies_beside_its_model_with_what_was_measured(static):
    before = model_hash(static)
    folder = export(model=str(static), formats=("fp16", "int4"))
    assert folder == static / "tflite"
    assert {"model_fp16.tflite", "model_int4.tflite", "parity.json"} <= set(files(folder))
    assert model_hash(static) == before
    entry = json.loads((folder / "parity.json").read_text())["artifacts"]["model_int4.tflite"]
    assert entry["passed"] is entry["batch_invariant"] is True
    assert entry["converter"] == "tensorflow"
    assert entry["source"] == before
    assert entry["sha256"]["model_int4.tflite"] == sha256_file(folder / "model_int4.tflite")
    assert {"en", "th", "ar", "hard"} <= set(entry["languages"])
    assert [path.name for path in static.parent.iterdir()] == [static.name]  # nothing temporary is left
    assert (folder / "model_int4.tflite").stat().st_size < (folder / "model_fp16.tflite").stat().st_size


def test_a_damaged_twin_gets_no_name_and_leaves_nothing_behind(static, monkeypatch, capsys):
    from compact_labse.formats.tflite import tables as tflite_tables

    sound = tflite_tables.Table
    monkeypatch.setattr(
        tflite_tables, "Table", lambda table: sound(np.where(np.arange(len(table))[:, None] % 3 == 0, -table, table))
    )
    with pytest.raises(
        GateError, match=r"model\.tflite was not written, \d gates failed: .*worst_cosine is -?[01].* in"
    ):
        export(model=str(static))
    assert not (static / "tflite").exists()
    assert main(["export", str(static), "--tflite"]) == 3
    assert "error: model.tflite was not written" in capsys.readouterr().err


def test_an_operator_that_phones_lack_is_refused(static, monkeypatch):
    def flexible(*args):
        function = tf.function(tf.linalg.inv, input_signature=[tf.TensorSpec([2, 2])])
        made = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        return made.convert()

    monkeypatch.setattr(tflite_graph, "convert", flexible)
    with pytest.raises(UserError, match=r"needs operators that phones do not have: CUSTOM:FlexMatrixInverse"):
        export(model=str(static))
    assert not (static / "tflite").exists()


def test_a_failed_conversion_says_why_in_a_sentence():
    with pytest.raises(UserError, match="the converter failed: no such thing"), tflite_graph.quiet():
        raise ValueError("no such thing")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("labse", "electra", "distilbert", "xlmr", "mpnet")]


@pytest.mark.parametrize("name", ["minilm", *SLOW])
def test_every_architecture_passes_its_gates_in_one_file_of_any_shape(tiny, tmp_path, name):
    folder = export(model=str(tiny(name)), out=tmp_path / "out")
    source, encoder = load(tiny(name)), load(tmp_path / "out")
    texts = ["The train leaves at nine.", "", "明天", "x " * 40]
    assert (encoder.encode(texts) * source.encode(texts)).sum(1).min() > 0.999999
    assert not any(name.startswith("CUSTOM") for name in tflite_file.operators(folder / "model.tflite"))
    if name == "minilm":
        assert {"FULLY_CONNECTED", "EXP", "GATHER"} <= tflite_file.operators(folder / "model.tflite")


def test_integer_layers_and_tables_have_a_scale_a_row(tiny, tmp_path):
    """Converters give a table one scale for all rows, and scales themselves one scale: the rows' own must survive."""
    from ai_edge_litert import schema_py_generated as schema

    folder = export(
        model=str(tiny("minilm")), formats=("int8",), out=tmp_path / "out", loosen={"worst_cosine": 0.5}, reason="tiny"
    )
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((folder / "model_int8.tflite").read_bytes()))
    tensors = model.subgraphs[0].tensors
    codes = [tensor for tensor in tensors if tensor.type == schema.TensorType.INT8 and tensor.buffer]
    stored = [tensor for tensor in codes if model.buffers[tensor.buffer].data is not None]
    assert any(len(tensor.shape) == 2 and tensor.shape[0] > 400 for tensor in stored)
    quantized = [
        tensor.quantization.scale for tensor in stored if tensor.quantization and tensor.quantization.scale is not None
    ]
    assert all(len(scale) > 1 for scale in quantized)


def test_settings_are_checked(static):
    with pytest.raises(UserError, match="only for a reason, which is recorded: --reason TEXT"):
        PIPELINE.TFLiteExport(model="m", loosen={"worst_cosine": 0.5})
    with pytest.raises(
        UserError, match="unknown TFLite format 'fp7', expected some of fp32, fp16, int8, int8-static, int4"
    ):
        PIPELINE.TFLiteExport(model="m", formats=("fp7",))


def test_without_a_converter_both_extras_are_named(monkeypatch):
    monkeypatch.setattr(tflite_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"compact-labse\[tflite,tensorflow\].* or litert-torch.*\[litert-torch\]"):
        tflite_graph.converter_here()
