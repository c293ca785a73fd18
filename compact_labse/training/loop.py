"""The one training loop: accumulation, bf16, schedule, evaluation, early stopping, logs, checkpoints, exact resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from compact_labse.errors import UserError
from compact_labse.stages import hash_of
from compact_labse.training import ranks
from compact_labse.training.checkpoint import Progress, load_best, load_checkpoint, save_best, save_checkpoint
from compact_labse.training.loop_config import FREE, LoopConfig
from compact_labse.training.loop_context import ahead, check_sane, operations_per_token, peak_operations, signals
from compact_labse.training.optimizer import Optimizer
from compact_labse.training.runlog import RunLog, no_log
from compact_labse.writing import is_disk_full

__all__ = ["LoopConfig", "Task", "train"]

PROBE_STEPS = 8
PROBE_SHARE = 0.8  # the rest is for the optimizer, evaluations and checkpoints

Autocast = Callable[[], AbstractContextManager[object]]


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

    def sizes(self, batch: Any) -> Mapping[str, int]:
        """What a batch consists of, over all ranks, for the log's rates: `{"pairs": 1024, "tokens": 31000}`."""

    def evaluate(self) -> dict[str, float]:
        """Held-out metrics; "score" decides which weights are kept (larger is better). Empty if there is no data."""


class SummingTask(Task, Protocol):
    """A task whose batch fits in memory: the loop takes the gradient."""

    def losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum to minimise, and the unweighted objectives by name."""


class SteppingTask(Task, Protocol):
    """A task that takes the gradient itself."""

    def backward(self, batch: Any, share: float, autocast: Autocast) -> dict[str, Tensor]:
        """Add `share` of the gradient to the weights, encoding in `autocast()`; gives "loss" and what else to log."""


def train(
    task: SummingTask | SteppingTask, config: LoopConfig, folder: Path, key: str = "", *, replace: bool = False
) -> Progress:
    """Train `task.module` until the steps are done, the time is up or patience ends; leaves the best weights in it.

    Checkpoints and logs go to `folder`. If it holds the checkpoint of an interrupted run with the same settings and
    the same `key` (what the data and the model depend on), training goes on from there and ends with the same weights
    as without the interruption. A checkpoint of other settings raises UserError, or is given up with `replace`. Ctrl-C
    saves a checkpoint, then raises KeyboardInterrupt. A loss that is not finite or explodes is a UserError.
    Several ranks (`ranks.together`) call this with the same arguments; the first one writes.
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
    def __init__(
        self, task: SummingTask | SteppingTask, config: LoopConfig, folder: Path, key: str, replace: bool
    ) -> None:
        self.task, self.config, self.folder = task, config, folder
        free = {name: value for name, value in asdict(config).items() if name not in FREE}
        self.key = hash_of({"loop": free, "task": key})
        self.device = config.torch_device()
        task.module.to(self.device)
        kind = self.device.type
        self._autocast: Autocast = partial(torch.autocast, kind, torch.bfloat16) if config.bf16 else nullcontext
        found = load_checkpoint(folder, task.module, self.key, replace=replace)
        self.progress = found[0] if found else Progress()
        self.steps = config.steps or self.progress.extra.get("steps") or self._fitting_steps()
        self.progress.extra["steps"] = self.steps
        self.optimizer = Optimizer(task.module, task.tables, self.steps, config.optimizer)
        if found:
            self.optimizer.restore(found[1])
        sums = self.progress.extra.pop("sums", {})
        self._sums = {name: torch.tensor(value, device=self.device) for name, value in sums.items()}
        self._sizes: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._work, self._peak = operations_per_token(task.module, task.tables), 0.0
        self._saved = self._started = self._logged = time.monotonic()
        self._before, self._first = self.progress.seconds, self.progress.step

    def until_done(self) -> Progress:
        progress, config = self.progress, self.config
        if progress.finished and not (progress.finished == "time" and self._time_left()):
            ranks.say_first(f"training: already finished at step {progress.step}")
            return self._with_best()
        progress.finished = ""
        if self._first:
            ranks.say_first(f"training: going on from step {self._first} of {self.steps}")
        first = ranks.is_first()
        log = RunLog(self.folder, self._first, self.steps, config) if first else no_log()
        if first and self._work:
            self._peak = ranks.world() * peak_operations(self.device, config.bf16)
        with log, signals() as stop, ahead(self.task.batch, self._first * config.accumulation) as batches:
            while not progress.finished:
                self._step(batches, log)
                self._after_step(log, stop)
        return self._with_best()

    def _step(self, batches: Iterator[Any], log: RunLog) -> None:
        self.task.module.train()
        used, loss = [], 0.0
        for _ in range(self.config.accumulation):
            used.append(next(batches))
            named = self._backward(used[-1], 1 / self.config.accumulation)
            loss += float(named["loss"]) / self.config.accumulation
            for name, value in named.items():
                self._sums[name] = self._sums.get(name, 0.0) + value.detach() / self.config.accumulation
            for name, size in self.task.sizes(used[-1]).items():
                self._sizes[name] = self._sizes.get(name, 0) + size
        norm = self.optimizer.shorten()
        step, extra = self.progress.step + 1, self.progress.extra
        limits = {"worst": extra.get("worst", 0.0), "explosion": self.config.explosion}
        extra["worst"] = check_sane(self.folder, step, loss, norm, **limits, batches=used)
        share = self.optimizer.step(self.progress.step)
        self.progress.step = step
        self.progress.seconds = self._before + time.monotonic() - self._started
        if step % self.config.log_every == 0 or step == self.steps:
            self._log(log, share, norm)
        log.advance(step, self._last, self._pace(), self.progress.best_score)

    def _backward(self, batch: Any, share: float) -> dict[str, Tensor]:
        if hasattr(self.task, "backward"):
            return self.task.backward(batch, share, self._autocast)
        with self._autocast():
            total, named = self.task.losses(batch)
        (total * share).backward()
        return {"loss": total.detach(), **named}

    def _log(self, log: RunLog, share: float, norm: float) -> None:
        # Counted from the last multiple, so that a resumed run logs what an uninterrupted one does.
        count = self.progress.step % self.config.log_every or self.config.log_every
        means = {name: float(value) / count for name, value in self._sums.items()}
        self._sums = {}
        rates = {"lr": share * self.config.optimizer.lr, "gradient_norm": norm, "seconds": self.progress.seconds}
        now = time.monotonic()
        rates |= {f"{name}_per_s": size / max(now - self._logged, 1e-9) for name, size in self._sizes.items()}
        if self._peak and "tokens_per_s" in rates:
            rates["utilisation"] = self._work * rates["tokens_per_s"] / self._peak
        self._sizes, self._logged = {}, now
        self._last = means | rates
        log.write(self.progress.step, self._last)

    def _after_step(self, log: RunLog, stop: threading.Event) -> None:
        progress, config = self.progress, self.config
        due = time.monotonic() - self._saved >= 60 * config.checkpoint_minutes
        late, due, stopped = ranks.any_of([not self._time_left(), due, stop.is_set()])
        if progress.step == self.steps:
            progress.finished = "steps"
        elif late:
            progress.finished = "time"
        if progress.finished or (config.eval_every and progress.step % config.eval_every == 0):
            self._evaluate(log)
        often = config.checkpoint_every and progress.step % config.checkpoint_every == 0
        if progress.finished or often or due or stopped:
            self._save()
        if stopped and not progress.finished:
            raise KeyboardInterrupt

    def _evaluate(self, log: RunLog) -> None:
        self.task.module.eval()
        with torch.no_grad():
            metrics = ranks.from_first(self.task.evaluate())
        if not metrics:
            return
        progress, score = self.progress, metrics["score"]
        log.evaluated(progress.step, metrics)
        self._logged = time.monotonic()
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_step = score, progress.step
            progress.extra["worse"] = 0
            save_best(self.folder, self.task.module, progress.step)
            return
        progress.extra["worse"] += 1
        if self.config.patience and progress.extra["worse"] >= self.config.patience:
            progress.finished = progress.finished or "patience"

    def _save(self) -> None:
        self.progress.extra["sums"] = {name: float(value) for name, value in self._sums.items()}
        save_checkpoint(self.folder, self.task.module, self.optimizer.tensors(), self.progress, self.key)
        self._saved = time.monotonic()

    def _with_best(self) -> Progress:
        if self.progress.best_score is not None and load_best(self.folder, self.task.module, self.progress):
            ranks.say_first(f"training: keeping step {self.progress.best_step}, score {self.progress.best_score:.4f}")
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
            self._backward(self.task.batch(number), 1.0)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        pace = self.config.accumulation * (time.monotonic() - started) / PROBE_STEPS
        for parameter in self.task.module.parameters():
            parameter.grad = None
        torch.set_rng_state(random)
        return ranks.from_first(max(1, int(PROBE_SHARE * 60 * self.config.max_minutes / pace)))
