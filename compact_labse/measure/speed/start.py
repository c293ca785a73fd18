"""Where the time to the first vector and the memory go: `python -m compact_labse.measure.speed.start` prints JSON.

`bench/start_profile.py` starts it afresh several times. Nothing heavy may be imported at the top: it is what is timed.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.measure.environment import resident_bytes

MARK = "measured: "  # as in latency.py
# Per ending of a file: the runtime to import, and our module with the functions that are the steps of opening.
RUNTIMES = {
    ".onnx": ("onnxruntime", "compact_labse.onnx_encoder", "open_session"),
    ".tflite": ("ai_edge_litert.interpreter", "compact_labse.tflite_encoder", "open_runner"),
}


class Steps:
    """Milliseconds and growth of resident memory between one mark and the next; `begun` in seconds since the epoch."""

    def __init__(self, begun: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self.since, self.resident = begun, 0

    def mark(self, name: str) -> None:
        """End a step, which began with the end of the last."""
        now, resident = time.time(), resident_bytes()["now"]
        self.rows.append({"step": name, "ms": 1000 * (now - self.since), "bytes": resident - self.resident})
        self.since, self.resident = now, resident

    def after(self, module: Any, function: str, name: str) -> None:
        """Mark the end of every call of a module's function."""
        call: Callable[..., Any] = getattr(module, function)

        def marked(*args: Any, **options: Any) -> Any:
            found = call(*args, **options)
            self.mark(name)
            return found

        setattr(module, function, marked)


def profile(file: Path, texts: list[str], begun: float) -> list[dict[str, Any]]:
    """The steps from the start of the process over the first vector to the last text, each with what it cost."""
    steps = Steps(begun)
    steps.mark("Python")
    library, ours, opening = RUNTIMES[file.suffix]
    for name in ("numpy", library, "tokenizers"):
        importlib.import_module(name)
        steps.mark(f"import {name}")
    module = importlib.import_module(ours)
    steps.mark("import ours")
    for function, name in (
        ("check_hashes", "check the hashes"),
        (opening, "open the model"),
        ("open_tokens", "tokenizer"),
    ):
        steps.after(module, function, name)
    from compact_labse.encoder import load

    encoder = load(file, threads=1)
    encoder.encode(texts[:1])
    steps.mark("first vector")
    for start in range(1, len(texts), 1000):
        encoder.encode(texts[start : start + 1000])
    steps.mark(f"{len(texts):,} texts")
    return steps.rows


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    sentences = json.loads(Path(request["texts"]).read_text(encoding="utf-8"))
    try:
        found: dict[str, Any] = {"steps": profile(Path(request["file"]), sentences, request["begun"])}
    except UserError as error:
        found = {"error": str(error)}
    print(f"\n{MARK}{json.dumps(found)}", flush=True)
