"""A fresh process for every measurement, in rounds that visit all artifacts in turn, so that drift cancels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import compact_labse
from compact_labse.errors import UserError
from compact_labse.measure.speed.latency import MARK, Cell
from compact_labse.measure.speed.runners import command_of

T = TypeVar("T")

TIMEOUT_S = 1800.0

_POOLS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "VECLIB")


class CellFailed(Exception):
    """A measurement that gave no values: the message is what the row in the report says."""


def schedule(pairs: Sequence[tuple[T, Cell]], rounds: int) -> Iterator[tuple[int, T, Cell]]:
    """A B A B: every round measures every pair of artifact and cell once, in the order given.

    A long run is measured once: it asks how memory grows, not how fast the model is.
    """
    for number in range(rounds):
        for artifact, cell in pairs:
            if number == 0 or cell.mode != "long":
                yield number, artifact, cell


@contextmanager
def texts_file(texts: Sequence[str]) -> Iterator[Path]:
    """The texts in a temporary file that measuring processes read."""
    with tempfile.TemporaryDirectory(prefix="compact-labse-") as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(list(texts)), encoding="utf-8")
        yield path


def run_cell(spec: str, cell: Cell, texts: Path, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Measure one encoder in one cell in a process of its own with its thread pools limited to `cell.threads`.

    Raises CellFailed with one sentence when the model fails, is killed, or takes longer than `timeout_s`.
    """
    cores = idle_cores(cell.threads)  # looks for a tenth of a second, which is no part of a cold start
    request = {"spec": spec, "cell": cell.config(), "texts": str(texts), "started": time.time()}
    try:
        command = command_of(spec, request)
    except UserError as error:
        raise CellFailed(str(error)) from error
    return answer(command, threads=cell.threads, timeout_s=timeout_s, cores=cores)


def answer(
    command: Sequence[str], *, threads: int, timeout_s: float = TIMEOUT_S, cores: Sequence[int] | None = None
) -> dict[str, Any]:
    """The JSON that a measuring program prints after its mark, run on `cores` (default: the idlest `threads`).

    Raises CellFailed with one sentence, as `run_cell`.
    """
    cores = idle_cores(threads) if cores is None else list(cores)
    with subprocess.Popen(
        command, env=thread_environment(threads), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            if cores:
                os.sched_setaffinity(process.pid, cores)
            out, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise CellFailed(f"took longer than {timeout_s:.0f} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise CellFailed(_why(process.returncode, errors))
    found: dict[str, Any] = next(
        (json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)),
        {"error": "ended without a result"},
    )
    if "error" in found:
        raise CellFailed(found["error"])
    return {**found, "pinned": cores}


def idle_cores(threads: int) -> list[int]:
    """The cores to bind a process to: the idlest of a tenth of a second; [] where a process cannot be bound.

    CellFailed if there are fewer than threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    usable = os.sched_getaffinity(0)
    if threads > len(usable):
        raise CellFailed(f"not measured: {threads} threads on {len(usable)} usable cores")
    before = _busy_ticks()
    time.sleep(0.1)
    spent = {core: ticks - before.get(core, 0) for core, ticks in _busy_ticks().items()}
    return sorted(sorted(usable, key=lambda core: (spent.get(core, 0), -core))[:threads])


def _busy_ticks() -> dict[int, int]:
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit())
    return {int(name[3:]): sum(map(int, times[:3])) for name, *times in rows}


def thread_environment(threads: int) -> dict[str, str]:
    """This process's environment, with every thread pool that we know of limited to `threads`."""
    package_parent = str(Path(compact_labse.__file__).resolve().parent.parent)
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **{f"{pool}_NUM_THREADS": str(threads) for pool in _POOLS},
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "PYTHONSAFEPATH": "1",  # a tokenizers.py in the current folder is not ours to import
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _why(code: int, errors: str) -> str:
    if code == -9:
        return "out of memory, probably: the process was killed"
    if code < 0:
        return f"died of signal {signal.Signals(-code).name}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {code}"
