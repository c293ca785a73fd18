"""`compact-labse prune`: fewer layers, heads, feed-forward columns; a narrower model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse.errors import require

if TYPE_CHECKING:
    from compact_labse.compress.structure import Prune, Pruned

SIZES = ("layers", "heads", "ffn", "table")
EXAMPLE = """\
example:
  compact-labse prune minilm --layers 4 --ffn 768 --data texts.txt --out minilm-4
  compact-labse distill --config distill/heal.yaml --student minilm-4 --teacher minilm --texts texts.txt --out healed

Layers go one by one, the one whose absence moves the vectors of the text least; heads, columns and dimensions by
their importance on it. A stock model comes out, in which heads times their width is the hidden width: --heads 8 of a
model with heads of 32 makes it 256 wide. Then heal it: what pruning breaks, a few minutes of distillation mend.
Or let it go in steps, distilling from the unpruned model after each:
  compact-labse prune minilm --layers 3 --gradual 3 --minutes 30 --data texts.txt --out minilm-3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("model", metavar="MODEL", help='a model folder, a Hugging Face name, or "minilm"')
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the model folder to write")
    parser.add_argument(
        "--data", metavar="FILE", nargs="+", required=True, help="text to measure on; pairs: both sides"
    )
    sizes = parser.add_argument_group("sizes (at least one)")
    sizes.add_argument("--layers", metavar="N", type=int, help="layers that stay")
    sizes.add_argument("--heads", metavar="N", type=int, help="heads that stay in each layer; narrows the model")
    sizes.add_argument("--ffn", metavar="N", type=int, help="feed-forward columns that stay in each layer")
    sizes.add_argument("--dim", metavar="N", type=int, help="hidden width, a multiple of a head's")
    sizes.add_argument(
        "--table", metavar="N", type=int, help="width of the table: BERT becomes ELECTRA, a bag gets a Dense"
    )
    steps = parser.add_argument_group("gradually, with training on --data after each step")
    steps.add_argument("--gradual", metavar="STEPS", type=int, help="prune in so many steps")
    steps.add_argument("--minutes", metavar="M", type=float, default=30.0, help="of training in all (default: 30)")
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "pooler"),
        help="of a plain transformers folder: how tokens become a sentence's vector (others say it themselves)",
    )
    parser.add_argument("--texts", metavar="N", type=int, default=256, help="texts to calibrate on (default: 256)")
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists (default: refuse)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prune, and print what it cost."""
    from dataclasses import asdict

    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    from compact_labse.compress.structure import Prune, prune

    names = ("model", "out", "layers", "heads", "ffn", "dim", "table", "texts", "pooling", "overwrite")
    wanted = Prune(data=tuple(args.data), **{name: getattr(args, name) for name in names})
    if args.gradual is not None:
        return _gradually(args, wanted)
    done = prune(wanted)
    print(json.dumps({"out": str(args.out), **asdict(done)}) if args.json else _table(done))
    return 0


def _gradually(args: argparse.Namespace, wanted: Prune) -> int:
    from compact_labse.pipelines import load_pipeline

    pipeline = load_pipeline("distill", "gradual")
    loop = pipeline.healing(args.minutes / max(1, args.gradual))
    found = pipeline.run(pipeline.GradualConfig(target=wanted, steps=args.gradual, loop=loop))
    if args.json:
        print(json.dumps({"out": str(args.out), "steps": found}))
        return 0
    for step in found:
        sizes = ", ".join(f"{name} {size}" for name, size in step.items() if name in SIZES)
        print(f"{sizes:<40} damage {step['before']:.4f} -> {step['after']:.4f}")
    return 0


def _table(done: Pruned) -> str:
    sizes = ", ".join(f"{name} {done.before[name]} -> {size}" for name, size in done.after.items())
    layers = f"{', '.join(map(str, done.kept_layers))} stay" if done.kept_layers else "none"
    same = done.before.get("dim") == done.after.get("dim")
    measure = "mean cosine with the old vectors" if same else "correlation of the old and the new vectors' cosines"
    return "\n".join([
        f"sizes       {sizes}",
        f"layers      {layers}",
        f"parameters  {done.parameters_before / 1e6:,.2f} -> {done.parameters_after / 1e6:,.2f} million",
        f"damage      {done.damage:.4f} (one minus the {measure}, on texts not chosen on)",
    ])  # fmt: skip
