"""Training for few bits: all-MiniLM-L6-v2 in 4 bits, layers and table, as it is and after a last phase in 4 bits.

    python bench/few_bits.py --train ../shared/data/train --work DIR --make --minutes 20   # models and files
    python bench/few_bits.py --sts ../shared/data/eval/sts --work DIR --out bench/results/compression/few_bits

What we want of 4 bits: at most 15 % of the bytes of float32 and at least 98.5 % of its Spearman. Text is that of
`bench/half_flops.py`: the English side of training pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compact_labse.pipelines import load_pipeline

ROWS = (
    ("fp32", "original", "fp32"),
    ("int8", "original", "int8"),
    ("int4", "original", "int4"),
    ("int4 after training in 4 bits", "trained", "int4"),
)
BITS = 4
RATES = {"lr": 2e-4, "table_lr": 1e-4}
BYTES, QUALITY = 15.0, 98.5  # percent


def make(work: Path, texts: list[str], minutes: float) -> None:
    """The trained model and the files of both; what is there already stays."""
    from compact_labse.locate import locate

    chain = load_pipeline("bench", "textbook_chain")
    source, trained = locate(chain.MODEL), work / "trained"
    if not trained.is_dir():
        chain.heal(source, texts, trained, minutes, **RATES, bits=BITS)
    for name, folder in {"original": source, "trained": trained}.items():
        chain.export(folder, work / "exported" / name, [kind for _, one, kind in ROWS if one == name])


def shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bytes and Spearman of each row in percent of the first one's."""
    first = rows[0]
    return [
        {"row": row["row"], **{name: round(100 * row[name] / first[name], 2) for name in ("bytes", "spearman")}}
        for row in rows
    ]


def main() -> None:
    """Make or measure."""
    pages = load_pipeline("bench", "pages")
    parser = pages.options(__doc__, "1 GB")
    parser.add_argument("--train", type=Path, help="folder of training sources, each with en-xx.tsv.gz")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training")
    args = pages.parsed(parser, "train")
    if args.make:
        make(args.work, load_pipeline("bench", "half_flops").english(args.train, args.work), args.minutes)
        return
    chain = load_pipeline("bench", "textbook_chain")
    rows = chain.measure(args.work, args.sts, args.rounds, ROWS)
    found = shares(rows)
    print(*found, sep="\n")
    pages.write(args.out, {"percent": found, "rows": rows}, chain.page(rows))
    if found[-1]["bytes"] > BYTES or found[-1]["spearman"] < QUALITY:
        raise SystemExit(f"more than {BYTES} % of the bytes or less than {QUALITY} % of the quality")


if __name__ == "__main__":
    main()
