"""`compact-labse compress`: the best model within a budget of bytes, milliseconds and quality."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from compact_labse.errors import GateError, UserError

EXAMPLE = """\
example:
  compact-labse compress minilm --languages en --data texts.txt --max-size 12MB --max-latency 3ms --out small
  compact-labse compress default --languages de,en --data pairs/ --max-size 4MB --min-quality 0.95 --out tiny

It combines fewer pieces, layers, heads and columns, a narrower table and fewer bits. Sizes and times are predicted on
untrained models first; training is spent only on what can fit. Bytes are those of the ONNX file and its tokenizer;
milliseconds those of one sentence of 20 tokens on one thread. A tenth of --data is held out to judge on: of pairs how
often the translation is found, of texts how far likeness agrees with the original's. Give the same command again after
an interruption: every step is a folder in DIR.work and is made once.

exit code: 0 the budget is met, 2 bad input or a budget that nothing can meet, 3 the nearest was written, which keeps
less than --min-quality, or nothing was written, because no candidate passed the gates of its export
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("model", metavar="MODEL", help='a model folder, a Hugging Face name, "minilm" or "default"')
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--data", metavar="FILE", nargs="+", required=True, help="text or pairs (en-de.tsv.gz) to train and judge on"
    )
    budget = parser.add_argument_group("budget (--max-size, --max-latency or both)")
    budget.add_argument("--max-size", metavar="20MB", help="of the ONNX file and the tokenizer")
    budget.add_argument("--max-latency", metavar="3ms", help="of one sentence of 20 tokens on one thread")
    budget.add_argument(
        "--min-quality", metavar="Q", type=float, default=0.98, help="share of the original's figures (default: 0.98)"
    )
    text = parser.add_argument_group("what to keep and to judge")
    text.add_argument("--languages", metavar="XX,YY", default="", help="languages to keep (default: all of the text)")
    text.add_argument(
        "--corpus", metavar="FILE", nargs="+", default=[], help="text whose pieces stay (default: --data)"
    )
    text.add_argument(
        "--eval", metavar="FOLDER", type=Path, dest="evaluation",
        help="judge on tatoeba/, pud/, sts/ or en-xx.tsv in it, in the --languages (default: a tenth of --data)",
    )  # fmt: skip
    effort = parser.add_argument_group("effort")
    effort.add_argument("--minutes", metavar="M", type=float, default=3.0, help="of training a candidate (default: 3)")
    effort.add_argument("--looks", metavar="N", type=int, default=12, help="candidates judged untrained (default: 12)")
    effort.add_argument("--trained", metavar="N", type=int, default=3, help="of them trained at most (default: 3)")
    effort.add_argument("--seed", metavar="N", type=int, default=0, help="of search and training (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists (default: refuse)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Compress, and print the front, the chosen artifact and what each step gained and cost."""
    from compact_labse.compress.budget import bytes_of, milliseconds_of
    from compact_labse.pipelines import load_pipeline

    languages = tuple(dict.fromkeys(code.strip() for code in args.languages.split(",") if code.strip()))
    if args.languages and not languages:
        raise UserError(f"--languages takes codes such as de,th; got {args.languages!r}")
    pipeline = load_pipeline("distill", "compress")
    names = ("model", "out", "min_quality", "evaluation", "minutes", "looks", "trained", "seed", "overwrite")
    found = pipeline.run(
        pipeline.CompressConfig(
            data=tuple(args.data),
            languages=languages,
            corpus=tuple(args.corpus),
            max_size=None if args.max_size is None else bytes_of(args.max_size),
            max_latency=None if args.max_latency is None else milliseconds_of(args.max_latency),
            **{name: getattr(args, name) for name in names},
        )
    )
    if args.json:
        print(json.dumps(_record(args.out, found), ensure_ascii=False))
    else:
        _print(args, found)
    return 0 if found.met else GateError.exit_code


def _record(out: Path, found: Any) -> dict[str, Any]:
    rows = [row.record() for row in found.rows]
    steps = [{name: value for name, value in one.items() if name != "model"} for one in found.steps]
    return {
        "out": str(out),
        "met": found.met,
        "chosen": found.chosen.record(),
        "steps": steps,
        "candidates": rows,
    }


def _print(args: argparse.Namespace, found: Any) -> None:
    import sys

    from compact_labse.compress.evidence import front_table, steps_table
    from compact_labse.measure.pages.report import print_table

    print_table(front_table(found.rows, "Pareto front"), sys.stdout)
    print_table(steps_table(found.steps), sys.stdout)
    size, latency, quality = found.chosen.figures
    print(f"{found.chosen.candidate.title}: {size / 1e6:.2f} MB, {latency:.2f} ms, keeps {quality:.4f}")
    if not found.met:
        print("the budget is not met, this is the nearest: more --minutes, --looks or --trained may help")
    print(f"written: {args.out}; evidence: {args.out / 'evidence' / 'compress.md'}")
