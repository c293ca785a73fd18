"""The folder of an export: whole or not there, several runtimes in one, earlier artifacts kept."""

import json

import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, read_lineage, sha256_file, write_lineage
from compact_labse.formats.artifacts import check_hashes, entries
from compact_labse.formats.export_folder import add_entry, export_folder, remove


@pytest.fixture
def source(tiny_copy):
    return load(tiny_copy("static"))


def listing(folder):
    """Every path below a folder with its content, as `git status` would compare them."""
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def put(source, out, kind, *, text="weights", **options):
    with export_folder(source, out, kind, **options) as folder:
        remove(folder, f"model.{kind}")
        (folder / f"model.{kind}").write_text(text)
        tokenizer = (source.source if out is None else folder.parent) / "tokenizer.json"
        add_entry(folder, f"model.{kind}", {"format": "fp32"}, tokenizer)
        if out is not None:
            inputs = {source.name: model_hash(source.source)}
            write_lineage(folder.parent, command=f"export {kind}", config={}, inputs=inputs)


def test_several_runtimes_come_to_lie_in_one_folder(source, tmp_path):
    out = tmp_path / "out"
    put(source, out, "onnx")
    put(source, out, "tflite")
    put(source, out, "saved_model")
    assert {"onnx", "tflite", "saved_model", "tokenizer.json", "lineage.json"} <= {path.name for path in out.iterdir()}
    assert list(entries(out / "onnx")) == ["model.onnx"]
    lineage = read_lineage(out)
    assert lineage["command"] == "export saved_model"
    assert [before["command"] for before in lineage["earlier"]] == ["export onnx", "export tflite"]
    check_hashes(out / "onnx" / "model.onnx")


def test_the_same_runtime_twice_or_another_model_needs_leave_to_overwrite(source, tiny, tmp_path):
    out = tmp_path / "out"
    put(source, out, "onnx")
    before = listing(out)
    other = load(tiny("minilm"))
    for encoder, kind in ((source, "onnx"), (other, "tflite")):
        with pytest.raises(UserError, match="exists and is not empty"):
            put(encoder, out, kind)
    assert listing(out) == before
    put(other, out, "tflite", overwrite=True)
    assert not (out / "onnx").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [(["thesis.txt"], "no model folder"), (["config.json", "model.safetensors"], "holds a model's weights")],
)
def test_overwriting_replaces_nothing_but_exports(source, tmp_path, files, message):
    out = tmp_path / "precious"
    out.mkdir()
    for name in files:
        (out / name).write_text("{}")
    with pytest.raises(UserError, match=message):
        put(source, out, "onnx", overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == files


def test_overwriting_one_runtime_keeps_the_others(source, tmp_path):
    out = tmp_path / "out"
    put(source, out, "onnx", text="first")
    put(source, out, "tflite", text="kept")
    before = listing(out / "tflite")
    put(source, out, "onnx", text="second", overwrite=True)
    assert "second" in (out / "onnx" / "model.onnx").read_text()
    assert listing(out / "tflite") == before


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_failed_export_leaves_everything_as_it_was(source, tmp_path, inside, earlier):
    out = None if inside else tmp_path / "out"
    if earlier:
        put(source, out, "onnx")
    before = listing(tmp_path)
    with pytest.raises(RuntimeError, match="half way"), export_folder(source, out, "tflite") as folder:
        (folder / "model.tflite").write_text("half")
        raise RuntimeError("half way")
    assert listing(tmp_path) == before


def test_an_earlier_artifact_is_replaced_and_not_written_into(source):
    """Earlier artifacts are hard links: a writer that opens one in place would change what is installed."""
    put(source, None, "onnx", text="first")
    first = (source.source / "onnx" / "model.onnx").stat().st_ino
    put(source, None, "onnx", text="second")
    assert (source.source / "onnx" / "model.onnx").stat().st_ino != first
    check_hashes(source.source / "onnx" / "model.onnx")


def test_an_artifact_may_be_a_folder_and_every_file_in_it_is_checked(source):
    with export_folder(source, None, "saved_model") as folder:
        for name in ("encoder/saved_model.pb", "encoder/variables/data", "encoder_mlm/saved_model.pb"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        for artifact in ("encoder", "encoder_mlm"):
            add_entry(folder, artifact, {}, source.source / "tokenizer.json")
    folder = source.source / "saved_model"
    entry = entries(folder)["encoder"]
    assert set(entry["sha256"]) == {"encoder/saved_model.pb", "encoder/variables/data", "tokenizer.json"}
    assert entry["bytes"] == len("encoder/saved_model.pb") + len("encoder/variables/data")
    assert entry["sha256"]["tokenizer.json"] == sha256_file(source.source / "tokenizer.json")
    check_hashes(folder / "encoder")
    (folder / "encoder" / "variables" / "data").write_text("damaged")
    with pytest.raises(UserError, match=r"variables/data is not the file that .*parity\.json was written for"):
        check_hashes(folder / "encoder")
    remove(folder, "encoder")
    assert sorted(path.name for path in folder.iterdir()) == ["encoder_mlm", "parity.json"]
    assert list(json.loads((folder / "parity.json").read_text())["artifacts"]) == ["encoder_mlm"]
