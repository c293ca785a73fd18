"""A fresh process for every measurement, in rounds that visit all artifacts in turn, so that drift cancels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import compact_labse
from compact_labse.measure.latency import MARK, Cell

T = TypeVar("T")

TIMEOUT_S = 1800.0

_POOLS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON", "VECLIB")


class CellFailed(Exception):
    """A measurement that gave no values: the message is what the row in the report says."""


def schedule(artifacts: Sequence[T], cells: Sequence[Cell], rounds: int) -> Iterator[tuple[int, T, Cell]]:
    """A B A B: every round measures every artifact once in every cell, neighbours in time being compared."""
    for number in range(rounds):
        for cell in cells:
            for artifact in artifacts:
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
    request = {"spec": spec, "cell": cell.config(), "texts": str(texts), "started": time.time()}
    command = [sys.executable, "-m", "compact_labse.measure.latency", json.dumps(request)]
    try:
        done = subprocess.run(
            command, env=thread_environment(cell.threads), capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise CellFailed(f"took longer than {timeout_s:.0f} s") from None
    if done.returncode:
        raise CellFailed(_why(done))
    found: dict[str, Any] = next(
        (json.loads(line.removeprefix(MARK)) for line in done.stdout.splitlines() if line.startswith(MARK)),
        {"error": "ended without a result"},
    )
    if "error" in found:
        raise CellFailed(found["error"])
    return found


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


def _why(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == -9:
        return "was killed, probably because memory ran out"
    if done.returncode < 0:
        return f"died of signal {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {done.returncode}"
