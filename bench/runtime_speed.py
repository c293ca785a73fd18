"""How fast `Encoder.encode` is beside peers that run the same weights, and beside runtimes called bare.

    python bench/runtime_speed.py EXPORT SOURCE --data EVAL [--rounds 5] [--sentences 10000] [--out DIR]

EXPORT is a folder that `compact-labse export --onnx --tflite --int8` wrote, SOURCE the model folder that runs in torch:
what EXPORT was made from, or another model to be compared with.
Everything runs on one thread, in fresh processes, in turns; ours on all cores too, which decides the library's default
(`runtime_table.py`). It ends with a table of ratios, ours over theirs, that says "tie" where the rounds cannot tell.
`--runtime-python` names a Python with nothing but the base installation, in which the cold start is measured.

Ctrl-C ends it with the table of what is done, and the same line goes on from there. A round of 10,000 sentences takes
minutes where a peer is slow: fastembed's four for MiniLM.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.errors import UserError
from compact_labse.measure.artifact import open_all
from compact_labse.measure.environment import usable_cores
from compact_labse.measure.noise import Comparison, compare
from compact_labse.measure.quality.datasets import find, mixed_texts
from compact_labse.measure.results import Record, Results, record
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.processes import thread_environment
from compact_labse.measure.speed.speeds import Pair, rates, record_speeds
from compact_labse.progress import say

ONNX, TFLITE = "onnx/model_int8.onnx", "tflite/model_int8.tflite"
SHAPES = ((1, 20), (32, 32))
LOAD = "import compact_labse, sys; compact_labse.load(sys.argv[1]).encode(['a sentence'])"


def specs(export: Path, source: Path) -> dict[str, str]:
    """What is measured, by label. A bag of tokens is nothing that sentence-transformers runs in ONNX Runtime."""
    onnx, tflite = export / ONNX, export / TFLITE
    found = {"ours": f"{onnx}", "fastembed": f"fastembed:{onnx}", "torch fp32": f"sentence-transformers:{source}"}
    found["bare onnxruntime"] = f"onnxruntime:{onnx}"
    if "StaticEmbedding" not in (export / "modules.json").read_text("utf-8"):
        found["sentence-transformers onnx"] = f"sentence-transformers-onnx:{onnx}"
    if tflite.is_file():
        found |= {"ours litert": f"{tflite}", "bare litert": f"litert:{tflite}"}
    return found


def pairs(named: dict[str, str], sentences: int, seconds: float, long: int) -> list[Pair]:
    """Real text through all that take text, fixed shapes through all that take tokens, text on all cores and long runs
    of ours."""
    artifacts = {a.label: a for a, _ in open_all([f"{label}={spec}" for label, spec in named.items()], threads=1)}
    text = Cell(mode="text", count=sentences, seconds=0.1)  # one pass: it is long enough
    cells = [(text, [label for label in named if not label.startswith("bare")])]
    shaped = [label for label in named if label.startswith(("bare", "ours"))]
    cells += [(Cell(mode="fixed", batch=b, tokens=t, seconds=seconds), shaped) for b, t in SHAPES]
    ours = [label for label in named if label.startswith("ours")]
    if usable_cores() > 1:
        cells.append((replace(text, threads=usable_cores()), ours))
    cells += [(Cell(mode="long", count=long), ours)] if long else []
    return [(artifacts[label], cell) for cell, labels in cells for label in labels]


def cold_starts(python: str, export: Path, rounds: int) -> dict[str, Any]:
    """Seconds from the start of a Python to its first vector, import and tokenizer included."""
    command = [python, "-c", LOAD, str(export / ONNX)]
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run(command, env=thread_environment(1), check=True)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds, "median": median(seconds), "python": Path(python).name}


def ratios(records: Sequence[Record]) -> list[tuple[str, str, float, Comparison]]:
    """Of every cell: other's label, cell, our figure, and our speed over theirs, the runtime of ours that is faster."""
    table = []
    for name, labels in rates(records).items():
        ours = max((n for n in labels if n.startswith("ours")), key=lambda n: median(labels[n].values()), default=None)
        for label in labels if ours else ():
            shared = sorted(labels[label].keys() & labels[ours or ""].keys())
            if label != ours and shared:
                mine, theirs = [labels[ours or ""][n] for n in shared], [labels[label][n] for n in shared]
                table.append((f"{ours} / {label}", name, median(mine), compare(mine, theirs)))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--data", type=Path, help="folder with tatoeba/ and pud/ (default: the embedded sample)")
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=100_000, help="sentences of the memory run; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each timing at a fixed shape")
    parser.add_argument("--runtime-python", default=sys.executable)
    parser.add_argument("--out", type=Path, default=Path("runtime-speed"))
    args = parser.parse_args(argv)
    results = Results(args.out / "results.jsonl")
    texts = mixed_texts([found for found in find(args.data, "112") if found.name != "sts"], args.sentences)
    chosen = pairs(specs(args.export, args.source), args.sentences, args.seconds, args.long)
    try:
        record_speeds(results, chosen, args.rounds, texts)
        cold = cold_starts(args.runtime_python, args.export, args.rounds)
        results.add(record("cold start", chosen[0][0].record(), {"rounds": args.rounds}, cold))
    except KeyboardInterrupt:
        say("stopped: this is what is done; the same line goes on from here")
        show(results.records)
        return 130
    show(results.records)
    return 0


def show(records: Sequence[Record]) -> None:
    """Print the ratios, peaks and cold starts of records, and on stderr what failed."""
    for label, cell, speed, found in ratios(records):
        verdict = found.verdict if found.verdict in ("tie", "unjudged") else ""
        counted = "one round" if found.rounds == 1 else f"{found.rounds} rounds"
        span = f"{found.ratio:6.2f} ({found.low:.2f} to {found.high:.2f}, {counted})"
        print(f"{cell:8} {label:45} {speed:10.1f}/s  {span} {verdict}")
    for each in records:
        if each["kind"] == "speed" and each["config"]["mode"] == "long":
            peak, size = each["values"]["memory"]["peak"], each["model"]["artifact_bytes"]
            span = f"{peak / 1e6:.0f} MB, the file {size / 1e6:.0f} MB"
            print(f"{each['model']['label']}: peak over {each['config']['count']:,} sentences: {span}")
        if each["kind"] == "cold start":
            print(f"cold start: {each['values']['median']:.2f} s")
        if each["kind"] == "failure":
            say(f"{each['model']['label']}, {each['config']['what']}: {each['values']['error']}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
