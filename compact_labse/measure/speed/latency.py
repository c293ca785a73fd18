"""Time one encoder in one configuration in this process: `python -m compact_labse.measure.speed.latency` prints JSON.

`processes.py` starts it afresh for every measurement. Times are milliseconds, memory is bytes, energy is joules.
Shapes: B batch, T tokens.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.measure.environment import resident_bytes, versions
from compact_labse.measure.noise import percentiles
from compact_labse.measure.speed.energy import metered
from compact_labse.measure.speed.fixed_text import texts_of_shape
from compact_labse.measure.speed.gpu import watched
from compact_labse.measure.speed.runners import open_spec

MODES = ("fixed", "text", "long")
_KEPT = 200
_CHUNK = 1000  # sentences between two looks at the memory
_MOST_CALLS = 200_000
_WARM = 500  # sentences
# Marks our line, because models and their libraries print what they like.
MARK = "measured: "


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration. `mode` "fixed": `batch` x `tokens` exactly; "text": `count` real sentences of mixed length;
    "long": `count` sentences in chunks, once, to see whether memory grows.

    Each timing lasts at least `seconds`, after a warm-up of a fifth of that.
    """

    mode: str
    threads: int = 1
    device: str = "cpu"
    seconds: float = 1.0
    batch: int = 1
    tokens: int = 20
    count: int = 1000

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        for name in ("threads", "seconds", "batch", "tokens", "count"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def name(self) -> str:
        """Short and unique within a report: `1x20`, `32x20`, `text`, `long`, with `@2` for two threads."""
        shape = f"{self.batch}x{self.tokens}" if self.mode == "fixed" else self.mode
        shape = shape if self.threads == 1 else f"{shape}@{self.threads}"
        return shape if self.device == "cpu" else f"{shape} {self.device}"

    def config(self) -> dict[str, Any]:
        """The fields that matter to this mode, for a record."""
        irrelevant = ("count",) if self.mode == "fixed" else ("batch", "tokens")
        return {key: value for key, value in asdict(self).items() if key not in irrelevant}


def measure(spec: str, cell: Cell, texts: Sequence[str], started: float) -> dict[str, Any]:
    """Load, encode a first sentence (cold start, counted from `started`, seconds since the epoch), warm up, measure."""
    baseline = resident_bytes()["now"]
    encoder = open_spec(spec, cell.threads, cell.device, cell.mode)
    loaded = resident_bytes()["now"]
    encoder.encode(list(texts[:1]))
    cold_start_ms = 1000 * (time.time() - started)
    gc.collect()
    gc.disable()
    with ExitStack() as meters:
        energy = meters.enter_context(metered(cell.device))
        card = meters.enter_context(watched()) if cell.device != "cpu" else {}
        timings = TIMINGS[cell.mode](encoder, cell, texts)
    memory = resident_bytes()
    return {
        **timings,
        "cold_start_ms": round(cold_start_ms, 2),
        "memory": {"baseline": baseline, "loaded": loaded, "end": memory["now"], "peak": memory["peak"]},
        "energy": energy,
        **({"gpu": card} if card else {}),
    }


def fixed_shape(encoder: Encoder, cell: Cell, texts: Sequence[str]) -> dict[str, Any]:
    """Latency of one batch: tokenizing its texts and running the model, apart."""
    rows, ids_BT = texts_of_shape(encoder, texts, cell.batch, cell.tokens)
    mask_BT = np.ones_like(ids_BT)
    return {
        "tokenize_ms": _summary(repeat(lambda: encoder.tokenize(rows), cell.seconds / 4)),
        "model_ms": _summary(repeat(lambda: encoder.forward(ids_BT, mask_BT), cell.seconds)),
    }


def real_text(encoder: Encoder, cell: Cell, texts: Sequence[str]) -> dict[str, Any]:
    """Throughput of `encode` over real sentences, with the shares of tokenizing and of the model."""
    chosen = list(texts[: cell.count])
    spent = {"tokenize": 0.0, "forward": 0.0}
    for name in spent:
        setattr(encoder, name, _timed(getattr(encoder, name), name, spent))
    encoder.encode(chosen[: max(1, min(_WARM, len(chosen) // 5))])
    spent.update(tokenize=0.0, forward=0.0)
    cpu = time.process_time()
    passes = repeat(lambda: encoder.encode(chosen), cell.seconds, fewest=1, warm_up=False)
    cpu, total = time.process_time() - cpu, sum(passes)
    return {
        "sentences": len(chosen),
        "pass_ms": _summary(passes),
        "sentences_per_s": round(1000 * len(chosen) * len(passes) / total, 2),
        "cpu_ms_per_sentence": round(1000 * cpu / len(chosen) / len(passes), 5),
        "tokenize_share": round(1000 * spent["tokenize"] / total, 4),
        "model_share": round(1000 * spent["forward"] / total, 4),
    }


def long_run(encoder: Encoder, cell: Cell, texts: Sequence[str]) -> dict[str, Any]:
    """Throughput over `count` sentences in chunks whose vectors are dropped, and how resident memory grows meanwhile.

    `growth` is bytes per 1,000 sentences over the second half, when buffers have their size.
    """
    stream = [texts[row % len(texts)] for row in range(cell.count)]
    resident, passes = [], []
    for start in range(0, len(stream), _CHUNK):
        before = time.perf_counter_ns()
        encoder.encode(stream[start : start + _CHUNK])
        passes.append((time.perf_counter_ns() - before) / 1e6)
        resident.append(resident_bytes()["now"])
    half = resident[len(resident) // 2 :]
    return {
        "sentences": len(stream),
        "pass_ms": _summary(passes),
        "sentences_per_s": round(1000 * len(stream) / sum(passes), 2),
        "tokenize_share": 0.0,
        "resident": resident[:: -(-len(resident) // _KEPT)],
        "growth": (half[-1] - half[0]) // max(1, len(half) - 1),
    }


TIMINGS: dict[str, Callable[[Encoder, Cell, Sequence[str]], dict[str, Any]]] = {
    "fixed": fixed_shape,
    "text": real_text,
    "long": long_run,
}


def repeat(call: Callable[[], object], seconds: float, *, fewest: int = 5, warm_up: bool = True) -> list[float]:
    """Milliseconds of each call, repeated for `seconds` and at least `fewest` times, after a warm-up of a fifth."""
    if warm_up:
        until = time.perf_counter() + seconds / 5
        call(), call()
        while time.perf_counter() < until:
            call()
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < fewest or (time.perf_counter() - begun < seconds and len(found) < _MOST_CALLS):
        before = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - before) / 1e6)
    return found


def _timed(call: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        before = time.perf_counter()
        try:
            return call(*args, **options)
        finally:
            spent[name] += time.perf_counter() - before

    return timed


def _summary(values: list[float]) -> dict[str, Any]:
    """Percentiles over all values; of the raw ones at most 200, evenly spaced in time, so that files stay small."""
    kept = values[:: -(-len(values) // _KEPT)]
    found = {key: round(value, 5) for key, value in percentiles(values).items()}
    return {**found, "calls": len(values), "raw": [round(value, 5) for value in kept]}


def main(argv: Sequence[str]) -> int:
    """Read one request (JSON: spec, cell, texts as a path, started) and print the values, or {"error": ...}."""
    request = json.loads(argv[0])
    texts = json.loads(Path(request["texts"]).read_text(encoding="utf-8"))
    cell = Cell(**request["cell"])
    try:
        found = measure(request["spec"], cell, texts, request["started"])
        found["versions"] = versions()  # of this Python, which may be a peer's
    except UserError as error:
        found = {"error": str(error)}
    print(f"\n{MARK}{json.dumps(found)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
