"""Speed and peak memory by the tokens of a batch: `python bench/token_budget.py EXPORT... --data EVAL`.

A fresh process for each file, budget and round, in turns. Prints a Markdown table: sentences per second of one thread
(median, lowest and highest round), and the peak in MB of the largest round. `Encoder.token_budget` was chosen by it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import compact_labse
from compact_labse.measure.environment import resident_bytes
from compact_labse.measure.quality.datasets import find, mixed_texts
from compact_labse.measure.speed.processes import thread_environment
from compact_labse.progress import track

BUDGETS = (128, 256, 512, 1024, 2048)


def once(export: str, texts: Path, budget: int) -> dict[str, float]:
    """`per_second` and `peak` (bytes) of one pass over the lines of `texts`, after a tenth of them as a warm-up."""
    lines = texts.read_text(encoding="utf-8").split("\n")
    encoder = compact_labse.load(export, threads=1)
    encoder.encode(lines[:: max(1, len(lines) // 100)], token_budget=budget)
    begun = time.perf_counter()
    encoder.encode(lines, token_budget=budget)
    return {"per_second": len(lines) / (time.perf_counter() - begun), "peak": resident_bytes()["peak"]}


def row(export: str, budget: int, found: Sequence[dict[str, float]]) -> str:
    """A line of the table."""
    speeds, peak = [each["per_second"] for each in found], max(each["peak"] for each in found)
    span = f"{median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
    return f"| {export} | {budget:,} | {span} | {peak / 1e6:.0f} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each budget in turns, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("exports", nargs="+", metavar="EXPORT")
    parser.add_argument("--data", type=Path, help="folder with tatoeba/ and pud/ (default: the embedded sample)")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--texts", type=Path, default=Path("token-budget.txt"), help="where the sentences are kept")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.once:
        print(json.dumps(once(args.exports[0], args.texts, args.budgets[0])))
        return 0
    texts = mixed_texts([found for found in find(args.data, "112") if found.name != "sts"], args.sentences)
    args.texts.write_text("\n".join(" ".join(text.split()) for text in texts), encoding="utf-8")
    cells = [(export, budget) for export in args.exports for budget in args.budgets]
    found: dict[tuple[str, int], list[dict[str, float]]] = {cell: [] for cell in cells}
    for _, cell in track([(turn, cell) for turn in range(args.rounds) for cell in cells], "budgets"):
        command = [sys.executable, __file__, cell[0], "--texts", str(args.texts), "--once", "--budgets", str(cell[1])]
        done = subprocess.run(command, env=thread_environment(1), check=True, capture_output=True, text=True)
        found[cell].append(json.loads(done.stdout.splitlines()[-1]))
    print("| file | tokens | sentences/s | peak MB |\n| --- | ---: | ---: | ---: |")
    print("\n".join(row(*cell, found[cell]) for cell in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
