"""The graphics card as NVML sees it: memory and use. Takes `nvidia-ml-py` or the older `py3nvml`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

MODULES = ("pynvml", "py3nvml.py3nvml")
_EVERY_S = 0.05


class NoGpu(Exception):
    """There is no card to measure, or nothing to ask; the message is the reason."""


def card() -> tuple[Any, Any]:
    """NVML's module and the handle of the first card. NoGpu with the reason."""
    for name in MODULES:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        try:
            library.nvmlInit()
            return library, library.nvmlDeviceGetHandleByIndex(0)
        except Exception as error:  # NVML raises classes of its own, one per reason
            raise NoGpu(f"no GPU ({error})") from error
    raise NoGpu("no GPU library (pip install nvidia-ml-py)")


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """A dict that holds, after the block, the card's highest memory (bytes) and mean use (%), or `not_measured`."""
    found: dict[str, Any] = {}
    try:
        library, handle = card()
    except NoGpu as reason:
        found["not_measured"] = str(reason)
        yield found
        return
    used: list[tuple[int, int]] = []
    done = Event()

    def look() -> None:
        while True:
            memory = library.nvmlDeviceGetMemoryInfo(handle).used
            used.append((int(memory), int(library.nvmlDeviceGetUtilizationRates(handle).gpu)))
            if done.wait(_EVERY_S):
                return

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        name = library.nvmlDeviceGetName(handle)
        found.update(
            name=name.decode() if isinstance(name, bytes) else name,
            peak_bytes=max(memory for memory, _ in used),
            use_percent=round(sum(use for _, use in used) / len(used), 1),
            looks=len(used),
        )
