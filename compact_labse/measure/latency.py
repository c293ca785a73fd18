"""Time one encoder in one configuration, in this process: `python -m compact_labse.measure.latency` prints it as JSON.

`processes.py` starts it afresh for every measurement. Times are milliseconds, memory is bytes.
Shapes: B batch, T tokens.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.measure.environment import resident_bytes
from compact_labse.measure.noise import percentiles

_KEPT = 200
_MOST_CALLS = 200_000
# Marks our line, because models and their libraries print what they like.
MARK = "measured: "


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration. `mode` "fixed": `batch` x `tokens` exactly; "text": `count` real sentences of mixed length.

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
        if self.mode not in ("fixed", "text"):
            raise UserError(f"mode must be 'fixed' or 'text', got {self.mode!r}")
        for name in ("threads", "seconds", "batch", "tokens", "count"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def name(self) -> str:
        """Short and unique within a report: `1x20`, `32x20`, `text`, with `@2` for two threads."""
        shape = f"{self.batch}x{self.tokens}" if self.mode == "fixed" else "text"
        shape = shape if self.threads == 1 else f"{shape}@{self.threads}"
        return shape if self.device == "cpu" else f"{shape} {self.device}"

    def config(self) -> dict[str, Any]:
        """The fields that matter to this mode, for a record."""
        irrelevant = ("count",) if self.mode == "fixed" else ("batch", "tokens")
        return {key: value for key, value in asdict(self).items() if key not in irrelevant}


def measure(spec: str, cell: Cell, texts: Sequence[str], started: float) -> dict[str, Any]:
    """Load, encode a first sentence (cold start, counted from `started`, seconds since the epoch), warm up, measure."""
    baseline = resident_bytes()["now"]
    encoder = load(spec, threads=cell.threads, device=cell.device)
    loaded = resident_bytes()["now"]
    encoder.encode(list(texts[:1]))
    cold_start_ms = 1000 * (time.time() - started)
    gc.collect()
    gc.disable()
    timings = fixed_shape(encoder, cell, texts) if cell.mode == "fixed" else real_text(encoder, cell, texts)
    memory = resident_bytes()
    return {
        **timings,
        "cold_start_ms": round(cold_start_ms, 2),
        "memory": {"baseline": baseline, "loaded": loaded, "end": memory["now"], "peak": memory["peak"]},
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
    encoder.encode(chosen[: max(1, len(chosen) // 5)])
    spent.update(tokenize=0.0, forward=0.0)
    passes = repeat(lambda: encoder.encode(chosen), cell.seconds, fewest=1, warm_up=False)
    total = sum(passes)
    return {
        "sentences": len(chosen),
        "pass_ms": _summary(passes),
        "sentences_per_s": round(1000 * len(chosen) * len(passes) / total, 2),
        "tokenize_share": round(1000 * spent["tokenize"] / total, 4),
        "model_share": round(1000 * spent["forward"] / total, 4),
    }


def texts_of_shape(encoder: Encoder, texts: Sequence[str], batch: int, tokens: int) -> tuple[list[str], np.ndarray]:
    """Real text cut so that it has `tokens` tokens of this encoder (special ones included), and int64 ids [B, T].

    UserError if the encoder takes fewer tokens than that.
    """
    if encoder.max_tokens is not None and encoder.max_tokens < tokens:
        raise UserError(f"not measured: the model takes at most {encoder.max_tokens} tokens, not {tokens}")
    rows = [_cut(encoder, _long_text(texts, row, 12 * tokens), tokens) for row in range(batch)]
    ids = [_exactly(found, tokens) for found in encoder.tokenize(rows)]
    return rows, np.asarray(ids, dtype=np.int64)


def _long_text(texts: Sequence[str], start: int, characters: int) -> str:
    joined, row = texts[start % len(texts)], start
    while len(joined) < characters:
        row += 1
        joined += " " + texts[row % len(texts)]
    return joined


def _cut(encoder: Encoder, text: str, tokens: int) -> str:
    """The longest beginning of at most `tokens` tokens, found by bisection over characters."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(encoder.tokenize([text[:middle]])[0]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _exactly(ids: list[int], tokens: int) -> list[int]:
    # A character can be several tokens, so the cut may fall short; the filler is a token of the text itself.
    kept = ids[: tokens - 1] if len(ids) > 1 else []
    return kept + [ids[len(ids) // 2]] * (tokens - 1 - len(kept)) + ids[-1:]


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
    try:
        found = measure(request["spec"], Cell(**request["cell"]), texts, request["started"])
    except UserError as error:
        found = {"error": str(error)}
    print(f"\n{MARK}{json.dumps(found)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
