"""`compact-labse compress` from its words to the folder: budgets met, missed and impossible; killed and given again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")
pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
pytest.importorskip("optuna", reason="the search needs the extra 'compress'")

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.compress import predict, workbench
from compact_labse.encoder import load
from compact_labse.folder import read_lineage
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.pipelines import load_pipeline

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--minutes", "0.02", "--looks", "3", "--trained", "1"]


@pytest.fixture
def timed(monkeypatch):
    """Times that depend on the file's bytes alone: a tiny model's own say nothing."""
    monkeypatch.setattr(predict, "measure", lambda path, texts: (path.stat().st_size / 1e6, 0.001))


@pytest.fixture
def texts(tmp_path) -> Path:
    path = tmp_path / "texts.txt"
    found = [text for code in ("en", "de") for text in sample.sentences(code)]
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    return path


def words(model, texts, out, *more: str) -> list[str]:
    return ["compress", str(model), "--data", str(texts), "--languages", "en,de", "--out", str(out), *QUICK, *more]


@pytest.mark.usefixtures("timed")
def test_a_bag_within_its_budget(tiny, tmp_path, texts, capsys):
    out = tmp_path / "out"
    assert main(words(tiny("static"), texts, out, "--max-size", "12KB", "--min-quality", "0.5", "--json")) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    chosen = found["chosen"]
    assert found["met"] and chosen["quality"] >= 0.5 and chosen["bytes"] <= 12_000
    assert chosen["predicted"]["bytes"] == chosen["bytes"]  # to the byte
    assert "Pareto front" in printed.err
    encoder = load(str(out))
    assert isinstance(encoder, OnnxEncoder)
    assert np.isfinite(encoder.encode(["Guten Tag", ""])).all()
    weights = load(str(out / "weights"))
    sentences = sample.sentences("en")
    assert np.einsum("nd,nd->n", encoder.encode(sentences), weights.encode(sentences)).mean() > 0.95
    files = {path.name for path in (out / "evidence").iterdir()}
    assert files == {"candidates.jsonl", "compress.md", "report.html", "report.md", "results.jsonl"}
    rows = [json.loads(line) for line in (out / "evidence" / "candidates.jsonl").read_text().splitlines()]
    assert sum(row["chosen"] for row in rows) == 1
    assert all(row["quality"] is None for row in rows if row["state"] in ("too large", "too slow"))
    names = [one["step"] for one in found["steps"]]
    assert names[0] == "original" and "pieces" in names[1] and names[-1].endswith("ONNX")
    assert found["steps"][0]["quality"] == 1.0
    lineage = read_lineage(out)
    assert lineage["command"] == "compress" and lineage["config"]["result"]["met"]

    # Given again: nothing is made a second time, and the same comes out.
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.work").rglob("manifest.json")}
    again = words(tiny("static"), texts, out, "--max-size", "12KB", "--min-quality", "0.5", "--json", "--overwrite")
    assert main(again) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out.work").rglob("manifest.json")} == made
    assert json.loads(capsys.readouterr().out)["chosen"] == chosen


@pytest.mark.usefixtures("timed")
def test_the_export_of_a_bag_is_unpacked(tiny, tmp_path, texts):
    """The shipped model is such a file: its table is read back from what it gives for each piece."""
    from compact_labse.compress.steps import original, unpacked

    pipeline = load_pipeline("export", "onnx_export")
    pipeline.run(pipeline.OnnxExport(model=str(tiny("static")), out=tmp_path / "file", formats=("fp32",)))
    encoder = load(str(tmp_path / "file"))
    folder = original(tmp_path / "work", "file", encoder)
    texts_ = sample.sentences("en")
    assert np.abs(load(str(folder)).encode(texts_) - load(str(tiny("static"))).encode(texts_)).max() < 1e-5
    table_VD = unpacked(encoder, "file")
    assert len(table_VD) == encoder.tokens.tokenizer.get_vocab_size()


@pytest.mark.usefixtures("timed")
def test_a_budget_missed_in_quality_ends_with_the_nearest(tiny, tmp_path, texts, capsys):
    code = main(words(tiny("static"), texts, tmp_path / "out", "--max-size", "11KB", "--min-quality", "1.0"))
    printed = capsys.readouterr()
    assert code == 3
    assert "the budget is not met, this is the nearest" in printed.out
    assert load(str(tmp_path / "out")).dim > 0


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (["--max-size", "1KB"], "no candidate meets 0.001 MB"),
        (["--max-size", "1MB", "--max-latency", "1us"], "no candidate meets 1 MB, 0.001 ms"),
    ],
)
def test_an_impossible_budget_is_said_before_any_training(tiny, tmp_path, texts, capsys, limits, message):
    assert main(words(tiny("static"), texts, tmp_path / "out", *limits)) == 2
    said = capsys.readouterr().err
    assert message in said and "the nearest" in said and "int2" in said
    made = {path.name.rpartition("-")[0] for path in (tmp_path / "out.work").iterdir() if path.is_dir()}
    assert made == {"text", "trimmed", "predicted"}
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.work" / "results.jsonl").exists(), "nor is the original judged for it"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give --max-size 20MB, --max-latency 3ms, or both"),
        (["--max-size", "big"], "--max-size takes a size such as 20MB"),
        (["--max-size", "1MB", "--min-quality", "2"], "--min-quality is a share"),
        (["--max-size", "1MB", "--minutes", "0"], "--minutes must be above 0"),
        (["--max-size", "1MB", "--languages", ","], "--languages takes codes"),
        (["--max-size", "1MB", "--eval", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_bad_words_are_sentences(tiny, tmp_path, texts, capsys, more, message):
    assert main(words(tiny("static"), texts, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_little_text_and_a_transformers_export_are_refused(tiny, tmp_path, capsys, traced, texts):
    few = tmp_path / "few.txt"
    few.write_text("\n".join(sample.sentences("en")[:30]), encoding="utf-8")
    assert main(words(tiny("static"), few, tmp_path / "out", "--max-size", "1MB")) == 2
    assert "--data has 30 different texts or pairs" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "kept"), [(0.95, ["trimmed", "pruned", "healed"]), (0.85, ["trimmed", "pruned"])])
def test_training_that_loses_more_than_it_mends_is_left_out(monkeypatch, after, kept):
    made = {name: SimpleNamespace(model=Path(name)) for name in ("trimmed", "pruned", "healed")}
    monkeypatch.setattr(workbench.steps, "healed", lambda *_: made["healed"])
    bench = SimpleNamespace(
        levels={8: made["trimmed"]},
        made=lambda one: made["pruned"],
        budget=SimpleNamespace(min_quality=0.98),
        work=Path(),
        training={},
        _kept=lambda model: {"healed": after, "pruned": 0.9}[model.name],
    )
    row = SimpleNamespace(candidate=SimpleNamespace(pieces=8, layers=4, bits="int8"), look=0.9)
    assert [folder.name for folder in workbench.Workbench.floats(bench, row)] == kept


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tiny, tmp_path, texts):
    """SIGKILL while a candidate is trained: what was whole is not made again, and the run ends as if undisturbed."""
    out, work = tmp_path / "out", tmp_path / "out.work"
    budget = ["--max-size", "12KB", "--min-quality", "1.0", "--json"]
    command = [sys.executable, "-m", "compact_labse", *words(tiny("static"), texts, out, *budget)]
    command[command.index("--minutes") + 1] = "0.2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 240
    while not list(work.glob("training/*/training/log.jsonl")) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/manifest.json")}
    assert {path.parent.name.partition("-")[0] for path in before} >= {"text", "trimmed", "predicted"}
    assert not any(path.parent.name.startswith("healed") for path in before)
    assert not out.exists()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 3, ended.stderr  # nothing keeps everything
    after = {path: path.stat().st_mtime_ns for path in work.glob("*/manifest.json")}
    assert before.items() <= after.items()
    assert any(path.parent.name.startswith("healed") for path in after)
    assert json.loads(ended.stdout)["chosen"]["candidate"]
    assert load(str(out)).dim > 0


@pytest.mark.slow
def test_a_transformer_from_pairs_end_to_end(tiny, tmp_path, capsys):
    """Trimmed, pruned, healed on pairs and exported, timed in earnest; held-out pairs judge."""
    from tests.tiny_pairs import write_corpus

    corpus = write_corpus(tmp_path / "corpus", 400)
    code = main(
        [
            "compress", str(tiny("minilm")), "--data", str(corpus), "--out", str(tmp_path / "out"), "--json",
            "--max-size", "40KB", "--max-latency", "1s", "--min-quality", "0.1", "--minutes", "0.05",
            "--looks", "2", "--trained", "1",
        ]
    )  # fmt: skip
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    chosen = found["chosen"]
    slack = chosen["predicted"]["slack"]
    assert 0 <= chosen["predicted"]["bytes"] - chosen["bytes"] <= slack + 3000  # untrained weights repeat: see predict
    assert "held" in chosen["ratios"]
    assert any("trained" in one["step"] for one in found["steps"])
    assert load(str(tmp_path / "out")).encode(["the cat sees the house today"]).shape[0] == 1
