"""What a result must say about the machine and the software that made it, and nothing that identifies a person."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

_X86_FLAGS = "avx2 fma avx512f avx512bw avx512_bf16 avx512_vnni avx_vnni amx_int8 amx_bf16"
_ARM_FLAGS = "asimd asimddp i8mm bf16 sve"
_PACKAGES = (
    "compact-labse",
    "numpy",
    "tokenizers",
    "onnxruntime",
    "torch",
    "transformers",
    "sentence-transformers",
    "fastembed",
    "optimum-onnx",
    "ai-edge-litert",
    "tensorflow",
)


@cache
def machine() -> dict[str, object]:
    """CPU model, instruction sets that decide integer speed, usable cores, memory (GB), system and Python."""
    cpu, flags = _cpu()
    return {
        "cpu": cpu,
        "flags": [flag for flag in f"{_X86_FLAGS} {_ARM_FLAGS}".split() if flag in flags],
        "cores": usable_cores(),
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


@cache
def versions() -> dict[str, str]:
    """Versions of the installed packages that can change a vector or a speed."""
    from importlib import metadata  # not at the top: opening an export imports this module for the number of cores

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def session() -> str:
    """Names one run of one process, so that a report knows which measurements were interleaved."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{os.getpid()}"


def resident_bytes() -> dict[str, int]:
    """Memory of this process in bytes: `now` and `peak` since it started; `now` is 0 where the system hides it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return {"now": 0, "peak": _peak_without_proc()}
    fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
    return {"now": _kilobytes(fields["VmRSS"]), "peak": _kilobytes(fields["VmHWM"])}


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def _peak_without_proc() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _cpu() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or fields.get("cpu model") or platform.processor() or platform.machine()
    return name, set((fields.get("flags") or fields.get("features") or "").split())


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
