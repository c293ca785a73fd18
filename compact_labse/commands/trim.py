"""`compact-labse trim`: keep only the vocabulary that some languages need."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.errors import UserError

if TYPE_CHECKING:
    from compact_labse.compress.trim import Trimmed

EXAMPLE = """\
example:
  compact-labse trim sentence-transformers/LaBSE --languages de,th --corpus pairs/ --out labse-de-th
  compact-labse trim minilm --corpus queries.txt --max-tokens 16000 --out minilm-16k

Kept are special tokens, every single character (or byte), so that no script becomes unknown, and the pieces that the
text uses, most used first. Text with these pieces is cut as before and gets the same vector. Languages without text in
--corpus go by the sample embedded in this package: it shows their letters, and all pieces in these letters stay.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("model", metavar="MODEL", help='a model folder, a Hugging Face name, or "minilm"')
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the model folder to write")
    text = parser.add_argument_group("text to serve (at least one)")
    text.add_argument("--languages", metavar="XX,YY", default="", help="languages to keep (default: all of --corpus)")
    text.add_argument(
        "--corpus",
        metavar="FILE",
        nargs="+",
        default=[],
        help="files, folders or globs: pairs named like en-de.tsv.gz, or a text a line (.txt, .tsv, .jsonl, .parquet)",
    )
    parser.add_argument("--max-tokens", metavar="N", type=int, help="most pieces to keep (default: all that are used)")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists (default: refuse)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Trim, and print what changed per language."""
    from dataclasses import asdict

    from compact_labse.compress.trim import Trim, trim

    languages = tuple(dict.fromkeys(code.strip() for code in args.languages.split(",") if code.strip()))
    if args.languages and not languages:
        raise UserError(f"--languages takes codes such as de,th; got {args.languages!r}")
    done = trim(
        Trim(
            model=args.model,
            out=args.out,
            languages=languages,
            corpus=tuple(args.corpus),
            max_tokens=args.max_tokens,
            overwrite=args.overwrite,
        )
    )
    print(json.dumps({"out": str(args.out), **asdict(done)}) if args.json else _table(done))
    return 0


def _table(done: Trimmed) -> str:
    """Sizes, reasons, and a row per language."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.reasons.items())
    lines = [
        f"pieces   {done.pieces_before:,} -> {done.pieces_after:,} ({reasons})",
        f"weights  {done.bytes_before / 1e6:,.1f} -> {done.bytes_after / 1e6:,.1f} MB",
        "",
        "language     texts   pieces used   changed tokens   of new text, about   unknown",
    ]
    for language, cut in done.languages.items():
        unknown = f"{cut.unknown_before} -> {cut.unknown_after}"
        shares = f"{cut.changed:>15.2%} {cut.new_text:>20.2%}   {unknown}"
        lines.append(f"{language:<9} {cut.texts:>8,} {cut.pieces_used:>13,} {shares}")
    return "\n".join(lines)
