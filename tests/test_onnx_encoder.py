import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.formats.contract import Facts
from compact_labse.formats.onnx.graph import save, stamp, static_graph
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.pipelines import load_pipeline

HARD = ["", "🎉", "nul\0inside", "lone \ud800 surrogate", "Straße 道路 طريق", "word " * 20_000]


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A static model's folder with float32 and int8 exports and no weights: what an edge device gets."""
    pipeline = load_pipeline("export", "onnx_export")
    out = tmp_path_factory.mktemp("exported") / "static"
    pipeline.run(pipeline.OnnxExport(model=str(tiny("static")), formats=("fp32", "int8"), out=out))
    return out


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_load_opens_an_export_and_gives_the_vectors_of_its_source(exported, tiny):
    source = load(tiny("static"))
    for encoder, least in (
        (load(exported / "onnx" / "model.onnx"), 0.999999),
        (load(exported), 0.999),
        (load(exported, file="onnx/model_int8.onnx", threads=2), 0.999),
    ):
        assert isinstance(encoder, OnnxEncoder)
        assert encoder.dim == source.dim
        assert (encoder.encode(HARD) * source.encode(HARD)).sum(1).min() > least
    assert load(exported).source.name == "model_int8.onnx"


def test_texts_are_cut_as_the_source_cuts_them(traced, tmp_path):
    source = load(traced[0])
    model = onnx.ModelProto()
    model.CopyFrom(traced[1])
    stamp(model, Facts(dim=16, pooling="mean", dtype="fp32", recipe="float", max_tokens=32, pad_id=0))
    (tmp_path / "onnx").mkdir()
    shutil.copy(traced[0] / "tokenizer.json", tmp_path)
    save(model, tmp_path / "onnx" / "model.onnx")
    encoder = load(tmp_path)
    assert encoder.max_tokens == source.max_tokens == 32
    assert (encoder.encode(HARD) * source.encode(HARD)).sum(1).min() > 0.999999


def test_threads_may_share_an_encoder(exported):
    encoder = load(exported)
    texts = [f"sentence number {n}" for n in range(50)]
    expected, found = encoder.encode(texts), {}
    workers = [threading.Thread(target=lambda n=n: found.update({n: encoder.encode(texts)})) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(found[n], expected) for n in range(4))


def test_an_export_runs_without_torch_transformers_or_onnx(exported):
    code = (
        "import sys; from compact_labse import load; v = load(sys.argv[1]).encode(['Guten Morgen'])\n"
        "assert v.shape == (1, 16); print(sorted({'torch', 'transformers', 'onnx', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"no\.onnx is not a file: expected an \.onnx file written by `compact-labse ex"
    ):
        OnnxEncoder.open(tmp_path / "no.onnx")


def test_threads_must_be_positive(exported):
    with pytest.raises(UserError, match="threads must be at least 1, got 0"):
        OnnxEncoder.open(exported / "onnx" / "model.onnx", threads=0)


def test_a_file_that_was_changed_is_refused(copied):
    file = copied / "onnx" / "model_int8.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"model_int8\.onnx is not the file that .*parity\.json was written for"):
        load(copied)
    load(copied, file="onnx/model.onnx")


def test_a_tokenizer_of_another_model_is_refused(copied, tiny):
    shutil.copy(tiny("minilm") / "tokenizer.json", copied)
    with pytest.raises(UserError, match=r"tokenizer\.json is not the file that .*parity\.json was written for"):
        load(copied)


def test_a_truncated_file_without_parity_is_named(copied):
    (copied / "onnx" / "parity.json").unlink()
    file = copied / "onnx" / "model_int8.onnx"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"model_int8\.onnx \(3,000 bytes\) is not a whole ONNX model"):
        load(copied)


def test_a_damaged_parity_file_is_named(copied):
    (copied / "onnx" / "parity.json").write_text("{")
    with pytest.raises(UserError, match=r"parity\.json is damaged .*export the model again"):
        load(copied)


def test_a_missing_tokenizer_is_named(copied):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(
        UserError, match=r"There is no tokenizer\.json beside .*model_int8\.onnx nor in the folder above"
    ):
        load(copied)


def test_a_damaged_tokenizer_is_named(copied):
    (copied / "onnx" / "parity.json").unlink()
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a readable tokenizer"):
        load(copied)


def test_a_model_of_other_inputs_and_outputs_is_refused(copied):
    model = onnx.load(copied / "onnx" / "model.onnx")
    model.graph.node[-1].output[0] = model.graph.output[1].name = "pooled"
    onnx.save(model, copied / "onnx" / "other.onnx")
    with pytest.raises(
        UserError, match=r"other\.onnx has inputs .* outputs \['last_hidden_state', 'pooled'\], expected"
    ):
        load(copied, file="onnx/other.onnx")


def test_a_model_without_metadata_is_refused(copied):
    save(static_graph(np.ones((400, 16), np.float32)), copied / "onnx" / "bare.onnx")
    with pytest.raises(UserError, match=r"bare\.onnx has no metadata property 'dim'"):
        load(copied, file="onnx/bare.onnx")


def test_metadata_that_is_no_number_is_named(copied):
    model = onnx.load(copied / "onnx" / "model.onnx")
    next(entry for entry in model.metadata_props if entry.key == "dim").value = "many"
    onnx.save(model, copied / "onnx" / "odd.onnx")
    with pytest.raises(UserError, match=r"odd\.onnx: the metadata property 'dim' should be of type int, got 'many'"):
        load(copied, file="onnx/odd.onnx")


def test_ids_beyond_the_table_are_explained(copied):
    model = static_graph(np.ones((5, 16), np.float32))
    facts = json.loads(json.dumps(load(copied).facts.properties()))
    stamp(model, Facts.read(facts, "facts"))
    save(model, copied / "onnx" / "short.onnx")
    with pytest.raises(
        UserError, match=r"the tokenizer gives ids up to \d+, which is more than the model's table has rows"
    ):
        load(copied, file="onnx/short.onnx").encode(["Guten Morgen"])
