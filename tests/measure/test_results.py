"""Results survive interruption, are never rewritten, and refuse what is not theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compact_labse.errors import UserError
from compact_labse.measure import environment
from compact_labse.measure.results import Results, command_line, read, record, result_key
from tests.measure.records import model


def quality(label: str = "a", dataset: str = "pud", value: float = 1.0) -> dict[str, Any]:
    return record("quality", model(label), {"dataset": dataset}, {"value": value})


def test_a_record_describes_itself():
    found = quality()
    assert set(found) == {
        "schema", "key", "kind", "session", "date", "model", "config", "values", "machine", "versions", "command",
    }  # fmt: skip
    assert {"cpu", "flags", "cores", "memory_gb", "system", "python"} == set(found["machine"])
    assert found["versions"]["numpy"]
    json.dumps(found)


def test_what_exists_is_found_and_what_differs_is_not(tmp_path: Path):
    path = tmp_path / "deep" / "results.jsonl"
    results = Results(path)
    assert results.find("quality", model("a"), {"dataset": "pud"}) is None
    results.add(quality())
    for again in (results, Results(path)):
        found = again.find("quality", model("a"), {"dataset": "pud"})
        assert found is not None
        assert found["values"] == {"value": 1.0}
        assert again.find("quality", model("a"), {"dataset": "sts"}) is None
        assert again.find("agreement", model("a"), {"dataset": "pud"}) is None
        assert again.find("quality", model("b"), {"dataset": "pud"}) is None
        assert again.find("quality", {**model("a"), "runtime": "torch"}, {"dataset": "pud"}) is None
        assert again.find("quality", {**model("a"), "tokenizer_hash": "other"}, {"dataset": "pud"}) is None
        assert again.find("quality", {**model("a"), "label": "renamed"}, {"dataset": "pud"}) is not None


def test_another_version_or_machine_is_another_measurement(monkeypatch: pytest.MonkeyPatch):
    before = result_key("quality", model("a"), {})
    assert result_key("quality", model("a"), {}) == before
    for name in ("machine", "versions"):
        with monkeypatch.context() as patch:
            patch.setattr(environment, name, lambda: {"cpu": "another"})
            assert result_key("quality", model("a"), {}) != before


def test_adding_never_changes_what_is_there(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    Results(path).add(quality("a"))
    before = path.read_bytes()
    Results(path).add(quality("b"))
    assert path.read_bytes().startswith(before)
    assert [found["model"]["label"] for found in read(path)] == ["a", "b"]


@pytest.mark.parametrize("keep", [-1, -5, 3])
def test_a_torn_last_line_is_skipped_with_a_warning_and_does_not_spoil_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int
):
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.add(quality("a"))
    whole = path.read_bytes()
    results.add(quality("b"))
    torn = path.read_bytes()[len(whole) :][: keep - 1 if keep < 0 else keep]
    path.write_bytes(whole + torn)
    capsys.readouterr()
    again = Results(path)
    assert f"{path}, line 2 is not a whole record" in capsys.readouterr().err
    assert [found["model"]["label"] for found in again.records] == ["a"]
    again.add(quality("c"))
    assert [found["model"]["label"] for found in read(path)] == ["a", "c"]


def test_a_last_line_that_only_lacks_its_end_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "results.jsonl"
    Results(path).add(quality("a"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    Results(path).add(quality("b"))
    assert [found["model"]["label"] for found in read(path)] == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_failures_are_kept_but_tried_again(tmp_path: Path):
    results = Results(tmp_path / "results.jsonl")
    results.add(record("failure", model("a"), {"what": "x"}, {"error": "no", "of": "1"}))
    assert results.find("failure", model("a"), {"what": "x"}) is None
    assert len(read(tmp_path / "results.jsonl")) == 1


def test_foreign_and_newer_files_are_refused(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("# precious\ntext\n")
    with pytest.raises(UserError, match=r"README.md is not a results file: none of its 2 lines"):
        Results(path)
    assert path.read_text() == "# precious\ntext\n"
    path.write_text(json.dumps(quality() | {"schema": 99}) + "\n")
    with pytest.raises(UserError, match=r"line 1 was written by a newer version \(schema 99\)"):
        read(path)


def test_nan_never_reaches_the_disk(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Results(tmp_path / "results.jsonl").add(quality(value=float("nan")))
    assert not (tmp_path / "results.jsonl").exists()


def test_without_a_path_nothing_is_written():
    results = Results()
    results.add(quality())
    assert results.find("quality", model("a"), {"dataset": "pud"})


def test_two_writers_do_not_mix_their_lines(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    code = (
        "import sys; from pathlib import Path; from compact_labse.measure.results import Results, record\n"
        "from tests.measure.records import model\n"
        "results = Results(Path(sys.argv[1]))\n"
        "for n in range(40): results.add(record('quality', model(sys.argv[2]), {'n': n}, {'text': 'x' * 5000}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(read(path)) == 80


def test_memory_and_machine_are_read():
    found = environment.resident_bytes()
    assert 10e6 < found["now"] <= found["peak"]
    assert environment.machine()["cores"] == environment.usable_cores() > 0
    assert float(str(environment.machine()["memory_gb"])) > 0.1


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/compact-labse", "bench", "a b"], "compact-labse bench 'a b'"),
        (["/x/compact_labse/__main__.py", "eval", "m"], "compact-labse eval m"),
        (["distill/quickstart.py", "out"], "python distill/quickstart.py out"),
    ],
)
def test_the_command_is_recorded_as_one_would_type_it(monkeypatch: pytest.MonkeyPatch, argv: list[str], command: str):
    monkeypatch.setattr("sys.argv", argv)
    assert command_line() == command
