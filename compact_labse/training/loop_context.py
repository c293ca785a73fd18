"""What surrounds the steps of training: signals that ask to stop, batches prepared ahead, batches worth a look."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compact_labse.errors import UserError
from compact_labse.folder import writing_folder
from compact_labse.progress import say
from compact_labse.training import ranks

PRODUCTS = 5  # the first warms up, the fastest counts
FIRST_STEPS = 20  # their losses are what later ones may not exceed by far
QUIET = 0.1  # a model as good as its teacher starts with next to no loss, and many times that is no explosion


def on_device(device: torch.device, values: np.ndarray) -> Tensor:
    """An array of a batch as a tensor where training runs."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


@contextmanager
def signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        if ranks.is_first():
            say("stopping after this step; a checkpoint is being saved")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ahead(make: Callable[[int], Any], first: int) -> Iterator[Iterator[Any]]:
    """The batches that `make` gives for `first` and later numbers, each prepared while its predecessor is used."""
    with ThreadPoolExecutor(1) as pool:

        def batches() -> Iterator[Any]:
            number, coming = first, pool.submit(make, first)
            while True:
                ready = coming.result()
                number += 1
                coming = pool.submit(make, number)
                yield ready

        yield batches()


def operations_per_token(module: nn.Module, tables: Sequence[str]) -> int:
    """What a token costs, forward and backward, in the weights that it is multiplied with: all but tables.

    Six each (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1).
    """
    return 6 * sum(p.numel() for name, p in module.named_parameters() if name not in tables and p.ndim > 1)


def peak_operations(device: torch.device, bf16: bool) -> float:
    """Operations per second of a large matrix product on this device, a multiplication and an addition being two."""
    size, kind = 512 if device.type == "cpu" else 8192, torch.bfloat16 if bf16 else torch.float32
    one = torch.ones(size, size, device=device, dtype=kind)
    best = float("inf")
    for _ in range(PRODUCTS):
        started = time.monotonic()
        one @ one
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.monotonic() - started)
    return 2 * size**3 / max(best, 1e-9)


def check_sane(
    folder: Path, step: int, loss: float, norm: float, *, worst: float, explosion: float, batches: list[Any]
) -> float:
    """Stop training that has gone wrong, leaving its batches in `<folder>/stopped-at-N` for inspection.

    UserError when the loss or the gradient's norm is not finite, or (with `explosion` above 0) the loss is `explosion`
    times `worst`, the largest of the first steps (at least 0.1); gives that largest.
    """
    finite = math.isfinite(loss) and math.isfinite(norm)
    far = explosion > 0 and step > FIRST_STEPS and loss > explosion * max(worst, QUIET)
    if finite and not far:
        return max(worst, loss) if step <= FIRST_STEPS else worst
    place = folder / f"stopped-at-{step}"
    with writing_folder(place / f"rank-{ranks.rank()}", overwrite=True) as temporary:
        for number, batch in enumerate(batches):
            save_file(tensors_of(batch), temporary / f"batch-{number}.safetensors")
    what = f"the loss ({loss:.4g}) is {explosion:g} times the largest of the first {FIRST_STEPS} steps"
    if not finite:
        what = f"the {'loss' if not math.isfinite(loss) else 'gradient'} is not finite"
    raise UserError(
        f"{what} at step {step}: lower the learning rates. The batch lies in {place}, and the last checkpoint before "
        "it is whole"
    )


def tensors_of(batch: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor in a (nested, named) tuple, list or dict, by its path."""
    if isinstance(batch, Tensor):
        return {name or "batch": batch.detach().cpu().contiguous().clone()}
    if hasattr(batch, "_asdict"):
        batch = batch._asdict()
    elif isinstance(batch, list | tuple):
        batch = dict(enumerate(batch))
    found: dict[str, Tensor] = {}
    for key, value in batch.items() if isinstance(batch, dict) else ():
        found |= tensors_of(value, f"{name}.{key}" if name else str(key))
    return found
