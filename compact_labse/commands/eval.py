"""`compact-labse eval`: retrieval, similarity and agreement with a teacher, on any encoder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.locate import KINDS_OF_MODEL

if TYPE_CHECKING:
    from compact_labse.measure.quality.datasets import Dataset
    from compact_labse.measure.results import Record

TATOEBA_SETS = ("14", "29", "36", "112")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help=f"{KINDS_OF_MODEL}; LABEL=MODEL names it")
    parser.add_argument(
        "--data", type=Path,
        help="folder with tatoeba/, pud/, sts/ or en-xx.tsv, or hf:name[:config] (default: embedded text)",
    )  # fmt: skip
    parser.add_argument("--tatoeba-set", choices=TATOEBA_SETS, default="36", help="languages of Tatoeba (default: 36)")
    parser.add_argument("--teacher", metavar="T", help="also report the agreement with this encoder's vectors")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="print the records as JSON lines instead of tables")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="append to this .jsonl; what it has is not measured again"
    )
    parser.add_argument(
        "--full", action="store_true",
        help="also mining, search among all English, smaller vectors, batches and the picture: about twice the time",
    )  # fmt: skip
    parser.add_argument(
        "--mteb", nargs="+", default=[], metavar="TASK", help="also run these tasks of the mteb library"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.html and .md on all that --out holds")
    parser.epilog = "example: compact-labse eval default minilm --data path/to/eval --tatoeba-set 36"


def run(args: argparse.Namespace) -> int:
    """Evaluate every model on every data set and print tables, or records; 1 if a measure failed."""
    import json
    import sys

    from compact_labse.errors import UserError
    from compact_labse.measure.artifact import open_all
    from compact_labse.measure.environment import usable_cores
    from compact_labse.measure.pages.report import print_report, write_report
    from compact_labse.measure.pages.summary import summarise
    from compact_labse.measure.quality.datasets import find
    from compact_labse.measure.quality.mteb_tasks import find_tasks, record_mteb
    from compact_labse.measure.quality.suite import record_suite
    from compact_labse.measure.results import Results

    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads must be at least 1, got {args.threads}")
    threads = args.threads or usable_cores()
    results = Results(args.out)
    datasets = find(args.data, args.tatoeba_set)
    tasks = find_tasks(args.mteb)
    opened = open_all(args.models, threads=threads)
    teacher = open_all([args.teacher], threads=threads)[0] if args.teacher else None
    records = record_suite(results, opened, datasets, teacher=teacher, full=args.full)
    if tasks:
        records += record_mteb(results, opened, tasks)
    summary = summarise(records, [artifact.record() for artifact, _ in opened])
    if args.report is not None:
        write_report(summarise(results.records), args.report)
    if args.json:
        for record in records:
            print(json.dumps(record, ensure_ascii=False))
    else:
        print_report(summary, sys.stdout)
        for line in worst_texts(records, datasets):
            print(line)
    return 1 if any(record["kind"] == "failure" for record in records) else 0


def worst_texts(records: Sequence[Record], datasets: Sequence[Dataset]) -> list[str]:
    """For every agreement, the text on which the two encoders differ most."""
    from compact_labse.measure.quality.evaluate import agreement_texts
    from compact_labse.measure.runs import AGREEMENT_TEXTS

    by_name = {dataset.name: dataset for dataset in datasets}
    lines = []
    for record in (record for record in records if record["kind"] == "agreement"):
        languages = record["values"]["languages"]
        cosines = {code: row["worst_cosine"] for code, row in languages.items() if row.get("worst_cosine") is not None}
        if not cosines:
            continue
        code = min(cosines, key=lambda code: cosines[code])
        dataset = record["config"]["dataset"]
        text = agreement_texts(by_name[dataset], AGREEMENT_TEXTS)[code][languages[code]["worst_index"]]
        lines.append(
            f"Least agreement of {record['model']['label']} with {record['values']['with']} on {dataset}: "
            f"{cosines[code]:.4f} in {code}, {text!r}"
        )
    return lines
