"""The one training loop: accumulation, bf16, schedule, evaluation, early stopping, logs, checkpoints, exact resume."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from compact_labse.checkpoint import Progress, load_best, load_checkpoint, save_best, save_checkpoint
from compact_labse.errors import UserError
from compact_labse.loop_config import FREE, LoopConfig
from compact_labse.optimizer import Optimizer
from compact_labse.progress import say
from compact_labse.runlog import RunLog
from compact_labse.stages import hash_of
from compact_labse.writing import is_disk_full

__all__ = ["LoopConfig", "Task", "train"]

PROBE_STEPS = 8
PROBE_SHARE = 0.8  # the rest is for the optimizer, evaluations and checkpoints


class Task(Protocol):
    """What the loop trains: a module, its data, its objectives and its evaluation."""

    @property
    def module(self) -> nn.Module:
        """What is trained, saved in checkpoints and moved to the device."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the module's parameters that are tables of token vectors."""

    def batch(self, number: int) -> Any:
        """The batch of that number: a pure function, called ahead of time in another thread."""

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum to minimise, and the unweighted objectives by name."""

    def evaluate(self) -> dict[str, float]:
        """Held-out metrics; "score" decides which weights are kept (larger is better). Empty if there is no data."""


def train(task: Task, config: LoopConfig, folder: Path, key: str = "", *, replace: bool = False) -> Progress:
    """Train `task.module` until the steps are done, the time is up or patience ends; leaves the best weights in it.

    Checkpoints and logs go to `folder`. If it holds the checkpoint of an interrupted run with the same settings and
    the same `key` (what the data and the model depend on), training goes on from there and ends with the same weights
    as without the interruption. A checkpoint of other settings raises UserError, or is given up with `replace`. Ctrl-C
    saves a checkpoint, then raises KeyboardInterrupt.
    """
    try:
        return _Run(task, config, Path(folder), key, replace).until_done()
    except OSError as error:
        if is_disk_full(error, Path(folder)):
            raise UserError(
                f"the disk is full: training stopped, the last checkpoint in {folder} is whole; free some space there "
                "and give the same command again"
            ) from error
        raise


class _Run:
    def __init__(self, task: Task, config: LoopConfig, folder: Path, key: str, replace: bool) -> None:
        self.task, self.config, self.folder = task, config, folder
        free = {name: value for name, value in asdict(config).items() if name not in FREE}
        self.key = hash_of({"loop": free, "task": key})
        self.device = config.torch_device()
        task.module.to(self.device)
        found = load_checkpoint(folder, task.module, self.key, replace=replace)
        self.progress = found[0] if found else Progress()
        self.steps = config.steps or self.progress.extra.get("steps") or self._fitting_steps()
        self.progress.extra["steps"] = self.steps
        self.optimizer = Optimizer(task.module, task.tables, self.steps, config.optimizer)
        if found:
            self.optimizer.restore(found[1])
        sums = self.progress.extra.pop("sums", {})
        self._sums = {name: torch.tensor(value, device=self.device) for name, value in sums.items()}
        self._loss: float | None = None
        self._saved = self._started = time.monotonic()
        self._before, self._first = self.progress.seconds, self.progress.step

    def until_done(self) -> Progress:
        progress, config = self.progress, self.config
        if progress.finished and not (progress.finished == "time" and self._time_left()):
            say(f"training: already finished at step {progress.step}")
            return self._with_best()
        progress.finished = ""
        if self._first:
            say(f"training: going on from step {self._first} of {self.steps}")
        log = RunLog(self.folder, self._first, self.steps, every_s=config.say_every_s, tensorboard=config.tensorboard)
        with log, _signals() as stop, _ahead(self.task, self._first * config.accumulation) as batches:
            while not progress.finished:
                self._step(batches, log)
                self._after_step(log, stop)
        return self._with_best()

    def _step(self, batches: Iterator[Any], log: RunLog) -> None:
        self.task.module.train()
        for _ in range(self.config.accumulation):
            total, named = self._losses(next(batches))
            (total / self.config.accumulation).backward()
            for name, value in {"loss": total, **named}.items():
                self._sums[name] = self._sums.get(name, 0.0) + value.detach() / self.config.accumulation
        share, norm = self.optimizer.step(self.progress.step)
        if not math.isfinite(norm):
            raise UserError(f"the gradient is not finite at step {self.progress.step + 1}: lower the learning rates")
        self.progress.step += 1
        step = self.progress.step
        self.progress.seconds = self._before + time.monotonic() - self._started
        if step % self.config.log_every == 0 or step == self.steps:
            self._log(log, share, norm)
        log.advance(step, self._loss, self._pace(), self.progress.best_score)

    def _losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            return self.task.losses(batch)

    def _log(self, log: RunLog, share: float, norm: float) -> None:
        # Counted from the last multiple, so that a resumed run logs what an uninterrupted one does.
        count = self.progress.step % self.config.log_every or self.config.log_every
        means = {name: float(value) / count for name, value in self._sums.items()}
        self._sums, self._loss = {}, means["loss"]
        rates = {"lr": share * self.config.optimizer.lr, "gradient_norm": norm, "seconds": self.progress.seconds}
        log.write(self.progress.step, means | rates)

    def _after_step(self, log: RunLog, stop: threading.Event) -> None:
        progress, config = self.progress, self.config
        if progress.step == self.steps:
            progress.finished = "steps"
        elif not self._time_left():
            progress.finished = "time"
        if progress.finished or (config.eval_every and progress.step % config.eval_every == 0):
            self._evaluate(log)
        minutes = (time.monotonic() - self._saved) / 60
        often = config.checkpoint_every and progress.step % config.checkpoint_every == 0
        if progress.finished or often or minutes >= config.checkpoint_minutes or stop.is_set():
            self._save()
        if stop.is_set() and not progress.finished:
            raise KeyboardInterrupt

    def _evaluate(self, log: RunLog) -> None:
        self.task.module.eval()
        with torch.no_grad():
            metrics = self.task.evaluate()
        if not metrics:
            return
        progress, score = self.progress, metrics["score"]
        log.evaluated(progress.step, metrics)
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_step = score, progress.step
            progress.extra["worse"] = 0
            save_best(self.folder, self.task.module)
            return
        progress.extra["worse"] += 1
        if self.config.patience and progress.extra["worse"] >= self.config.patience:
            progress.finished = progress.finished or "patience"

    def _save(self) -> None:
        self.progress.extra["sums"] = {name: float(value) for name, value in self._sums.items()}
        save_checkpoint(self.folder, self.task.module, self.optimizer.tensors(), self.progress, self.key)
        self._saved = time.monotonic()

    def _with_best(self) -> Progress:
        if self.progress.best_score is not None and load_best(self.folder, self.task.module):
            say(f"training: keeping step {self.progress.best_step}, score {self.progress.best_score:.4f}")
        return self.progress

    def _time_left(self) -> bool:
        return self.config.max_minutes is None or self.progress.seconds < 60 * self.config.max_minutes

    def _pace(self) -> float:
        return (time.monotonic() - self._started) / max(1, self.progress.step - self._first)

    def _fitting_steps(self) -> int:
        """How many steps fit in the time, from a few trial batches that change no weight."""
        assert self.config.max_minutes is not None
        random = torch.get_rng_state()
        self.task.module.train()
        for number in range(PROBE_STEPS + 1):
            if number == 1:  # the first one warms caches
                started = time.monotonic()
            self._losses(self.task.batch(number))[0].backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        pace = self.config.accumulation * (time.monotonic() - started) / PROBE_STEPS
        for parameter in self.task.module.parameters():
            parameter.grad = None
        torch.set_rng_state(random)
        return max(1, int(PROBE_SHARE * 60 * self.config.max_minutes / pace))


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this step; a checkpoint is being saved")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ahead(task: Task, first: int) -> Iterator[Iterator[Any]]:
    """The task's batches from number `first`, each prepared while the one before it is trained on."""
    with ThreadPoolExecutor(1) as pool:

        def batches() -> Iterator[Any]:
            number, coming = first, pool.submit(task.batch, first)
            while True:
                ready = coming.result()
                number += 1
                coming = pool.submit(task.batch, number)
                yield ready

        yield batches()
