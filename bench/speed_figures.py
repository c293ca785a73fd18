"""Fill the table of `bench/results/speed/README.md` from the results beside it: `python bench/speed_figures.py`.

One column for each model that `bench/runtime_speed.py` measured. `--check` writes nothing and fails if it differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from compact_labse.errors import UserError
from compact_labse.measure.noise import Comparison
from compact_labse.measure.pages.entries import ABSENT, Entry, Table
from compact_labse.measure.pages.report import markdown_table
from compact_labse.measure.results import Record, read
from compact_labse.pipelines import load_pipeline

HERE = Path(__file__).resolve().parent / "results" / "speed"
SOURCES = {"MiniLM in int8": "minilm.jsonl", "the student in int8": "student.jsonl"}
OURS = {"ours": "ours in ONNX Runtime", "ours litert": "ours in LiteRT"}


def column(records: Sequence[Record]) -> dict[str, str]:
    """What the records of one model say, by the name of the row."""
    rows: dict[str, str] = {}
    for label, cell, speed, found in load_pipeline("bench", "runtime_speed").ratios(records):
        mine, _, other = label.partition(" / ")
        where = "real text" if cell.startswith("text") else f"{cell.replace('x', ' × ')} tokens"
        where += ", all cores" if "@" in cell else ""
        rows.setdefault(f"{where}: faster of ours", OURS[mine].removeprefix("ours in "))
        unit = "sentences/s" if cell.startswith("text") else "batches/s"
        rows.setdefault(f"{where}: its {unit}", f"{speed:,.0f}")
        rows[f"{where}: over {OURS.get(other, other)}"] = _ratio(found)
    for each in records:
        if each["kind"] == "speed" and each["config"]["mode"] == "long":
            name, count = OURS[each["model"]["label"]], each["config"]["count"]
            peak, size = each["values"]["memory"]["peak"] / 1e6, each["model"]["artifact_bytes"] / 1e6
            rows[f"peak MB of {name}, {count:,} sentences (file)"] = f"{peak:.0f} ({size:.0f})"
        if each["kind"] == "cold start":
            seconds = each["values"]["seconds"]
            rows["cold start, s"] = f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
    return rows


def _ratio(found: Comparison) -> str:
    if found.verdict == "tie":
        return f"tie ({found.low:.2f} to {found.high:.2f})"
    doubt = "?" if found.verdict == "unjudged" else ""
    return f"{found.ratio:.2f}{doubt} ({found.low:.2f} to {found.high:.2f})"


def figures(folder: Path) -> str:
    """The Markdown between the marks: one row per figure, one column per model. UserError without results."""
    found = {title: read(folder / name) for title, name in SOURCES.items()}
    if not all(found.values()):
        raise UserError(f"{folder} needs {', '.join(SOURCES.values())}")
    columns = {title: column(records) for title, records in found.items()}
    names = dict.fromkeys(name for rows in columns.values() for name in rows)
    rows = [[Entry(name), *(Entry(rows.get(name, ABSENT)) for rows in columns.values())] for name in names]
    sentences = {r["config"]["count"] for each in found.values() for r in each if r["config"].get("mode") == "text"}
    rounds = {1 + max(r["config"].get("round", 0) for r in each) for each in found.values()}
    text = f"Real text is {_either(sentences)} sentences; ratios are over {_either(rounds)} rounds, with their range."
    return f"{markdown_table(Table(title='', header=['', *columns], rows=rows))}\n\n{text}"


def _either(numbers: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(numbers))


def main(argv: Sequence[str] | None = None) -> int:
    """Update the document, or check it; 1 if it is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the document is up to date")
    parser.add_argument("--results", type=Path, default=HERE)
    args = parser.parse_args(argv)
    document = args.results / "README.md"
    text = document.read_text(encoding="utf-8")
    wanted = load_pipeline("bench", "figures").filled(text, figures(args.results))
    if wanted != text and args.check:
        print(f"{document} differs from its results: run `python bench/speed_figures.py`", file=sys.stderr)
        return 1
    document.write_text(wanted, encoding="utf-8")
    print(f"{document.name} is up to date")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
