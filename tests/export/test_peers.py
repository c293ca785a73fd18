"""The table of other people's software is made of committed results, and what differs is noticed."""

import json
import sys

import pytest

from compact_labse.errors import UserError
from compact_labse.folder import sha256_file
from compact_labse.pipelines import load_pipeline

peers, table = load_pipeline("export", "peers"), load_pipeline("export", "peers_table")
README = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
RECORD = {"client": "c", "version": "1", "format": "model.onnx", "model": "m", "passed": True, "note": "", "texts": 3}


@pytest.fixture
def words(tmp_path):
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return ["--readme", str(tmp_path / "README.md"), "--results", str(tmp_path / "peers.jsonl")]


def test_the_committed_table_is_up_to_date():
    assert table.main(["--check"]) == 0


def test_results_fill_the_table_and_a_changed_result_is_noticed(words, tmp_path):
    results = tmp_path / "peers.jsonl"
    peers.store(RECORD | {"worst": 0.99999987}, results)
    assert table.main([*words, "--check"]) == 1
    assert table.main(words) == table.main([*words, "--check"]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "| c | 1 | model.onnx | m | same vectors, 3 texts | 0.999999 |" in text  # cut, not rounded
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    peers.store(RECORD | {"worst": 0.5, "passed": False}, results)
    assert len(results.read_text().splitlines()) == 1  # in place of the earlier one
    assert table.main([*words, "--check"]) == 1
    assert table.main(words) == 0 and "differs, 3 texts | 0.500000" in (tmp_path / "README.md").read_text()


def test_what_was_not_run_says_why():
    line = table.row(RECORD | {"passed": False, "note": "environment node is not built"})
    assert line == "| c | 1 | model.onnx | m | not run: environment node is not built |  |"


def test_damaged_results_and_a_readme_without_marks_are_errors(tmp_path):
    (tmp_path / "peers.jsonl").write_text(json.dumps(RECORD) + "\n{\n")
    with pytest.raises(UserError, match="line 2 is no result"):
        table.read(tmp_path / "peers.jsonl")
    with pytest.raises(UserError, match="README needs the lines"):
        table.filled("no marks", [])


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('worst cosine 0.9999 of 3 texts')", {"passed": True, "worst": 0.9999, "texts": 3}),
        ("print('worst cosine 0.9 of 3 texts'); raise SystemExit(1)", {"passed": False, "worst": 0.9}),
        ("print('worst cosine NaN of 3 texts')", {"texts": 3}),
        ("raise OSError('no such model')", {"passed": False, "note": "OSError: no such model"}),
    ],
)
def test_a_program_is_taken_at_its_word_and_its_exit_code(tmp_path, program, expected):
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "expected.json").write_text("{}")
    (tmp_path / f"m-{sha256_file(tmp_path / 'onnx' / 'expected.json')[:8]}-onnx-all.json").write_text("{}")
    subject = peers.Subject(name="m", export=tmp_path, source=tmp_path, work=tmp_path)
    peer = peers.Peer(client="c", environment=peers.OURS, version=("echo", "library", "1.2"),
                      command=(sys.executable, "-c", program), files=("torch",))  # fmt: skip
    (record,) = peers.runs([peer], subject)
    found = {key: record[key] for key in expected}
    assert record["version"] == "1.2"
    assert {**found, "note": found.get("note", "")[-len(expected.get("note", "")) :]} == {"note": "", **expected}


def test_a_missing_environment_is_noted_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "PLACE", tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    subject = peers.Subject(name="m", export=tmp_path, source=tmp_path, work=tmp_path)
    (record,) = peers.runs([peer for peer in peers.PEERS if peer.client == "fastembed"], subject)
    assert record["note"] == "environment peers is not built" and not record["passed"]


def test_a_client_that_nobody_is_called_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="no client is called so; known: sentence-transformers"):
        peers.main([str(tmp_path), str(tmp_path), "--name", "m", "--only", "nobody"])


def test_an_environment_that_cannot_be_built_is_one_sentence(monkeypatch, tmp_path):
    """A missing Debian package ended in a traceback of `subprocess`."""
    script = tmp_path / "environments.sh"
    script.write_text("#!/bin/sh\necho no compiler >&2\nexit 127\n")
    script.chmod(0o755)
    monkeypatch.setattr(peers, "CLIENTS", tmp_path)
    monkeypatch.setattr(peers, "PLACE", tmp_path / "place")
    with pytest.raises(UserError, match="the environment cpp could not be built"):
        peers.main([str(tmp_path), str(tmp_path), "--name", "m", "--only", "onnxruntime, C++", "--build"])
