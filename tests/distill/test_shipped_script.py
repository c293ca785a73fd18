"""What `distill/shipped.sh` asks for, with a stand-in for Python that notes its words and leaves what a pass would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jsonargparse", reason="configurations need the extra 'train'")

from compact_labse.commands.distill import WORDS
from compact_labse.configuration import read_config
from compact_labse.pipelines import load_pipeline, pipeline_folder

STAND_IN = f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[1:]
with open("calls.jsonl", "a") as file:
    file.write(json.dumps(words) + "\\n")
out = pathlib.Path(words[words.index("--out") + 1])
out.mkdir()
(out / "lineage.json").touch()
"""


@pytest.fixture
def script(tmp_path):
    """Runs the script in an empty folder; gives the exit code, what it said, and the calls so far."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    path = pipeline_folder("distill") / "shipped.sh"

    def run(*words: str) -> tuple[int, str, list[list[str]]]:
        environment = os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", path, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        calls = tmp_path / "calls.jsonl"
        return (
            done.returncode,
            done.stderr,
            [*map(json.loads, calls.read_text().splitlines() if calls.exists() else [])],
        )

    return run


def test_three_passes_each_from_the_one_before_and_an_export(script, tmp_path, monkeypatch):
    code, said, calls = script("data", "eval", "out", "--student.dim", "64")
    assert (code, said) == (0, "")
    assert [call[:3] for call in calls] == [["-m", "compact_labse", "distill"]] * 3 + [
        ["-m", "compact_labse", "export"]
    ]
    monkeypatch.chdir(tmp_path)
    kind = load_pipeline("distill", "student").DistillConfig
    passes = [read_config(call[3:], kind, WORDS) for call in calls[:3]]
    assert [one.out for one in passes] == ["out.first", "out.second", "out"]
    assert [one.student.start for one in passes] == ["random", "out.first", "out.second"]
    assert [one.corpus.weights["stsb_mt_train"] for one in passes] == [2, 3, 6]
    assert [one.corpus.companions for one in passes] == [0, 1, 0]
    assert [one.objectives.similarity for one in passes] == [0.5, 0.6, 1.5]
    for one in passes:
        assert (one.student.dim, one.corpus.weights["omw_lexicon"], one.targets) == (64, 0.5, "out.targets")
        assert one.corpus.avoid == ["eval/tatoeba", "eval/pud", "eval/sts"] and "data/tatoeba_manythings" in one.data
    assert calls[3][3:] == ["out", "--onnx", "--int3", "--external-data", "--out", "out.export"]


def test_the_same_line_goes_on_after_the_passes_that_are_there(script, tmp_path):
    """It stopped at the first pass, whose folder was not empty."""
    (tmp_path / "out.first").mkdir()
    (Path(tmp_path) / "out.first" / "lineage.json").touch()
    code, _, calls = script("data", "eval", "out")
    assert code == 0
    assert [call[call.index("--out") + 1] for call in calls] == ["out.second", "out", "out.export"]
    assert script("data", "eval", "out")[2] == calls, "nothing is left to do"


def test_without_arguments_it_says_how_it_is_called(script):
    code, said, calls = script()
    assert (code, calls) == (2, []) and said.startswith("usage: distill/shipped.sh DATA EVAL OUT")
