"""What a training run says of itself: JSONL and TensorBoard on disk, a bar or a line now and then on stderr.

Weights & Biases gets the same values where a project is named.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from compact_labse.errors import require
from compact_labse.progress import say
from compact_labse.training.loop_config import LoopConfig

LOG, WANDB_ID = "log.jsonl", "wandb-run"
SHOWN = ("pairs", "rows", "tokens")


def no_log() -> Any:
    """The log of a rank that is not the first: takes everything, says and writes nothing."""
    return _NoLog()


class RunLog:
    """The log of one run; opened again after an interruption, it forgets what came after the checkpoint."""

    def __init__(self, folder: Path, first_step: int, steps: int, config: LoopConfig) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.steps, self._every_s = steps, config.say_every_s
        self._file = _cut(folder / LOG, first_step)
        self._board = _board(folder / "tensorboard", first_step) if config.tensorboard else None
        self._wandb = _wandb_run(config.wandb, folder, first_step) if config.wandb else None
        self._bar = _bar(steps, first_step) if sys.stderr.isatty() else None
        self._said = time.monotonic()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        # What is still buffered cannot be written to a full disk either, which is what `error` says already.
        with suppress(OSError) if error is not None else nullcontext():
            self._file.close()
            if self._board is not None:
                self._board.close()
            if self._wandb is not None:
                self._wandb.finish(exit_code=int(error is not None))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log values of a step (1-based) under their names."""
        self._file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def advance(self, step: int, last: Mapping[str, float], seconds_per_step: float, best: float | None) -> None:
        """Show progress: the bar moves at each step; without a terminal a line is printed every `every_s` seconds.

        `last` is what was logged last.
        """
        text = f"loss {last['loss']:.4f}" if "loss" in last else ""
        text += "" if best is None else f"  best {best:.4f}"
        text += "".join(f"  {last[f'{name}_per_s']:,.0f} {name}/s" for name in SHOWN if f"{name}_per_s" in last)
        text += f"  {last['utilisation']:.0%} of peak" if "utilisation" in last else ""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, description=f"training  {text}")
        elif time.monotonic() - self._said >= self._every_s:
            self._said = time.monotonic()
            left = _clock((self.steps - step) * seconds_per_step)
            say(f"step {step}/{self.steps}  {text}  {1 / max(seconds_per_step, 1e-9):.2f} steps/s  {left} left")

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log an evaluation, and say its score."""
        self.write(step, {f"heldout/{name}": value for name, value in metrics.items()})
        line = f"step {step}: held-out score {metrics['score']:.4f}"
        if self._bar is not None:
            self._bar.console.print(line)
        else:
            say(line)


class _NoLog:
    def __enter__(self) -> _NoLog:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def write(self, *given: Any) -> None:
        """Nothing."""

    advance = evaluated = write


def _clock(seconds: float) -> str:
    minutes, left = divmod(round(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{left:02}"


def _cut(path: Path, first_step: int) -> Any:
    """Open the log for appending after dropping lines later than `first_step`, and a last line that was torn."""
    kept = []
    if path.is_file() and first_step:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= first_step:
                    kept.append(line + "\n")
            except ValueError:
                continue
    path.write_text("".join(kept), encoding="utf-8")
    return open(path, "a", encoding="utf-8")


def _board(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step or None)


def _wandb_run(project: str, folder: Path, first_step: int) -> Any:
    """The run of this folder, gone on with when training is."""
    wandb, place = require("wandb", "wandb"), folder / WANDB_ID
    known = place.read_text().strip() if first_step and place.is_file() else None
    name = folder.parent.name.removesuffix(".work")
    run = wandb.init(project=project, name=name, dir=str(folder), id=known, resume="allow")
    place.write_text(f"{run.id}\n")
    return run


def _bar(steps: int, first_step: int) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    bar.add_task("training", total=steps, completed=first_step)
    bar.start()
    return bar
