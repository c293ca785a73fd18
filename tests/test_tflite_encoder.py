import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.formats.contract import Facts
from compact_labse.formats.tflite import file as tflite_file
from compact_labse.pipelines import load_pipeline
from compact_labse.tflite_encoder import FixedRunner, TFLiteEncoder

pytest.importorskip("ai_edge_litert", reason="needs the extra 'tflite'")
pytest.importorskip("tensorflow", reason="needs the extra 'tensorflow'")

HARD = ["", "🎉", "nul\0inside", "lone \ud800 surrogate", "Straße 道路 طريق", "word " * 3000]
FACTS = Facts(dim=16, pooling="mean", dtype="fp32", recipe="float")


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A static model's folder with two TFLite exports and no weights: what a phone gets."""
    pipeline = load_pipeline("export", "tflite_export")
    out = tmp_path_factory.mktemp("exported") / "static"
    pipeline.run(pipeline.TFLiteExport(model=str(tiny("static")), formats=("fp32", "int8"), out=out))
    return out


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_load_opens_an_export_and_gives_the_vectors_of_its_source(exported, tiny):
    source = load(tiny("static"))
    for encoder, least in (
        (load(exported / "tflite" / "model.tflite"), 0.999999),
        (load(exported), 0.999),
        (load(exported, file="tflite/model_int8.tflite", threads=2), 0.999),
    ):
        assert isinstance(encoder, TFLiteEncoder)
        assert encoder.dim == source.dim
        assert (encoder.encode(HARD) * source.encode(HARD)).sum(1).min() > least
    assert load(exported).source.name == "model_int8.tflite"
    assert load(exported).facts.dtype == "int8"


def test_an_index_made_in_one_runtime_survives_the_other_becoming_the_first(
    exported, tiny, tmp_path, monkeypatch, capfd
):
    from compact_labse import measured
    from compact_labse.cli import main

    both = shutil.copytree(exported, tmp_path / "both")
    load_pipeline("export", "onnx_export").run(
        load_pipeline("export", "onnx_export").OnnxExport(model=str(tiny("static")), formats=("int8",), out=both)
    )
    (tmp_path / "text.txt").write_text("a first line\nanother line\n")
    words = ["search", "--text", str(tmp_path / "text.txt"), "--query", "a first line", "--model", str(both)]
    words += ["--index", str(tmp_path / "index"), "--json"]
    opened = []
    for runtimes in (["onnxruntime", "litert"], ["litert", "onnxruntime"]):
        monkeypatch.setattr(measured, "table", lambda r=runtimes: {"static": {"runtimes": r, "threads": "one"}})
        opened.append(load(both).source.suffix)
        assert main(words) == 0
        assert "model_int8.onnx" in capfd.readouterr().err
    assert opened == [".onnx", ".tflite"]
    assert main([*words, "--rebuild"]) == 0
    assert "model_int8.tflite" in capfd.readouterr().err


def test_threads_may_share_an_encoder(exported):
    encoder = load(exported)
    texts = [f"sentence number {n}" for n in range(50)]
    expected, found = encoder.encode(texts), {}
    workers = [
        threading.Thread(target=lambda n=n: found.update({n: encoder.encode(texts[n:] + texts[:n])})) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.allclose(np.roll(found[n], n, axis=0), expected, atol=1e-6) for n in range(4))


def test_tensors_are_allocated_only_when_the_shape_changes(exported, monkeypatch):
    encoder = load(exported)
    calls = []
    real = encoder.runner.interpreter.allocate_tensors
    monkeypatch.setattr(encoder.runner.interpreter, "allocate_tensors", lambda: calls.append(real()))
    ids = np.array([[5, 6, 7]])
    first = encoder.forward(ids, np.ones_like(ids))
    assert np.array_equal(encoder.forward(ids, np.ones_like(ids)), first)
    assert len(calls) == 1
    encoder.forward(ids[:, :2], np.ones_like(ids[:, :2]))
    assert len(calls) == 2


def test_an_export_runs_without_tensorflow_and_torch(exported):
    code = (
        "import sys; from compact_labse import load; v = load(sys.argv[1]).encode(['Guten Morgen'])\n"
        "assert v.shape == (1, 16); print(sorted({'torch', 'transformers', 'onnx', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_or_wrong_is_named(exported, tmp_path):
    with pytest.raises(UserError, match=r"no\.tflite is not a file: expected a \.tflite file written by"):
        TFLiteEncoder.open(tmp_path / "no.tflite")
    with pytest.raises(UserError, match="threads must be at least 1, got 0"):
        TFLiteEncoder.open(exported / "tflite" / "model.tflite", threads=0)
    with pytest.raises(UserError, match="holds its own pooling and precision"):
        load(exported / "tflite" / "model.tflite", pooling="cls")


def test_a_file_that_was_changed_is_refused(copied):
    file = copied / "tflite" / "model_int8.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"model_int8\.tflite is not the file that .*parity\.json was written for"):
        load(copied)
    load(copied, file="tflite/model.tflite")


@pytest.mark.parametrize("size", [0, 3, 30, 300, 3000, -20])
def test_a_truncated_file_is_named_and_never_reaches_the_runtime(copied, size):
    """LiteRT maps a file without looking for its end, and would read beyond it."""
    (copied / "tflite" / "parity.json").unlink()
    file = copied / "tflite" / "model_int8.tflite"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(UserError, match=r"model_int8\.tflite \([\d,]+ bytes\) is not a (whole )?TFLite model"):
        load(copied)


def test_a_model_of_others_is_refused(copied):
    import tensorflow as tf

    function = tf.function(lambda x: x * 2.0, input_signature=[tf.TensorSpec([1], tf.float32)])
    content = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    other = copied / "tflite" / "other.tflite"
    other.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.tflite has no metadata 'compact_labse': it was not written by"):
        load(other)
    other.write_bytes(tflite_file.with_metadata(content, tflite_file.facts_entry(FACTS)))
    with pytest.raises(UserError, match=r"other\.tflite.* expected|other\.tflite has no signature"):
        load(other)


def test_ids_beyond_the_table_are_explained(exported):
    encoder = load(exported)
    with pytest.raises(UserError, match=r"gives ids up to 100000, which is more than the model's table has rows"):
        encoder.forward(np.array([[100_000]]), np.array([[1]]))
    assert encoder.encode(["still works"]).shape == (1, 16)


class Interpreter:
    """One signature per length, each taking two texts, that gives a text's length."""

    def get_signature_runner(self, name):
        def run(input_ids, attention_mask, token_type_ids):
            assert input_ids.shape == (2, int(name))
            return {"sentence_embedding": attention_mask.sum(1, keepdims=True)}

        return run


def test_fixed_signatures_are_chosen_by_length_and_filled_up():
    runner = FixedRunner(Interpreter(), {8: "8", 4: "4"}, batch=2)
    mask = np.tri(5, dtype=np.int32)
    assert runner(mask, mask)[:, 0].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="a text has 9 tokens, and the file takes 8 at most"):
        runner(np.ones((1, 9), np.int32), np.ones((1, 9), np.int32))


def test_weights_behind_the_flatbuffer_are_kept_when_facts_are_added(copied):
    """ai-edge-quantizer puts large weights there; packing again dropped them, and MiniLM in int8 became 4.6 MB."""
    path = copied / "tflite" / "model.tflite"
    before = TFLiteEncoder.open(path).encode(["Guten Morgen"])
    facts = tflite_file.read_facts(path)
    content = weights_behind(path.read_bytes())
    assert len(content) > 0.9 * path.stat().st_size
    path.write_bytes(tflite_file.with_metadata(content, tflite_file.facts_entry(facts)))
    (path.parent / "parity.json").unlink()
    np.testing.assert_array_equal(TFLiteEncoder.open(path).encode(["Guten Morgen"]), before)


def weights_behind(content: bytes) -> bytes:
    """The same model with every larger buffer after the flatbuffer, as files above 2 GB have them."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    filled = [buffer for buffer in model.buffers if buffer.data is not None]
    moved = [(buffer, bytes(buffer.data)) for buffer in filled if len(buffer.data) > 99]
    packed = b""
    for _ in range(2):  # the offsets are known when the flatbuffer's own size is
        offset = -(-len(packed) // 16) * 16 + 16
        tail = b""
        for buffer, data in moved:
            buffer.data, buffer.offset, buffer.size = None, offset + len(tail), len(data)
            tail += data + bytes(-len(data) % 16)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=tflite_file.MAGIC)
        packed = bytes(builder.Output())
    return packed + bytes(offset - len(packed)) + tail
