"""Make the table by which the library chooses a runtime and its threads: `python bench/runtime_table.py [--check]`.

It reads what `bench/runtime_speed.py` measured of one model of each kind. Real text on one thread decides between the
runtimes, a tie goes to the shapes, and if all of them are ties to the runtime of the base installation; all cores are
used where they are faster than one thread. `--check` writes nothing and fails if the table differs from the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.errors import UserError
from compact_labse.folder import writing_file
from compact_labse.measure.noise import Comparison, compare
from compact_labse.measure.results import Record, read
from compact_labse.measure.speed.speeds import rates
from compact_labse.measured import MODULES, STATIC, TABLE, TRANSFORMER

SOURCES = {STATIC: "student.jsonl", TRANSFORMER: "minilm.jsonl"}
CELLS = ("text", "1x20", "32x32")  # the first that is no tie decides
Rounds = Mapping[int, float]


def table(folder: Path) -> dict[str, Any]:
    """The table of all kinds, with the machine, versions and date of what it was made from."""
    records = {kind: read(folder / name) for kind, name in SOURCES.items()}
    if missing := [SOURCES[kind] for kind, found in records.items() if not found]:
        raise UserError(f"{folder} has no {', '.join(missing)}: bench/README.md has the commands that make them")
    newest = max((each for found in records.values() for each in found), key=lambda each: each["date"])
    versions = {name: newest["versions"][name] for name in ("onnxruntime", "ai-edge-litert")}
    made = {"made_by": "python bench/runtime_table.py", "date": newest["date"][:10], "machine": newest["machine"]}
    return {**made, "versions": versions, "kinds": {kind: choice(found) for kind, found in records.items()}}


def choice(records: Sequence[Record]) -> dict[str, Any]:
    """The order of the runtimes and the threads for one kind of model, each with the figures that decided."""
    found = rates(records, "runtime")
    first, second = MODULES
    decided: dict[str, Any] = {}
    order = [first, second]
    for cell in CELLS:
        versus = _compare(found.get(cell, {}).get(second, {}), found.get(cell, {}).get(first, {}))
        if versus is not None and versus.verdict in ("higher", "lower"):
            order = [second, first] if versus.verdict == "higher" else order
            decided = {"cell": cell, **_figures(versus)}
            break
    threads, why = threads_of(found, order[0])
    speeds = {
        cell: {name: round(median(labels[name].values()), 2) for name in MODULES if name in labels}
        for cell, labels in found.items()
    }
    by = {f"{second} over {first}": decided or "all ties", "threads": why}
    return {"runtimes": order, "threads": threads, "decided_by": by, "per_second": speeds}


def threads_of(found: Mapping[str, Mapping[str, Rounds]], runtime: str) -> tuple[str, Any]:
    """ "one" or "all", and why: all cores if real text is encoded faster on them, or if nobody measured."""
    many = next((cell for cell in found if cell.startswith("text@") and runtime in found[cell]), None)
    if many is None:
        return "all", "not measured"
    versus = _compare(found[many][runtime], found["text"].get(runtime, {}))
    faster = versus is not None and versus.verdict == "higher"
    return "all" if faster else "one", {"cell": many, **(_figures(versus) if versus else {})}


def _compare(values: Rounds, reference: Rounds) -> Comparison | None:
    shared = sorted(values.keys() & reference.keys())
    return compare([values[n] for n in shared], [reference[n] for n in shared]) if shared else None


def _figures(found: Comparison) -> dict[str, Any]:
    numbers = {name: round(getattr(found, name), 3) for name in ("ratio", "low", "high")}
    return {**numbers, "rounds": found.rounds, "verdict": found.verdict}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table, or check it; 1 if it is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the table is up to date")
    parser.add_argument("--results", type=Path, default=Path(__file__).resolve().parent / "results" / "speed")
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args(argv)
    wanted = json.dumps(table(args.results), indent=1) + "\n"
    if args.out.is_file() and args.out.read_text(encoding="utf-8") == wanted:
        print(f"{args.out.name} is up to date")
        return 0
    if args.check:
        print(f"{args.out.name} differs from its results: run `python bench/runtime_table.py`", file=sys.stderr)
        return 1
    with writing_file(args.out) as temporary:
        temporary.write_text(wanted, encoding="utf-8")
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
