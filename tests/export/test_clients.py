"""The clients are short, get our vectors, and say so when they do not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compact_labse import load
from compact_labse.formats.gates.expected import note_expected
from compact_labse.locate import locate, shipped_folder
from compact_labse.pipelines import load_pipeline

peers = load_pipeline("export", "peers")
ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "export" / "clients"
SHOWN = sorted(
    path
    for kind in ("python/*.py", "node/*.mjs", "web/index.html", "cpp/*.cc", "kotlin/*.kt", "swift/*.swift")
    for path in CLIENTS.glob(kind)
)


@pytest.fixture(scope="module", params=["static", pytest.param("minilm", marks=pytest.mark.slow)])
def exported(tiny, tmp_path_factory, request):
    """A tiny model's export with its expected vectors, and its source."""
    pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
    out = tmp_path_factory.mktemp("clients") / "model"
    pipeline = load_pipeline("export", "onnx_export")
    pipeline.run(pipeline.OnnxExport(model=str(tiny(request.param)), formats=("fp32", "int8"), out=out))
    return out, tiny(request.param)


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False, **options)


def damage(folder, target):
    """A copy of an export that expects another vector of one text."""
    shutil.copytree(folder, target)
    path = target / "onnx" / "expected.json"
    content = json.loads(path.read_text("utf-8"))
    first = content["texts"][0]["vector"]
    content["texts"][0]["vector"] = [*first[1:], first[0]]
    path.write_text(json.dumps(content), encoding="utf-8")
    return target


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_a_client_is_under_40_lines(path):
    assert len(path.read_text("utf-8").splitlines()) < 40


def test_there_is_a_client_for_every_platform():
    assert {path.parent.name for path in SHOWN} == {"python", "node", "web", "cpp", "kotlin", "swift"}


@pytest.mark.parametrize("file", ["model.onnx", "model_int8.onnx"])
def test_python_with_onnxruntime(exported, file, tmp_path):
    program, (folder, _) = CLIENTS / "python" / "onnx_client.py", exported
    done = run(sys.executable, program, folder, f"onnx/{file}")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(sys.executable, program, damage(folder, tmp_path / "damaged"), f"onnx/{file}")
    assert done.returncode == 1 and "worst cosine" in done.stdout, done.stderr


@pytest.mark.slow
def test_python_with_litert(tiny, tmp_path):
    pytest.importorskip("tensorflow", reason="writing a TFLite file of any length needs the extra 'tensorflow'")
    pytest.importorskip("ai_edge_litert")
    pipeline = load_pipeline("export", "tflite_export")
    out = tmp_path / "model"
    pipeline.run(pipeline.TFLiteExport(model=str(tiny("static")), formats=("fp32",), out=out))
    if not (out / "tflite" / "expected.json").is_file():
        note_expected(out / "tflite", load(tiny("static")))
    done = run(sys.executable, CLIENTS / "python" / "litert_client.py", out, "tflite/model.tflite")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_text_embeddings_inference_documents_is_there(exported):
    """Not run here, so its reading rule: files by name, three inputs at most, a float32 output `sentence_embedding`."""
    import onnxruntime

    folder, _ = exported
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model_type"] and config["max_position_embeddings"] > 0
    assert (folder / "tokenizer.json").is_file()
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    assert {value.name for value in session.get_inputs()} <= {"input_ids", "attention_mask", "token_type_ids"}
    outputs = {value.name: value for value in session.get_outputs()}
    assert outputs["sentence_embedding"].type == "tensor(float)"
    assert len(outputs["sentence_embedding"].shape) == 2


def environment(name):
    """An environment of `peers.py`; the test is skipped where it is not built."""
    place = peers.PLACE / name
    if not (place / ".built").is_file():
        pytest.skip(f"needs {place.relative_to(ROOT)}: export/clients/environments.sh {name} {place}")
    return place


@pytest.mark.slow
def test_node_reads_the_shipped_file_whose_table_is_a_file_of_its_own():
    """WebAssembly failed to load external data file, and our smallest embedder did not bring it."""
    program, file = environment("node") / "onnxruntime_web.mjs", locate("default")
    shutil.copyfile(CLIENTS / "node" / program.name, program)
    done = run("node", program, shipped_folder(), file.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.client)
def test_software_of_others_gets_our_vectors(exported, peer, tmp_path):
    export, source = exported
    subject = peers.Subject(name="tiny", export=export, source=source, work=tmp_path)
    if not (peer.bags if subject.bag else peer.transformers):
        pytest.skip(f"{peer.client} does not read this kind of model")
    if peer.environment != peers.OURS:
        environment(peer.environment)
    records = list(peers.runs([peer], subject))
    if not records:
        pytest.skip("no artifact of this kind")
    assert [record for record in records if not record["passed"]] == []
