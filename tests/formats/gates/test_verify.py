"""Verification: every kind of damage to an exported folder is found and named."""

import json
import shutil

import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.folder import sha256_file
from compact_labse.formats.gates import verify as module
from compact_labse.formats.gates.expected import expected_texts, read_expected
from compact_labse.formats.gates.verify import verify
from compact_labse.pipelines import load_pipeline
from tests.tiny_models import change_json


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    pipeline = load_pipeline("export", "onnx_export")
    out = tmp_path_factory.mktemp("exported") / "static"
    pipeline.run(pipeline.OnnxExport(model=str(tiny("static")), formats=("fp32", "int8"), out=out))
    return out


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def found(folder):
    return {check.artifact: (check.status, check.detail) for check in verify(folder)}


def rehash(folder, artifact, *files):
    """Make `parity.json` agree with changed files, as someone would who exports with another tool."""
    report = json.loads((folder / "onnx" / "parity.json").read_text())
    for file in files:
        report["artifacts"][artifact]["sha256"][file.name] = sha256_file(file)
    (folder / "onnx" / "parity.json").write_text(json.dumps(report))


def test_an_export_verifies_itself(exported, tiny):
    checks = verify(exported)
    assert [(check.artifact, check.status) for check in checks] == [
        ("onnx/model.onnx", "ok"),
        ("onnx/model_int8.onnx", "ok"),
    ]
    assert checks[0].worst_cosine > 0.99999 and checks[1].mean_cosine > 0.999
    assert verify(exported / "onnx")[0].artifact == "model.onnx"
    expected, source = read_expected(exported / "onnx"), load(tiny("static"))
    assert expected.texts == [text for _, text in expected_texts()]
    assert expected.ids == source.tokenize(expected.texts)
    assert abs(expected.vectors_ND - source.encode(expected.texts)).max() < 1e-6
    content = json.loads((exported / "onnx" / "expected.json").read_text("utf-8"))
    assert content["tolerance"]["int8"] == {"worst_cosine": 0.98, "mean_cosine": 0.99}
    assert content["artifacts"]["model_int8.onnx"] == {"format": "int8", "worst_cosine": 0.98, "mean_cosine": 0.99}


def test_a_damaged_file_is_found_by_its_hash(copied):
    file = copied / "onnx" / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    status, detail = found(copied)["onnx/model.onnx"]
    assert status == "mismatch" and "is not the file that" in detail
    assert found(copied)["onnx/model_int8.onnx"][0] == "ok"


def test_a_missing_and_an_unlisted_file_are_found(copied):
    (copied / "onnx" / "model.onnx").rename(copied / "onnx" / "other.onnx")
    results = found(copied)
    assert results["onnx/model.onnx"][0] == results["onnx/other.onnx"][0] == "mismatch"
    assert "is missing" in results["onnx/model.onnx"][1]
    assert "does not list it" in results["onnx/other.onnx"][1]


def test_artifacts_that_nothing_lists_are_named(copied):
    (copied / "more").mkdir()
    (copied / "onnx" / "model.onnx").rename(copied / "more" / "model.onnx")
    assert found(copied)["more/model.onnx"] == ("not checked", "no parity.json beside it")


def test_another_tokenizer_is_found_by_hash_and_by_ids(copied):
    """Even where someone made the hashes agree, the ids do not."""
    file = copied / "tokenizer.json"
    tokenizer = json.loads(file.read_text("utf-8"))
    tokenizer["normalizer"] = {"type": "Lowercase"}
    file.write_text(json.dumps(tokenizer))
    assert "tokenizer.json is not the file" in found(copied)["onnx/model.onnx"][1]
    rehash(copied, "model.onnx", file)
    status, detail = found(copied)["onnx/model.onnx"]
    assert status == "mismatch" and detail.startswith("token ids of ")


def test_vectors_of_another_model_are_found(copied):
    """A file whose hash is right and whose vectors are not: what a broken runtime or a mixed-up export looks like."""
    expected = copied / "onnx" / "expected.json"
    content = json.loads(expected.read_text("utf-8"))
    content["texts"][3]["vector"] = content["texts"][4]["vector"]
    expected.write_text(json.dumps(content))
    status, detail = found(copied)["onnx/model_int8.onnx"]
    assert status == "mismatch"
    assert "worst_cosine is" in detail and repr(content["texts"][3]["text"]) in detail
    content["texts"] = [{**row, "vector": row["vector"][:8]} for row in content["texts"]]
    expected.write_text(json.dumps(content | {"dim": 8}))
    assert found(copied)["onnx/model.onnx"] == ("mismatch", "vectors have 16 values, expected 8")


def test_a_mean_below_its_limit_is_found_where_no_text_is(copied):
    report = json.loads((copied / "onnx" / "parity.json").read_text())
    report["artifacts"]["model_int8.onnx"]["limits"] = {"worst_cosine": 0.9, "language_cosine": 0.9999999}
    (copied / "onnx" / "parity.json").write_text(json.dumps(report))
    assert found(copied)["onnx/model_int8.onnx"][1].startswith("mean_cosine is 0.9999")


def test_damaged_expectations_are_a_mismatch_and_missing_ones_are_said(copied):
    change_json(copied / "onnx" / "expected.json", texts=None)
    assert "expected.json is damaged" in found(copied)["onnx/model.onnx"][1]
    (copied / "onnx" / "expected.json").unlink()
    assert found(copied)["onnx/model.onnx"] == ("not checked", "hashes only: no expected.json beside it")
    assert found(copied)["onnx/expected.json"] == (
        "mismatch",
        "missing, though onnx/parity.json lists it",
    )


def test_expectations_made_to_fit_a_damaged_model_are_found(copied):
    """Both the file and its expectations replaced, and the file's hash: only the hash of the expectations tells."""
    expected = copied / "onnx" / "expected.json"
    content = json.loads(expected.read_text("utf-8"))
    content["texts"] = content["texts"][:3]
    expected.write_text(json.dumps(content))
    results = found(copied)
    assert results["onnx/model.onnx"][0] == "ok"
    assert results["onnx/expected.json"][0] == "mismatch" and "not the file" in results["onnx/expected.json"][1]


@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer_config.json"])
def test_settings_that_other_readers_look_at_are_hashed(copied, name):
    """None of ours needs them, so nothing else would notice."""
    assert name not in found(copied)
    (copied / name).write_text("[]")
    assert found(copied)[name][0] == "mismatch"
    assert verify(copied / "onnx")[-1].artifact == f"../{name}"


def test_a_model_card_may_be_edited(copied):
    (copied / "README.md").write_text("mine")
    assert {status for status, _ in found(copied).values()} == {"ok"}


def test_a_runtime_that_is_not_installed_is_said(copied, monkeypatch):
    monkeypatch.setitem(module.OPENERS, ".onnx", ("nothing", "Nothing", "not_installed_runtime", "tflite"))
    assert found(copied)["onnx/model.onnx"] == (
        "not checked",
        "hashes only: needs extra tflite (not_installed_runtime)",
    )


def test_an_artifact_without_vectors_is_hashed(copied):
    report = json.loads((copied / "onnx" / "parity.json").read_text())
    report["artifacts"]["model.onnx"]["vectors"] = False
    (copied / "onnx" / "parity.json").write_text(json.dumps(report))
    assert found(copied)["onnx/model.onnx"] == ("ok", "hashes only: it gives no vectors")


def test_a_folder_without_artifacts_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"has no artifacts: neither it nor a folder in it holds a parity\.json"):
        verify(tmp_path)
