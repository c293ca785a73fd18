"""Fill README's figures, between its `figures` marks, from the committed results: `python bench/figures.py [--check]`.

Without results nothing changes. `--check` writes nothing and fails if README differs from what the results say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compact_labse.errors import UserError
from compact_labse.measure.pages.report import environment_line, markdown_table
from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.pages.tables import footnotes, tables
from compact_labse.measure.results import Record, read

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
_HERE = Path(__file__).resolve().parent


def figures(records: Sequence[Record]) -> str:
    """The Markdown that belongs between the marks."""
    summary = summarise(records)
    parts = []
    for table in tables(summary):
        parts += [f"**{table.title}**", markdown_table(table)]
    parts.append("\n".join(f"- {note}" for note in footnotes(summary)))
    parts.append(environment_line(summary))
    return "\n\n".join(part for part in parts if part)


def filled(readme: str, inside: str) -> str:
    """The text with everything between the marks replaced. UserError if the marks are missing or out of order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README needs the lines {BEGIN} and {END}, in this order, around its figures")
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Update README, or check it; 1 if it is out of date."""
    parser = argparse.ArgumentParser(description="fill README's figures from committed results")
    parser.add_argument("--check", action="store_true", help="only say whether README is up to date")
    parser.add_argument("--readme", type=Path, default=_HERE.parent / "README.md")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="folder of .jsonl files")
    args = parser.parse_args(argv)
    files = sorted(args.results.glob("*.jsonl"))
    records = [record for file in files for record in read(file)]
    if not records:
        print(f"no results in {args.results}; README is left as it is")
        return 0
    readme = args.readme.read_text(encoding="utf-8")
    wanted = filled(readme, figures(records))
    if wanted == readme:
        print(f"{args.readme.name} is up to date")
        return 0
    if args.check:
        print(f"{args.readme.name} differs from its results: run `python bench/figures.py`", file=sys.stderr)
        return 1
    args.readme.write_text(wanted, encoding="utf-8")
    print(f"{args.readme.name} updated from {len(records)} records")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
