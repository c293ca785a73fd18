"""Killing the training of a teacher, on one process and on several: it goes on, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")
pytest.importorskip("psutil")

import psutil
from safetensors.torch import load_file

from compact_labse.cli import main
from tests.distill.test_train_pipeline import log_of, together, words
from tests.ranks_program import ROOT, start
from tests.tiny_pairs import write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "corpus")
    return tmp_path


def wait_for_step(folder: Path, out: str, step: int) -> None:
    """Return when the log has reached a step."""
    path, deadline = folder / f"{out}.work/training/log.jsonl", time.monotonic() + 300
    while time.monotonic() < deadline:
        if path.is_file() and any(f'"step": {step},' in line for line in path.read_text().splitlines()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not reach step {step} in time")


def furthest(one: Path, other: Path) -> float:
    """The largest relative difference of any tensor (norm of the difference)."""
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert set(first) == set(second)
    return max(float((first[name] - second[name]).norm() / first[name].norm()) for name in first)


def without_times(folder: Path, out: str) -> list[dict]:
    timed = ("seconds", "pairs_per_s", "tokens_per_s", "utilisation")
    return [{key: value for key, value in line.items() if key not in timed} for line in log_of(folder, out)]


def test_one_process_killed_in_the_middle_ends_bit_for_bit_the_same(folder):
    assert main(words(folder, out="straight")) == 0
    [process] = start("compact_labse", 1, words(folder, out="killed"))
    wait_for_step(folder, "killed", 15)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert main(words(folder, out="killed")) == 0
    one, other = (folder / name / "model.safetensors" for name in ("straight", "killed"))
    assert one.read_bytes() == other.read_bytes()
    assert without_times(folder, "straight") == without_times(folder, "killed")


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_a_rank_that_is_killed_stops_the_others_and_all_go_on_together(folder, engine):
    for code, said in together(folder, 2, out="straight", engine=engine):
        assert code == 0, said
    running = start("compact_labse", 2, words(folder, out="killed", engine=engine))
    wait_for_step(folder, "killed", 15)
    running[1].kill()
    assert running[0].wait(timeout=120) == 2, "a clear error, no hang"
    assert "rank 0 of 2 lost another one" in running[0].stderr.read()
    ended = together(folder, 2, out="killed", engine=engine)
    assert [code for code, _ in ended] == [0, 0], ended
    assert "going on from step" in ended[0][1]
    assert furthest(folder / "straight", folder / "killed") < 1e-6


def test_torchrun_starts_a_killed_rank_again_from_the_last_checkpoint(folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", "-m", "compact_labse", *words(folder)]
    errors = folder / "stderr"
    with open(errors, "w") as file:
        torchrun = subprocess.Popen(command, cwd=ROOT, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"})
        wait_for_step(folder, "teacher", 15)
        workers = [p for p in psutil.Process(torchrun.pid).children() if "compact_labse" in " ".join(p.cmdline())]
        workers[-1].kill()
        assert torchrun.wait(timeout=400) == 0, errors.read_text()
    assert "going on from step" in errors.read_text()
    assert (folder / "teacher/model.safetensors").is_file()
    assert [line["step"] for line in log_of(folder) if "loss" in line] == [5, 10, 15, 20, 25, 30]


def test_a_loss_that_is_not_finite_stops_every_rank_and_leaves_the_batches(folder):
    huge = {"loop__optimizer__lr": 1e38, "loop__optimizer__table_lr": 1e38, "loop__optimizer__clip": 0}
    ended = together(folder, 2, **huge)
    assert [code for code, _ in ended] == [2, 2], ended
    assert "is not finite at step" in ended[0][1]
    [stopped] = (folder / "teacher.work/training").glob("stopped-at-*")
    batch = [load_file(stopped / f"rank-{rank}/batch-0.safetensors") for rank in range(2)]
    assert batch[0]["row_BA"].shape == (16, 1)
    assert set(batch[0]["row_BA"].ravel().tolist()).isdisjoint(batch[1]["row_BA"].ravel().tolist())


def test_a_run_of_two_ranks_goes_on_with_one(folder):
    running = start("compact_labse", 2, words(folder))
    wait_for_step(folder, "teacher", 15)
    for process in running:
        process.kill()
        process.wait()
    assert main(words(folder)) == 0
    assert json.loads((folder / "teacher/lineage.json").read_text())["command"] == "train"
