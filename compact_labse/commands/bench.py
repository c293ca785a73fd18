"""`compact-labse bench`: latency, memory, size and accuracy side by side, through `bench/compare.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

TATOEBA_SETS = ("14", "29", "36", "112")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "models", nargs="*", default=["default"], metavar="MODEL",
        help="folder, .onnx file or name; LABEL=MODEL names it; the first is the reference (default: `default`)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, help="folder with tatoeba/, pud/, sts/ or en-xx.tsv (default: embedded text)"
    )
    parser.add_argument("--tatoeba-set", choices=TATOEBA_SETS, help="languages of Tatoeba (default: 36, quick: 14)")
    parser.add_argument("--out", type=Path, default=Path("bench-report"), metavar="DIR", help="default: bench-report")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not evidence")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every measured process (default: 1)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 5, quick: 2)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")
    parser.epilog = "example: compact-labse bench minilm student/ student/onnx/model_int8.onnx --data path/to/eval"


def run(args: argparse.Namespace) -> int:
    """Measure, write the report into --out and print its tables."""
    from compact_labse.measure.report import print_report, to_json
    from compact_labse.pipelines import load_pipeline
    from compact_labse.progress import say

    compare = load_pipeline("bench", "compare")
    settings = {"models": tuple(args.models), "data": args.data, "out": args.out, "threads": args.threads}
    chosen = {"rounds": args.rounds, "tatoeba_set": args.tatoeba_set}
    settings |= compare.QUICK if args.quick else {}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    summary = compare.run(compare.Config(**settings))
    if args.json:
        print(to_json(summary))
    else:
        print_report(summary)
    say(f"report: {args.out / 'report.html'}")
    return 0
