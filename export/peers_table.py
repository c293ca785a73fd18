"""Fill README's table of other people's software from its committed results: `python export/peers_table.py [--check]`.

`--check` writes nothing and fails if README differs from what results/peers.jsonl says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
_HERE = Path(__file__).resolve().parent
HEAD = "| client | version | format | model | result | worst cosine |\n|---|---|---|---|---|---|"


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a results file, by client, model and format; UserError naming the line that is none."""
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            records.append(record | {"key": (record["client"].lower(), record["model"], record["format"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} line {number} is no result of a client: {error!r}") from error
    return sorted(records, key=lambda record: record["key"])


def row(record: Mapping[str, Any]) -> str:
    """A line of the table. A cosine is cut, not rounded, so that none looks better than it is."""
    if "worst" not in record:
        result, worst = f"not run: {record['note']}", ""
    else:
        result = ("same vectors" if record["passed"] else "differs") + f", {record['texts']} texts"
        worst = f"{int(min(record['worst'], 1) * 1e6) / 1e6:.6f}" if record["worst"] == record["worst"] else "none"
    cells = (record["client"], record["version"], record["format"], record["model"], result, worst)
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def filled(readme: str, records: Sequence[Mapping[str, Any]]) -> str:
    """The text with everything between the marks replaced. UserError if the marks are missing or out of order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README needs the lines {BEGIN} and {END}, in this order, around the table")
    table = "\n".join([HEAD, *(row(record) for record in records)])
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Update README, or check it; 1 if it is out of date."""
    parser = argparse.ArgumentParser(description="fill README's table of other people's software")
    parser.add_argument("--check", action="store_true", help="only say whether README is up to date")
    parser.add_argument("--readme", type=Path, default=_HERE / "README.md")
    parser.add_argument("--results", type=Path, default=_HERE / "results" / "peers.jsonl")
    args = parser.parse_args(argv)
    readme = args.readme.read_text(encoding="utf-8")
    wanted = filled(readme, read(args.results))
    if wanted == readme:
        print(f"{args.readme.name} is up to date")
        return 0
    if args.check:
        print(f"{args.readme.name} differs from its results: run `python export/peers_table.py`", file=sys.stderr)
        return 1
    args.readme.write_text(wanted, encoding="utf-8")
    print(f"{args.readme.name} updated")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
