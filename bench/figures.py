"""Fill the documents' figures, between their marks, from committed results: `python bench/figures.py [--check]`.

README gets an overview, `bench/results/README.md` and the shipped student's card every table. `--check` writes nothing
and fails if a document differs from what the results say. With `--readme` it is that document alone, with all tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.locate import locate
from compact_labse.measure.pages.overview import overview
from compact_labse.measure.pages.report import environment_line, markdown_table
from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.pages.tables import footnotes, tables
from compact_labse.measure.results import Record, read

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"
_HERE = Path(__file__).resolve().parent


def figures(records: Sequence[Record]) -> str:
    """The Markdown that belongs between the marks: every table, the notes and the machine."""
    summary = summarise(records)
    parts = []
    for table in tables(summary):
        parts += [f"**{table.title}**", markdown_table(table)]
    parts += ["\n".join(f"- {note}" for note in footnotes(summary)), environment_line(summary)]
    return "\n\n".join(part for part in parts if part)


def short(records: Sequence[Record]) -> str:
    """The same for a document that shows an overview only."""
    summary = summarise(records)
    notes = [note for note in footnotes(summary) if note.startswith("Not trained")]
    return "\n\n".join((markdown_table(overview(summary)), "\n".join(notes), environment_line(summary)))


def filled(readme: str, inside: str) -> str:
    """The text with everything between the marks replaced. UserError if the marks are missing or out of order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README needs the lines {BEGIN} and {END}, in this order, around its figures")
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}"


def of_what_ships(records: Sequence[Record]) -> None:
    """UserError if what was measured as `default` is not the student that ships."""
    shipped = model_hash(locate("default"))
    old = {found["model"]["hash"] for found in records if found["model"]["spec"] == "default"} - {shipped}
    if old:
        names = ", ".join(name[:8] for name in sorted(old))
        raise UserError(
            f"the results of 'default' are of another file ({names}) than the one that ships ({shipped[:8]}): "
            "measure it, bench/results/README.md has the commands"
        )


DOCUMENTS: dict[Path, Callable[[Sequence[Record]], str]] = {
    _HERE.parent / "README.md": short,
    _HERE / "results" / "README.md": figures,
    _HERE.parent / "compact_labse" / "shipped" / "README.md": figures,
}


def update(document: Path, inside: str, *, check: bool) -> bool:
    """Bring one document up to date, or only look whether it is; False if it was to be checked and differs."""
    text = document.read_text(encoding="utf-8")
    wanted = filled(text, inside)
    if wanted == text:
        print(f"{document.name} is up to date")
    elif check:
        print(f"{document} differs from its results: run `python bench/figures.py`", file=sys.stderr)
        return False
    else:
        document.write_text(wanted, encoding="utf-8")
        print(f"{document.name} updated")
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Update the documents, or check them; 1 if one is out of date."""
    parser = argparse.ArgumentParser(description="fill the documents' figures from committed results")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    parser.add_argument("--readme", type=Path, help="this document alone")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="folder of .jsonl files")
    args = parser.parse_args(argv)
    files = sorted(args.results.glob("*.jsonl"))
    records = [record for file in files for record in read(file)]
    if not records:
        print(f"no results in {args.results}; everything is left as it is")
        return 0
    of_what_ships(records)
    makers = {args.readme: figures} if args.readme else DOCUMENTS
    current = [update(document, make(records), check=args.check) for document, make in makers.items()]
    return 0 if all(current) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
