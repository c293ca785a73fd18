"""What the benches of compression share: their options, Spearman on STS, and how figures become OUT.json and OUT.md."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def options(doc: str | None, space: str) -> argparse.ArgumentParser:
    """`--work`, `--make`, `--sts`, `--rounds`, `--out` of a bench that makes its models first, then measures them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help=f"folder for models and files: {space}")
    parser.add_argument("--make", action="store_true", help="make what is to be measured, and stop")
    parser.add_argument("--sts", type=Path, help="folder with en-dev.tsv.gz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    return parser


def parsed(parser: argparse.ArgumentParser, needed: str = "") -> argparse.Namespace:
    """The options as given; ends with a message if `--make` lacks the option `needed`, or measuring lacks `--sts`."""
    args = parser.parse_args()
    if args.make and needed and not getattr(args, needed):
        parser.error(f"--make needs --{needed}")
    if not args.make and args.sts is None:
        parser.error("to measure, give --sts")
    return args


def english_sts(folder: Path) -> Any:
    """The English pairs and their scores."""
    from compact_labse.measure.quality.datasets import sts

    return sts(folder)["en"]


def spearman_of(path: Path, pairs: Sequence[Any]) -> float:
    """Spearman x 100 of an ONNX file's cosines with the scores of pairs."""
    import numpy as np

    from compact_labse.measure.quality.quality import spearman
    from compact_labse.onnx_encoder import OnnxEncoder

    encoder = OnnxEncoder.open(path)
    first, second = (encoder.encode(list(side)) for side in pairs[:2])
    return round(100 * spearman(np.einsum("nd,nd->n", first, second), pairs[2]), 2)


def write(out: Path | None, content: Mapping[str, Any], page: str) -> None:
    """Print the page; with `out`, write it to OUT.md and the content with today's date to OUT.json."""
    print(page)
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    dated = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), **content}
    out.with_suffix(".json").write_text(json.dumps(dated, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(page, encoding="utf-8")
