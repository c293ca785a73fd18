"""What the time to the first vector and the memory are spent on, step by step.

    python bench/start_profile.py FILE [--rounds 5] [--texts 1000] [--python runtime/bin/python]

FILE is an exported `.onnx` or `.tflite` file, or a name whose export is one. Every round is a fresh process on one
thread, pinned; figures are medians. `--python` names another Python, such as one with the base installation alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.errors import UserError
from compact_labse.locate import locate
from compact_labse.measure.pages.entries import Entry, Table, number
from compact_labse.measure.pages.report import markdown_table
from compact_labse.measure.quality.datasets import find, mixed_texts
from compact_labse.measure.speed.processes import CellFailed, answer, idle_cores, texts_file
from compact_labse.measure.speed.start import RUNTIMES


def rounds(file: Path, texts: list[str], count: int, python: str) -> list[list[dict[str, Any]]]:
    """The steps of each round; UserError with the reason if one fails."""
    found = []
    with texts_file(texts) as path:
        for _ in range(count):
            cores = idle_cores(1)
            request = json.dumps({"file": str(file), "texts": str(path), "begun": time.time()})
            command = [python, "-m", "compact_labse.measure.speed.start", request]
            try:
                found.append(answer(command, threads=1, cores=cores)["steps"])
            except CellFailed as error:
                raise UserError(str(error)) from error
    return found


def table(found: Sequence[Sequence[dict[str, Any]]]) -> Table:
    """Median milliseconds and growth of memory per step, their sums, and the share of each."""
    steps = [row["step"] for row in found[0]]
    ms = [median(each[n]["ms"] for each in found) for n in range(len(steps))]
    grown = [median(each[n]["bytes"] for each in found) / 1e6 for n in range(len(steps))]
    until = steps.index("first vector") + 1
    cells = list(zip(steps, ms, grown, strict=True))
    cells.insert(until, ("to the first vector", sum(ms[:until]), sum(grown[:until])))
    rows = [[Entry(step), number(time_ms, 1), number(mb, 1)] for step, time_ms, mb in cells]
    return Table(title="Start", header=["step", "ms", "MB more"], rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", help="an exported file, or a name")
    parser.add_argument("--data", type=Path, help="folder with tatoeba/ and pud/ (default: the embedded sample)")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args(argv)
    file = locate(args.file)
    if file.suffix not in RUNTIMES:
        raise UserError(f"{args.file} is no exported file: expected one that ends in {' or '.join(RUNTIMES)}")
    if args.rounds < 1 or args.texts < 1:
        raise UserError("--rounds and --texts must be at least 1")
    texts = mixed_texts([found for found in find(args.data, "36") if found.name != "sts"], args.texts)
    print(markdown_table(table(rounds(file, texts, args.rounds, args.python))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
