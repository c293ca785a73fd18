"""`compact-labse bench`: latency, memory, size and accuracy side by side, through `bench/compare.py`.

`bench compare OLD NEW` compares two files of results; a model folder of that name is `./compare`. Options of shapes
(`--models --batch-sizes --sequence-lengths`) measure plain encoders instead, with random weights where there are none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

TATOEBA_SETS = ("14", "29", "36", "112")
SUITES = ("cpu", "gpu", "edge", "quality", "all")
EXAMPLES = """examples:
  compact-labse bench minilm student/ student/onnx/model_int8.onnx --data path/to/eval
  compact-labse bench student/ fastembed:student/onnx/model_int8.onnx --suite cpu
  compact-labse bench --models bert/ distilbert/config.json --batch-sizes 4 --sequence-lengths 32 128 512
  compact-labse bench compare old/results.jsonl new/results.jsonl --threshold 5%

RUNNER:MODEL has another program run a model: sentence-transformers, sentence-transformers-onnx, fastembed, onnxruntime,
litert, torch-fp32, torch-bf16, torch-compile, wasm-node, wasm-chromium. Those that are not
installed beside this package run in environments of a checkout of the project; what is missing is said, not measured.

`bench compare --help` has its own options."""


def main(words: list[str]) -> int:
    """Run `bench` or, if that is the first word, `bench compare`."""
    from compact_labse.cli import COMMANDS, Parser

    comparing = words[:1] == ["compare"]
    parser = Parser(
        prog="compact-labse bench compare" if comparing else "compact-labse bench",
        description="find what got slower, larger or less accurate" if comparing else COMMANDS["bench"][1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if comparing:
        add_compare_arguments(parser)
        return run_compare(parser.parse_args(words[1:]))
    add_arguments(parser)
    return run(parser.parse_args(words))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "models", nargs="*", default=[], metavar="MODEL",
        help="folder, exported file or name; LABEL=MODEL names it; the first is the reference (default: `default`)",
    )  # fmt: skip
    parser.add_argument("--suite", choices=SUITES, help="what to measure (default: quality and a short look at speed)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="the suite's whole grid of shapes and threads: hours")
    length.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not evidence")
    parser.add_argument(
        "--data", type=Path,
        help="folder with tatoeba/, pud/, sts/ or en-xx.tsv, or hf:name[:config] (default: embedded text)",
    )  # fmt: skip
    parser.add_argument("--tatoeba-set", choices=TATOEBA_SETS, help="languages of Tatoeba (default: 36, quick: 14)")
    parser.add_argument("--out", type=Path, default=Path("bench-report"), metavar="DIR", help="default: bench-report")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every measured process (default: 1)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 5, quick: 2)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")
    shapes = parser.add_argument_group("plain encoders by shape, inference and training step")
    shapes.add_argument("--models", nargs="+", dest="plain", metavar="MODEL", help="folder, config.json or name")
    shapes.add_argument("--batch-sizes", nargs="+", type=int, default=[8], metavar="B", help="default: 8")
    shapes.add_argument(
        "--sequence-lengths", nargs="+", type=int, default=[8, 32, 128, 512], metavar="T", help="default: 8 32 128 512"
    )
    shapes.add_argument("--no-training", action="store_true", help="inference alone")
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    """Measure, write the report into --out and print its tables."""
    from compact_labse.errors import UserError
    from compact_labse.measure.pages.report import print_report, to_json
    from compact_labse.pipelines import load_pipeline
    from compact_labse.progress import say

    if args.plain:
        if args.models or args.suite:
            raise UserError("--models measures plain encoders by shape: give no other model and no --suite with it")
        return run_shapes(args)
    compare = load_pipeline("bench", "compare")
    settings = {
        "models": tuple(args.models or ["default"]),
        "data": args.data,
        "out": args.out,
        "threads": args.threads,
    }
    settings |= {"suite": args.suite, "full": args.full}
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


def run_shapes(args: argparse.Namespace) -> int:
    """Measure plain encoders, print the table, and write `shapes.csv` and its plots into --out."""
    from compact_labse.pipelines import load_pipeline
    from compact_labse.progress import say

    shapes = load_pipeline("bench", "shapes")
    modes = ("inference",) if args.no_training else ("inference", "training")
    sizes = {"batch_sizes": tuple(args.batch_sizes), "sequence_lengths": tuple(args.sequence_lengths)}
    settings = {"models": tuple(args.plain), "out": args.out, "threads": args.threads, "modes": modes, **sizes}
    cfg = shapes.Config(**settings, **({"rounds": args.rounds} if args.rounds else {}))
    rows = shapes.run(cfg)
    print(shapes.as_json(rows) if args.json else shapes.as_text(rows))
    say(f"written: {args.out / 'shapes.csv'} and its plots")
    return 0


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `bench compare`."""
    parser.add_argument("old", type=Path, help="results.jsonl of before, or the folder that holds it")
    parser.add_argument("new", type=Path, help="results.jsonl of now, or the folder that holds it")
    parser.add_argument("--threshold", default="5%", help="what counts as a regression (default: 5%%)")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.epilog = """exit code: 0 no regression, 3 something is worse by more than the threshold beyond doubt

example: compact-labse bench compare old/results.jsonl bench-report --threshold 5%"""


def run_compare(args: argparse.Namespace) -> int:
    """Print what changed; 3 if anything is worse by more than the threshold and noise does not explain it."""
    import json
    import sys

    from compact_labse.errors import GateError
    from compact_labse.measure.pages.report import print_table
    from compact_labse.measure.regressions import as_table, find_changes, other_conditions, percent, read_results
    from compact_labse.progress import say

    threshold = percent(args.threshold)
    old, new = read_results(args.old), read_results(args.new)
    changes = find_changes(old, new, threshold)
    for difference in other_conditions(old, new):
        say(f"warning: not measured under the same conditions: {difference}")
    worse = [change for change in changes if change.verdict == "worse"]
    if args.json:
        rows = [change.record() for change in changes]
        print(json.dumps({"threshold": threshold, "regressions": len(worse), "changes": rows}))
    else:
        print_table(as_table(changes), sys.stdout)
    alone = sum(change.verdict == "unjudged" for change in changes)
    unjudged = f", {alone} not judged for want of repeated values" if alone else ""
    say(f"{len(changes)} figures compared, {len(worse)} worse by more than {100 * threshold:g} %{unjudged}")
    return GateError.exit_code if worse else 0
