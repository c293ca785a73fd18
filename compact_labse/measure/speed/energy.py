"""Energy that a stretch of work takes, where the machine counts it: RAPL for processors, NVML for graphics cards.

The counters are of the whole package or card, so that whatever else runs there is in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


@contextmanager
def metered(device: str = "cpu") -> Iterator[dict[str, Any]]:
    """A dict that holds, after the block, `joules`, `watts` and `source`, or `not_measured` with the reason."""
    found: dict[str, Any] = {}
    try:
        read, source = rapl() if device == "cpu" else nvml()
        before = read()
    except NotCounted as reason:
        found["not_measured"] = str(reason)
        yield found
        return
    begun = time.perf_counter()
    yield found
    joules, seconds = read() - before, time.perf_counter() - begun
    if joules < 0:  # the counter starts again at its end
        found["not_measured"] = f"{source} wrapped round"
        return
    found.update(joules=round(joules, 4), watts=round(joules / seconds, 3), source=source)


class NotCounted(Exception):
    """The machine does not say how much energy it takes; the message is the reason."""


def rapl(root: Path = POWERCAP) -> tuple[Callable[[], float], str]:
    """What reads the joules of all packages, from the kernel's powercap files."""
    if not root.is_dir():
        raise NotCounted(f"no {root}: the kernel or the virtual machine shows no RAPL")
    # intel-rapl:0 is a package; intel-rapl:0:1 is a part of it, and would be counted twice.
    counters = [zone / "energy_uj" for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not counters:
        raise NotCounted(f"{root} has no package counter")
    try:
        for counter in counters:
            counter.read_text()
    except OSError as error:
        raise NotCounted(f"{error.filename} is not readable ({error.strerror})") from error
    return lambda: sum(int(counter.read_text()) for counter in counters) / 1e6, "RAPL"


def nvml() -> tuple[Callable[[], float], str]:
    """What reads the joules of the first graphics card since its driver was loaded."""
    from compact_labse.measure.speed.gpu import card

    try:
        library, handle = card()
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception as error:  # NVML raises classes of its own, one per reason
        raise NotCounted(str(error) or type(error).__name__) from error
    return lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000, "NVML"
