"""`compact-labse embed`: text in, vectors out, in bounded memory."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.errors import UserError
from compact_labse.locate import KINDS_OF_MODEL

if TYPE_CHECKING:
    import numpy as np

    from compact_labse.encoder import Encoder

EXAMPLE = """\
example:
  compact-labse embed "Guten Morgen" "Good morning"
  compact-labse embed --file sentences.txt.gz --out vectors.npy

One vector per text or line, empty lines included. Without --out, a JSON object per line goes to stdout.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to embed")
    parser.add_argument("--file", metavar="F", help="a text file, one text a line (.gz, .xz, .zst too), or - for stdin")
    parser.add_argument("--model", default="default", help=f"{KINDS_OF_MODEL} (default: the shipped student)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write .npy, .parquet or .jsonl instead of stdout")
    parser.add_argument("--threads", type=int, help="CPU threads (default: what was measured to be fast)")


def run(args: argparse.Namespace) -> int:
    """Embed the texts and say where the vectors are."""
    import sys

    from compact_labse.progress import say
    from compact_labse.runtime import open_encoder
    from compact_labse.texts import read_lines
    from compact_labse.vectors import WRITERS, write_jsonl, write_vectors

    if bool(args.texts) == bool(args.file):
        raise UserError('give either texts or --file: compact-labse embed "Guten Morgen", or --file - for stdin')
    if args.out is not None and args.out.suffix not in WRITERS:
        raise UserError(f"--out {args.out} has no ending of a known format: expected one of {', '.join(WRITERS)}")
    encoder = open_encoder(args.model, threads=args.threads)
    found = _encoded(encoder, iter(args.texts) if args.texts else read_lines(args.file))
    if args.out is None:
        for texts, vectors_ND in found:
            write_jsonl(sys.stdout.buffer, texts, vectors_ND)
            sys.stdout.buffer.flush()
        say(f"by {encoder}")
        return 0
    count = write_vectors(args.out, encoder.dim, found)
    say(f"{args.out}: {count} vectors of {encoder.dim} values, by {encoder}")
    return 0


def _encoded(encoder: Encoder, lines: Iterator[str]) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    from compact_labse.progress import track
    from compact_labse.texts import chunks

    for chunk in chunks(track(lines, "embedding")):
        yield chunk, encoder.encode(chunk)
