"""The training loop: exact resume after kill -9 and Ctrl-C, early stopping, time limits, logs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from compact_labse.errors import UserError
from compact_labse.training.checkpoint import checkpoints
from compact_labse.training.loop import LoopConfig, train
from tests.loop_task import Bag, BagTask, config

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.loop_task", str(folder), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    timed = ("seconds", "texts_per_s", "tokens_per_s", "utilisation")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def last(folder: Path) -> Path:
    return checkpoints(folder)[0]


def best(folder: Path) -> list[Path]:
    return sorted(folder.glob("best*"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loop") / "straight"
    train(BagTask(), config(), folder)
    return folder


def assert_same_result(one: Path, other: Path) -> None:
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert (last(one) / name).read_bytes() == (last(other) / name).read_bytes(), name
    assert [path.name for path in best(one)] == [path.name for path in best(other)]
    for path, same in zip(best(one), best(other), strict=True):
        assert (path / "weights.safetensors").read_bytes() == (same / "weights.safetensors").read_bytes()
    assert log_of(one) == log_of(other)


def test_training_learns(uninterrupted):
    lines = log_of(uninterrupted)
    losses = [line["choice"] for line in lines if "choice" in line]
    assert losses[-1] < 0.7 * losses[0]
    assert [line["step"] for line in lines if "heldout/score" in line] == [10, 20, 30, 40, 50, 60]


def test_a_killed_run_goes_on_and_ends_bit_for_bit_the_same(uninterrupted, tmp_path):
    folder = tmp_path / "killed"
    # Batch 65 belongs to step 33: the last checkpoint is that of step 28, the log is ahead of it.
    assert run(folder, "--kill-at", "65").returncode == -signal.SIGKILL
    assert json.loads((last(folder) / "progress.json").read_text())["step"] == 28
    (folder / ".0123abcd-new.step-000000033").mkdir()  # as if killed while writing; the next one is of step 35
    named = best(folder)[0]
    named.rename(folder / f".4567abcd-old.{named.name}")
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == "56", "data goes on after the 28 steps of two batches"
    assert "going on from step 28 of 60" in again.stderr
    assert_same_result(uninterrupted, folder)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_ctrl_c_saves_and_the_next_run_ends_the_same(uninterrupted, tmp_path):
    folder = tmp_path / "stopped"
    stopped = run(folder, "--interrupt-at", "50")
    assert "KeyboardInterrupt" in stopped.stderr
    step = json.loads((last(folder) / "progress.json").read_text())["step"]
    assert 20 < step < 30
    assert step % 7, "saved because of Ctrl-C, not because it was time"
    assert run(folder).returncode == 0
    assert_same_result(uninterrupted, folder)


def test_a_finished_run_is_not_repeated(uninterrupted):
    task = BagTask()
    progress = train(task, config(), uninterrupted)
    assert (progress.step, progress.finished, task.asked) == (60, "steps", [])
    best = BagTask()
    assert not torch.equal(task.module.table, best.module.table), "the best weights are in the module"


def test_other_settings_do_not_go_on_with_a_checkpoint_but_free_ones_do(uninterrupted):
    with pytest.raises(UserError, match="belongs to other settings or data"):
        train(BagTask(), config(seed=5), uninterrupted)
    with pytest.raises(UserError, match="belongs to other settings or data"):
        train(BagTask(), config(), uninterrupted, key="other data")
    train(BagTask(), config(log_every=3, checkpoint_minutes=1), uninterrupted)


def test_a_torn_checkpoint_is_passed_over_for_the_one_before_it(uninterrupted, tmp_path, capsys):
    folder = tmp_path / "torn"
    assert run(folder, "--kill-at", "65").returncode == -signal.SIGKILL
    assert [path.name for path in checkpoints(folder)] == ["step-000000028", "step-000000021"], "rotated"
    damage(last(folder) / "optimizer.safetensors")
    train(BagTask(), config(), folder)
    said = capsys.readouterr().err
    assert "step-000000028 is damaged (optimizer.safetensors has changed); trying the one before it" in said
    assert "going on from step 21 of 60" in said
    assert_same_result(uninterrupted, folder)


def damage(path: Path) -> None:
    """Change one bit of a weight or its memory: only the hash can tell."""
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 1
    path.write_bytes(bytes(damaged))


class Killed(Exception):
    """What ends a run without a word."""


class KilledTask(BagTask):
    """Ends at a batch, as if it had been killed."""

    def __init__(self, number: int, scores: list[float]) -> None:
        super().__init__(scores=scores)
        self.number = number

    def losses(self, batch):
        if torch.equal(batch[0], BagTask().batch(self.number)[0]):
            raise Killed
        return super().losses(batch)


def kept(folder: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in checkpoints(folder)]


def test_a_damaged_checkpoint_is_none_of_the_two_that_are_kept(tmp_path):
    with pytest.raises(Killed):
        train(KilledTask(58, [0.1] * 9), config(), tmp_path)
    assert kept(tmp_path) == [28, 21]
    damage(last(tmp_path) / "weights.safetensors")
    with pytest.raises(Killed):
        train(KilledTask(50, [0.1] * 9), config(checkpoint_every=2), tmp_path)
    assert kept(tmp_path) == [24, 22]


def test_the_best_weights_are_those_that_the_checkpoint_knows_of(tmp_path, capsys):
    """Better ones, saved after it by a run that was killed, may not come again (on another number of ranks, say)."""
    with pytest.raises(Killed):
        train(KilledTask(65, [0.1, 0.5, 0.9]), config(), tmp_path)
    assert [path.name for path in best(tmp_path)] == ["best-000000020", "best-000000030"]
    known = load_file(best(tmp_path)[0] / "weights.safetensors")
    task = BagTask(scores=[0.2, 0.3, 0.1, 0.1])
    progress = train(task, config(), tmp_path)
    assert (progress.best_step, progress.best_score) == (20, 0.5)
    assert "keeping step 20, score 0.5000" in capsys.readouterr().err
    assert torch.equal(task.module.table, known["table"])
    assert [path.name for path in best(tmp_path)] == ["best-000000020"]


def test_the_best_weights_of_the_checkpoint_before_are_kept(tmp_path):
    with pytest.raises(Killed):
        train(KilledTask(58, [0.1, 0.2, 0.3, 0.4, 0.5]), config(eval_every=5), tmp_path)
    assert [path.name for path in best(tmp_path)] == ["best-000000020", "best-000000025"]
    known = load_file(best(tmp_path)[0] / "weights.safetensors")
    damage(last(tmp_path) / "weights.safetensors")
    task = BagTask(scores=[0.0] * 8)
    assert train(task, config(eval_every=5), tmp_path).best_step == 20
    assert torch.equal(task.module.table, known["table"])


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_without_the_best_weights_the_last_are_kept_and_said_to_be(tmp_path, capsys, how):
    train(BagTask(scores=[0.1, 0.9, 0.1, 0.1, 0.1, 0.1]), config(), tmp_path)
    assert "keeping step 20" in capsys.readouterr().err
    [path] = best(tmp_path)
    if how == "damaged":
        damage(path / "weights.safetensors")
    else:
        shutil.rmtree(path)
    task = BagTask()
    train(task, config(), tmp_path)
    said = capsys.readouterr().err
    reason = "weights.safetensors has changed" if how == "damaged" else "the folder is missing"
    assert f"warning: the best weights {path} are damaged ({reason}); keeping the last step's instead" in said
    assert "keeping step" not in said
    assert torch.equal(task.module.table, load_file(last(tmp_path) / "weights.safetensors")["table"])


def test_when_every_checkpoint_is_damaged_the_user_hears_it(tmp_path):
    train(BagTask(), config(steps=3), tmp_path)
    (last(tmp_path) / "hashes.json").unlink()
    with pytest.raises(UserError, match="every checkpoint in .* is damaged; delete"):
        train(BagTask(), config(steps=3), tmp_path)


def test_patience_ends_the_run_and_the_best_weights_are_kept(tmp_path):
    task = BagTask(scores=[0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    progress = train(task, config(patience=2), tmp_path)
    assert (progress.finished, progress.step, progress.best_step, progress.best_score) == ("patience", 40, 20, 0.9)
    twenty = BagTask()
    other = tmp_path / "other"
    train(twenty, config(patience=2, eval_every=0), other)
    assert not torch.equal(task.module.table, twenty.module.table)


def test_the_time_limit_stops_and_more_time_goes_on(tmp_path):
    stopped = train(BagTask(), config(steps=5000, max_minutes=0.3 / 60, checkpoint_every=0), tmp_path)
    assert (stopped.finished, 0 < stopped.step < 5000) == ("time", True)
    more = train(BagTask(), config(steps=5000, max_minutes=0.6 / 60, checkpoint_every=0), tmp_path)
    assert more.step > stopped.step


def test_without_a_number_of_steps_as_many_are_chosen_as_fit(tmp_path):
    progress = train(BagTask(), config(steps=None, max_minutes=1 / 60), tmp_path)
    assert progress.extra["steps"] > 10
    assert progress.finished in ("steps", "time")


def test_accumulated_batches_equal_one_large_one(tmp_path):
    class Joined(BagTask):
        def batch(self, number):
            pairs = [BagTask.batch(self, 2 * number + k) for k in (0, 1)]
            return tuple(torch.cat(parts) for parts in zip(*pairs, strict=True))

    small, large = BagTask(), Joined()
    for task in (small, large):
        task.module.forward = lambda ids, bag=task.module: bag.head(
            torch.nn.functional.embedding(ids, bag.table, sparse=True).mean(1)
        )
    train(small, config(steps=6, eval_every=0), tmp_path / "small")
    train(large, config(steps=6, eval_every=0, accumulation=1), tmp_path / "large")
    torch.testing.assert_close(small.module.table, large.module.table, rtol=1e-4, atol=1e-5)
    assert not torch.equal(small.module.table, Bag().table)


def test_a_gradient_that_is_not_finite_is_a_user_error(tmp_path):
    class Broken(BagTask):
        def losses(self, batch):
            loss, named = super().losses(batch)
            return loss * float("inf"), named

    with pytest.raises(UserError, match="loss is not finite at step 1: lower the learning rates"):
        train(Broken(), config(), tmp_path)
    saved = load_file(tmp_path / "stopped-at-1/rank-0/batch-1.safetensors")
    assert torch.equal(saved["0"], BagTask().batch(1)[0]), "the batch is there to be looked at"


def test_an_exploding_loss_stops_and_changes_no_weight(tmp_path):
    class Exploding(BagTask):
        def losses(self, batch):
            loss, named = super().losses(batch)
            return loss * (1000 if len(self.asked) > 50 else 1), named

    task = Exploding()
    with pytest.raises(UserError, match=r"is 10 times the largest of the first 20 steps at step 2\d"):
        train(task, config(checkpoint_every=1), tmp_path)
    kept = load_file(last(tmp_path) / "weights.safetensors")
    assert torch.equal(kept["table"], task.module.table)


def test_a_loss_that_starts_near_zero_may_grow(tmp_path):
    class Coarsening(BagTask):
        def losses(self, batch):
            loss, named = super().losses(batch)
            share = 1e-3 if len(self.asked) < 50 else 0.05
            return loss / loss.detach() * share, named

    assert train(Coarsening(), config(), tmp_path).finished == "steps"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "give loop.steps or loop.max_minutes"),
        ({"steps": 0}, "loop.steps must be at least 1"),
        ({"max_minutes": -1}, "loop.max_minutes must be positive"),
        ({"accumulation": 0}, "at least 1"),
    ],
)
def test_bounds_are_checked_in_the_users_words(changes, message):
    with pytest.raises(UserError, match=message):
        LoopConfig(**changes)


def test_an_unknown_device_is_a_user_error():
    with pytest.raises(UserError, match="loop.device is 'tpu9'"):
        LoopConfig(device="tpu9").torch_device()


def test_a_full_disk_is_one_sentence_and_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    """Needs a file system that is full: a small tmpfs, which only root may mount."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        train(BagTask(), config(steps=3, eval_every=0), small / "run")
        before = (last(small / "run") / "progress.json").read_bytes()
        (small / "filler").write_bytes(b"x" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize))
        with pytest.raises(UserError, match="the disk is full"):
            train(BagTask(), config(steps=3, eval_every=0, seed=1), small / "other")
        assert (last(small / "run") / "progress.json").read_bytes() == before
    finally:
        subprocess.run(["umount", str(small)], check=True)


class CountedTask(BagTask):
    """Says how many tokens a batch has."""

    def sizes(self, batch):
        return {"texts": len(batch[1]), "tokens": batch[0].numel()}


def test_the_log_says_which_share_of_the_peak_is_used(tmp_path, monkeypatch, capsys):
    from compact_labse.training import loop

    monkeypatch.setattr(loop, "peak_operations", lambda device, bf16: 1e6)
    train(CountedTask(), config(steps=4, log_every=2, say_every_s=0.0), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [(line["utilisation"], line["tokens_per_s"]) for line in lines if "utilisation" in line]
    assert len(found) == 2
    for share, rate in found:  # the layer has 6 x 2 weights; the table's cost nothing
        assert share == pytest.approx(6 * 12 * rate / 1e6, rel=1e-3, abs=1e-6)
    assert "tokens/s" in capsys.readouterr().err


def test_the_peak_is_that_of_a_product(monkeypatch):
    from compact_labse.training import loop_context

    clock = iter([0.0, 1.0, 1.0, 1.5, 2.0, 2.25, 3.0, 4.0, 4.0, 5.0])
    monkeypatch.setattr(loop_context.time, "monotonic", lambda: next(clock))
    assert loop_context.peak_operations(torch.device("cpu"), True) == pytest.approx(2 * 512**3 / 0.25)


class BrokenTask(BagTask):
    """Fails at its third batch."""

    def batch(self, number):
        if number == 2:
            raise RuntimeError("no third batch")
        return super().batch(number)


def test_wandb_gets_the_same_values_and_goes_on_with_its_run(tmp_path, monkeypatch):
    """The real library, offline; its own file is read back."""
    pytest.importorskip("wandb", reason="needs the extra 'wandb'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged = config(steps=4, log_every=1, checkpoint_every=1, wandb="ours")
    with pytest.raises(RuntimeError, match="no third"):
        train(BrokenTask(), logged, tmp_path)
    train(BagTask(), logged, tmp_path)
    number = (tmp_path / "wandb-run").read_text().strip()
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert [run.name.split("-")[-1] for run in runs] == [number, number]
    data = b"".join(file.read_bytes() for run in runs for file in run.glob("*.wandb"))
    assert b"gradient_norm" in data and b"heldout/score" in data


def test_without_the_library_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"compact-labse\[wandb\]"):
        train(BagTask(), config(steps=2, wandb="ours"), tmp_path)
