"""`compact-labse data clean`: clean, deduplicate, decontaminate corpora into one file, with an account; `data mlm`."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.commands import data_mlm
from compact_labse.corpus.cleaning import Cleaning
from compact_labse.corpus.files import format_of
from compact_labse.errors import UserError

if TYPE_CHECKING:
    from compact_labse.corpus.account import Account
    from compact_labse.corpus.records import Pair

EXAMPLE = "example: compact-labse data clean corpora/en-*.tsv.gz --out clean.tsv.gz --eval eval/tatoeba"

_LIMITS = (
    ("min_chars", int, "shortest side, in characters (default %(default)s)"),
    ("max_chars", int, "longest side, in characters (default %(default)s)"),
    ("max_ratio", float, "longer side over shorter side (default %(default)s)"),
    ("ratio_slack", int, "characters added to both sides for the ratio (default %(default)s)"),
    ("min_script", float, "share of letters in a script of the language (default %(default)s; 0: no check)"),
)
_SWITCHES = (
    ("--keep-letterless", "letters", "keep texts without a letter of any script"),
    ("--keep-copies", "drop_copies", "keep pairs whose sides are equal, as lexicons have them"),
    ("--keep-duplicates", "drop_duplicates", "keep repetitions"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `data`."""
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    clean = actions.add_parser(
        "clean",
        help="clean, deduplicate and decontaminate pairs or texts",
        description="Read corpora, drop what no student should learn from, write the rest, and say what was dropped.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    data_mlm.add_action(actions)
    clean.add_argument("inputs", nargs="+", metavar="IN", help="files, folders, globs, or hf:name[:config][:split]")
    clean.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help=".tsv or .jsonl (.txt or .jsonl with --texts); .gz, .zst, .xz or .bz2 after it compresses",
    )
    clean.add_argument("--eval", nargs="+", metavar="FILE", help="remove every sentence that occurs in these files")
    clean.add_argument("--overwrite", action="store_true", help="replace FILE if it exists (default: refuse)")
    clean.add_argument("--texts", action="store_true", help="the corpus is monolingual: one text per record")
    _add_reading(clean.add_argument_group("reading"))
    _add_cleaning(clean.add_argument_group("cleaning"))


def run(args: argparse.Namespace) -> int:
    """Run the action; of `data clean`, the account goes to stdout, malformed lines and progress to stderr."""
    if args.action == "mlm":
        return data_mlm.run(args)
    from compact_labse.corpus.account import Account
    from compact_labse.progress import track
    from compact_labse.writing import check_new

    check_new(args.out, args.overwrite)
    line = _line_format(args.out, args.texts)
    cleaning = Cleaning(
        **{name: getattr(args, name) for name in [*(row[0] for row in _LIMITS), *(row[1] for row in _SWITCHES)]}
    )
    account = Account()
    records: Iterator[Pair] | Iterator[str]
    records = _texts(args, cleaning, account) if args.texts else _pairs(args, cleaning, account)
    _write(args.out, map(line, track(records, "cleaning")), account)
    _print(account)
    return 0


def _add_reading(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--columns", type=_columns, metavar="A,B", help="source and target: names, or positions from 0")
    group.add_argument(
        "--language",
        metavar="XX",
        help="language of the target (default: its column, or a file name such as en-xx.tsv)",
    )
    group.add_argument("--language-column", type=_column, metavar="C", help="the column with the target's language")
    group.add_argument("--kind", help="format of files whose names do not tell: tsv, jsonl, parquet, tfrecord, text")
    group.add_argument(
        "--max-bad", type=int, default=100, metavar="N", help="malformed lines to skip before giving up (default 100)"
    )


def _add_cleaning(group: argparse._ArgumentGroup) -> None:
    for name, kind, text in _LIMITS:
        option = "--" + name.replace("_", "-")
        group.add_argument(option, type=kind, default=getattr(Cleaning, name), metavar="N", help=text)
    for option, name, text in _SWITCHES:
        group.add_argument(option, dest=name, action="store_false", help=text)


def _pairs(args: argparse.Namespace, cleaning: Cleaning, account: Account) -> Iterator[Pair]:
    from compact_labse.corpus.clean import clean_pairs
    from compact_labse.corpus.decontaminate import EvaluationSentences, without_evaluation
    from compact_labse.corpus.read import read_pairs

    pairs = read_pairs(
        args.inputs,
        columns=args.columns,
        language=args.language,
        language_column=args.language_column,
        max_bad=args.max_bad,
        kind=args.kind,
    )
    cleaned = clean_pairs(pairs, cleaning, account)
    return without_evaluation(cleaned, EvaluationSentences.from_files(*args.eval), account) if args.eval else cleaned


def _texts(args: argparse.Namespace, cleaning: Cleaning, account: Account) -> Iterator[str]:
    from compact_labse.corpus.clean import clean_texts
    from compact_labse.corpus.decontaminate import EvaluationSentences, texts_without_evaluation
    from compact_labse.corpus.read import read_texts

    if args.language_column is not None:
        raise UserError("--language-column is for pairs; with --texts, name the language with --language")
    language = args.language or "und"
    texts = read_texts(args.inputs, columns=args.columns, max_bad=args.max_bad, kind=args.kind)
    cleaned = clean_texts(texts, cleaning, account, language=language)
    if not args.eval:
        return cleaned
    return texts_without_evaluation(cleaned, EvaluationSentences.from_files(*args.eval), account, language=language)


def _line_format(out: Path, texts: bool) -> Callable[..., str]:
    """The function that makes a line of a pair, or of a text, in the format that the output's name asks for."""
    formats: dict[str, Callable[..., str]] = {
        "jsonl": (lambda text: _json({"text": text})) if texts else (lambda pair: _json(pair._asdict())),
        "text" if texts else "tsv": str if texts else "\t".join,
    }
    kind = format_of(str(out))
    if kind not in formats:
        raise UserError(f"--out {out}: write {'.txt' if texts else '.tsv'} or .jsonl, also .gz, .zst, .xz or .bz2")
    return formats[kind]


def _json(fields: dict[str, str]) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _write(out: Path, lines: Iterable[str], account: Account) -> None:
    from compact_labse.corpus.streams import compressing
    from compact_labse.writing import writing_file

    header = "source\ttarget\tlanguage\n" if format_of(str(out)) == "tsv" else ""
    with writing_file(out) as temporary:
        with (
            open(temporary, "wb") as raw,
            compressing(str(out), raw) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as file,
        ):
            file.write(header)
            file.writelines(f"{line}\n" for line in lines)
        if not account.kept.total():
            raise UserError(f"nothing was left to write to {out}: " + "; ".join(map(str.strip, account.lines()[:4])))


def _print(account: Account) -> None:
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(account.table())
    else:
        print("\n".join(account.lines()))


def _columns(text: str) -> tuple[int | str, ...]:
    return tuple(_column(part) for part in text.split(","))


def _column(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
