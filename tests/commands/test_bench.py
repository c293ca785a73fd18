"""`compact-labse bench` and its pipeline on tiny models, each speed in a real process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_labse.cli import main
from compact_labse.errors import UserError
from compact_labse.locate import shipped_folder
from compact_labse.measure.results import read
from compact_labse.pipelines import load_pipeline
from tests.measure.foreign import foreign_file

compare = load_pipeline("bench", "compare")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = [f"sentence number {n}\tSatz Nummer {n}\n" for n in range(20)]
    (folder / "en-de.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def config(tmp_path: Path, data: Path, *models: str, **changes: Any) -> Any:
    settings = {"rounds": 1, "seconds": 0.05, "sentences": 10} | changes
    return compare.Config(models=models, data=data, out=tmp_path / "out", **settings)


def test_a_run_writes_records_and_report_and_a_second_one_measures_nothing(
    tiny: Callable[[str], Path], tmp_path: Path, data: Path
):
    cfg = config(tmp_path, data, str(tiny("static")))
    summary = compare.run(cfg)
    assert {path.name for path in cfg.out.iterdir()} == {"results.jsonl", "report.html", "report.md"}
    before = (cfg.out / "results.jsonl").read_bytes()
    kinds = [found["kind"] for found in read(cfg.out / "results.jsonl")]
    assert kinds == ["quality", *["speed"] * len(cfg.cells("short"))]
    row = summary.rows[0]
    assert row.quality["pairs"]["languages"]["de"]["pairs"] == 20
    assert row.speeds["text"].main > 0
    assert row.peak_bytes > row.baseline_bytes
    again = compare.run(cfg)
    assert (cfg.out / "results.jsonl").read_bytes() == before
    assert again.rows[0].speeds == row.speeds


def test_a_model_that_fails_later_is_a_row_and_the_others_go_on(
    tiny_copy: Callable[[str], Path], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    broken, good = tiny_copy("minilm"), tiny_copy("static")
    real = compare.record_suite

    def lose_the_weights(*given: Any, **options: Any) -> None:
        real(*given, **options)
        (broken / "model.safetensors").unlink()

    monkeypatch.setattr(compare, "record_suite", lose_the_weights)
    bad, fine = compare.run(config(tmp_path, data, str(broken), str(good))).rows
    assert bad.speeds == {}
    assert bad.quality
    assert {failure.split(":")[0] for failure in bad.failures} == {"speed 1x20", "speed 32x20", "speed text"}
    assert fine.speeds["text"].rounds == 1
    assert "Failed: minilm, speed text" in (tmp_path / "out" / "report.md").read_text()


def test_an_evaluation_that_fails_is_a_row_too(
    tiny: Callable[[str], Path], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    def explode(*_: Any) -> None:
        raise MemoryError("16 GB")

    monkeypatch.setattr("compact_labse.measure.quality.suite.record_quality", explode)
    monkeypatch.setattr(compare, "record_speeds", lambda *_: None)
    with pytest.raises(
        UserError, match="nothing could be measured of static: quality on pairs: out of memory: MemoryError"
    ):
        compare.run(config(tmp_path, data, str(tiny("static"))))
    assert "Failed: static, quality on pairs" in (tmp_path / "out" / "report.md").read_text()


def test_a_model_of_which_nothing_could_be_measured_is_an_error_after_the_report(
    tiny_copy: Callable[[str], Path], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tiny_copy("static")
    monkeypatch.setattr(compare, "record_suite", lambda *_, **__: shutil.rmtree(folder))
    with pytest.raises(UserError, match="nothing could be measured of static: speed "):
        compare.run(config(tmp_path, data, str(folder)))
    assert (tmp_path / "out" / "report.html").exists()


def test_memory_that_really_runs_out_is_a_row_and_strange_files_are_measured_and_marked(
    tiny_copy: Callable[[str], Path], tmp_path: Path, data: Path
):
    """A graph that asks for ten terabytes, beside a file of ours that nothing vouches for."""
    pytest.importorskip("onnx", reason="foreign files are made with the extra 'onnx'")
    hungry = foreign_file(tiny_copy("minilm"), hungry=True)
    unhashed = Path(shutil.copytree(shipped_folder(), tmp_path / "unhashed"))
    (unhashed / "onnx" / "parity.json").unlink()
    cfg = config(tmp_path, data, str(hungry), str(unhashed))
    with pytest.raises(UserError, match=r"nothing could be measured of minilm/model: .*out of memory: "):
        compare.run(cfg)
    found = read(cfg.out / "results.jsonl")
    failed = [each["values"]["error"] for each in found if each["kind"] == "failure"]
    assert len(failed) == 5  # quality, agreement of the other with it, three speeds
    assert all("out of memory: " in error for error in failed)
    report = (cfg.out / "report.md").read_text()
    assert "- unhashed: no hash" in report
    assert "- minilm/model: foreign: " in report
    other = [each["kind"] for each in found if each["model"]["label"] == "unhashed"]
    assert other.count("speed") == 3
    assert "quality" in other


def _hear_ctrl_c() -> None:
    """Jobs that a shell runs in the background are deaf to it, and so are their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_real_ctrl_c_keeps_what_is_done(tmp_path: Path, data: Path):
    """The real signal, while a child is being timed: records stay, the report is written, no process is left."""
    out = tmp_path / "out"
    words = ["bench", "default", "--data", str(data), "--out", str(out), "--rounds", "50"]
    # What is being timed names the file of texts, which lies here.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "compact_labse", *words]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, preexec_fn=_hear_ctrl_c, **pipes) as process:
        until = time.monotonic() + 120
        while sum(each["kind"] == "speed" for each in read(out / "results.jsonl")) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    kinds = [each["kind"] for each in read(out / "results.jsonl")]
    assert kinds[0] == "quality"
    assert kinds.count("speed") >= 2
    assert "Speed" in (out / "report.md").read_text()
    children = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in children


def test_an_interruption_keeps_what_is_done(
    tiny: Callable[[str], Path], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "record_speeds", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare.run(config(tmp_path, data, str(tiny("static"))))
    assert [found["kind"] for found in read(tmp_path / "out" / "results.jsonl")] == ["quality"]
    assert "Quality" in (tmp_path / "out" / "report.html").read_text()


def test_an_interruption_before_anything_was_measured_stays_an_interruption(
    tiny: Callable[[str], Path], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "record_suite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare.run(config(tmp_path, data, str(tiny("static"))))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rounds": 0}, "rounds must be above 0, got 0"),
        ({"threads": -1}, "threads must be above 0, got -1"),
        ({"tatoeba_set": "12"}, "tatoeba_set must be one of 14, 29, 36, 112, got '12'"),
    ],
)
def test_bounds_are_checked(tmp_path: Path, changes: dict[str, Any], complaint: str):
    with pytest.raises(UserError, match=complaint):
        config(tmp_path, tmp_path, "minilm", **changes)
    with pytest.raises(UserError, match="at least one model"):
        config(tmp_path, tmp_path)


def test_a_wrong_path_is_said_before_anything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "./nothing", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_compares_two_models(
    tiny: Callable[[str], Path], tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    words = ["bench", str(tiny("minilm")), f"bag={tiny('static')}", "--data", str(data), "--out", str(out), "--quick"]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [row["model"]["label"] for row in found["rows"]] == ["minilm", "bag"]
    assert set(found["rows"][1]["speeds"]) == {"1x20", "32x20", "text"}
    assert found["rows"][1]["speeds"]["1x20"]["versus"]["rounds"] == 2
    assert found["rows"][1]["agreement"]["pairs"]["means"]["en"]
    assert f"report: {out / 'report.html'}" in captured.err
    assert main(words) == 0
    assert "Size and memory" in capsys.readouterr().out
