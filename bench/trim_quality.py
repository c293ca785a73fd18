"""What trimming costs in retrieval: Tatoeba accuracy of a model before and after, language by language.

python bench/trim_quality.py MODEL TRIMMED --tatoeba DIR --languages deu,fra,spa [--out FILE.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from compact_labse.encoder import Encoder, load
from compact_labse.measure.quality.datasets import tatoeba
from compact_labse.measure.quality.quality import retrieval_accuracy


def scores(encoder: Encoder, data: dict[str, tuple[list[str], list[str]]]) -> dict[str, tuple[float, float]]:
    """Accuracy from and to English by language, in percent."""
    found = {}
    for code, (sentences, english) in data.items():
        result = retrieval_accuracy(encoder.encode(sentences), encoder.encode(english))
        found[code] = (result.forward, result.backward)
    return found


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("trimmed")
    parser.add_argument("--tatoeba", type=Path, required=True)
    parser.add_argument("--languages", required=True, help="Tatoeba's codes: deu,fra,spa")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    data = tatoeba(args.tatoeba, args.languages.split(","))
    before, after = (scores(load(name), data) for name in (args.model, args.trimmed))
    lines = ["| language | to English | from English |", "|---|---|---|"]
    for code in data:
        one, other = before[code], after[code]
        lines.append(f"| {code} | {one[0]:.1f} -> {other[0]:.1f} | {one[1]:.1f} -> {other[1]:.1f} |")
    sides = [[sum(found[code][side] for code in data) / len(data) for side in (0, 1)] for found in (before, after)]
    lines.append(f"| mean | {sides[0][0]:.2f} -> {sides[1][0]:.2f} | {sides[0][1]:.2f} -> {sides[1][1]:.2f} |")
    print("\n".join(lines))
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
