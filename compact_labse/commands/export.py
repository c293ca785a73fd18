"""`compact-labse export`: write a model for another runtime, through the gates."""

from __future__ import annotations

import argparse
from pathlib import Path

from compact_labse.errors import UserError

EXAMPLE = """\
example:
  compact-labse export runs/student --onnx --int8
  compact-labse export minilm --onnx --fp32 --int8 --out exported

An artifact gets its name only if it agrees with MODEL in every language, alone and in padded batches. What was
measured stands in parity.json beside it; a failed gate names the worst sentence, and nothing is written (exit code 3).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("model", metavar="MODEL", help='a model folder, a Hugging Face name, or "minilm"')
    parser.add_argument("--onnx", action="store_true", help="for ONNX Runtime and everything that reads ONNX")
    parser.add_argument("--fp32", action="store_true", help="float32, exact; what is written if no other is asked for")
    parser.add_argument(
        "--int8", action="store_true", help="8-bit weights and table: a quarter of the size, 2-5x the speed"
    )
    parser.add_argument("--int4", action="store_true", help="4-bit table, 8-bit weights: smaller, a little less exact")
    parser.add_argument("--int3", action="store_true", help="3-bit table, 8-bit weights: smallest")
    parser.add_argument("--int8-dynamic", action="store_true", help="one scale for a whole batch: not batch-invariant")
    parser.add_argument("--allow-batch-variant", action="store_true", help="write --int8-dynamic all the same, marked")
    parser.add_argument(
        "--recipe", metavar="NAME", help="how to store linear layers: rows, blocks-128, blocks-64, blocks-32"
    )
    parser.add_argument(
        "--external-data", action="store_true", help="weights in a second file, mapped into memory: 24 MB less for 13"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="a new folder (default: onnx/ in MODEL's own)")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists")
    parser.add_argument("--loosen", metavar="GATE=VALUE", action="append", default=[], help="lower a gate; recorded")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why the gates are loosened; recorded")


def run(args: argparse.Namespace) -> int:
    """Export and say where to."""
    from compact_labse.pipelines import load_pipeline

    if not args.onnx:
        raise UserError("name the runtime to export for: --onnx")
    formats = [
        name for name in ("fp32", "int8", "int8-dynamic", "int4", "int3") if getattr(args, name.replace("-", "_"))
    ]
    pipeline = load_pipeline("export", "onnx_export")
    config = pipeline.OnnxExport(
        model=args.model,
        out=args.out,
        formats=tuple(formats) or ("fp32",),
        recipe=args.recipe,
        allow_batch_variant=args.allow_batch_variant,
        loosen=dict(map(_gate, args.loosen)),
        reason=args.reason,
        external_data=args.external_data,
        overwrite=args.overwrite,
    )
    pipeline.run(config)
    return 0


def _gate(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip().replace("-", "_"), float(value)
    except ValueError as error:
        raise UserError(f"--loosen takes GATE=VALUE such as worst_cosine=0.97, got {text!r}") from error
