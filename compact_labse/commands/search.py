"""`compact-labse search`: the lines of a text that mean what a query means, in whatever language."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.errors import UserError
from compact_labse.locate import KINDS_OF_MODEL

if TYPE_CHECKING:
    from compact_labse.encoder import Encoder
    from compact_labse.search import Hit, Index

EXAMPLE = """\
example:
  compact-labse search --text notes.txt --query "Wie setze ich mein Passwort zurück?"
  compact-labse search --text corpus.txt.gz --index corpus.index --query - --json < queries.txt

With --index the vectors are made once and kept in that folder; the same text and model are then searched at once,
by the file of the model that made them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("--text", metavar="FILE", help="text to search, one entry a line (.gz, .xz, .zst too)")
    parser.add_argument(
        "--query", metavar="Q", action="append", help="what to look for (repeatable); - for stdin's lines"
    )
    parser.add_argument("--model", default="default", help=f"{KINDS_OF_MODEL} (default: the shipped student)")
    parser.add_argument("--top-k", type=int, default=5, metavar="K", help="answers per query (default: 5)")
    parser.add_argument("--min-score", type=float, default=-1.0, metavar="S", help="reject answers with a lower cosine")
    parser.add_argument("--index", type=Path, metavar="DIR", help="keep the index here and use it again")
    parser.add_argument("--rebuild", action="store_true", help="make the index in DIR again")
    parser.add_argument("--backend", default="auto", help="exact, usearch, faiss or auto: exact up to 100,000 lines")
    parser.add_argument("--json", action="store_true", help="print a JSON object per query")
    parser.add_argument("--threads", type=int, help="CPU threads (default: what was measured to be fast)")


def run(args: argparse.Namespace) -> int:
    """Search and print the answers."""
    import tempfile

    from compact_labse.progress import say
    from compact_labse.runtime import open_encoder
    from compact_labse.search import Index, build, check_replaceable, read_about
    from compact_labse.texts import read_lines

    _check(args)
    queries = [line for query in args.query for line in (read_lines("-") if query == "-" else [query]) if line.strip()]
    if not queries:
        raise UserError("nothing to look for: the queries are all blank")
    reused = args.index is not None and args.index.exists() and not args.rebuild
    made_with = read_about(args.index).model if reused else None
    encoder = open_encoder(args.model, threads=args.threads, made_with=made_with)
    if args.index is None:
        with tempfile.TemporaryDirectory(prefix="compact-labse-") as folder:
            build(encoder, read_lines(args.text), Path(folder) / "index", backend=args.backend)
            _answer(args, encoder, Index(Path(folder) / "index"), queries)
        say(f"by {encoder}")
        return 0
    if not reused:
        check_replaceable(args.index)
        build(encoder, _text(args), args.index, backend=args.backend, overwrite=args.rebuild)
    else:
        _check_index(args, encoder)
    _answer(args, encoder, Index(args.index), queries)
    say(f"by {encoder}")
    return 0


def _check(args: argparse.Namespace) -> None:
    if not args.query:
        raise UserError('nothing to look for: --query "...", or --query - for the lines of stdin')
    if args.text is None and args.index is None:
        raise UserError("nothing to search: --text FILE, or --index DIR of an earlier search")
    if args.top_k < 1:
        raise UserError(f"--top-k must be at least 1, got {args.top_k}")
    if args.text == "-":
        raise UserError("--text takes a file, which may be read twice; stdin is for --query -")
    if args.rebuild and args.index is None:
        raise UserError("--rebuild needs --index DIR: without it there is no index to make again")


def _text(args: argparse.Namespace) -> Iterator[str]:
    from compact_labse.texts import read_lines

    if args.text is None:
        raise UserError(f"there is no index {args.index} yet: --text FILE says what to make it from")
    return read_lines(args.text)


def _check_index(args: argparse.Namespace, encoder: Encoder) -> None:
    """UserError if the index is of another model or text than those named."""
    from compact_labse.runtime import identity
    from compact_labse.search import read_about, text_digest
    from compact_labse.texts import read_lines

    about = read_about(args.index)
    if about.model != identity(encoder):
        raise UserError(
            f"the index {args.index} was made with another model than {args.model}: name that one, or --rebuild"
        )
    if args.text is not None and about.text != text_digest(read_lines(args.text)):
        raise UserError(f"{args.text} has changed since the index {args.index} was made: --rebuild makes it again")


def _answer(args: argparse.Namespace, encoder: Encoder, index: Index, queries: list[str]) -> None:
    answers = index.search(encoder.encode(queries), args.top_k, args.min_score)
    index.close()
    for query, hits in zip(queries, answers, strict=True):
        if args.json:
            _write({"query": query, "hits": [{**vars(hit), "score": round(hit.score, 4)} for hit in hits]})
        elif sys.stdout.isatty():
            _table(query, hits)
        else:
            _plain(query if len(queries) > 1 else None, hits)


def _write(found: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _plain(query: str | None, hits: list[Hit]) -> None:
    for hit in hits:
        cells = [query] if query is not None else []
        cells += [f"{hit.score:.4f}", str(hit.line), hit.text]
        line = "\t".join(cell.replace("\t", " ") for cell in cells)
        sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")


def _table(query: str, hits: list[Hit]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(query), title_justify="left", box=None, pad_edge=False)
    table.add_column("score", justify="right", style="bold")
    table.add_column("line", justify="right", style="dim")
    table.add_column("text", overflow="fold")
    for hit in hits:
        table.add_row(Text(f"{hit.score:.3f}", style=_colour(hit.score)), str(hit.line), Text(hit.text))
    if not hits:
        table.add_row("", "", Text("nothing scores high enough", style="dim"))
    Console().print(table, end="\n\n")


def _colour(score: float) -> str:
    return "green" if score >= 0.6 else "yellow" if score >= 0.4 else "red"
