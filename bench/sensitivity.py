"""Scan each layer of a model in 8 and 4 bits, search mixtures of them, and write the Pareto set as JSON and Markdown.

python bench/sensitivity.py minilm --data texts.txt [--texts 96] [--out bench/results/compression/minilm]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import torch

from compact_labse import sample
from compact_labse.compress.calibration import some_texts
from compact_labse.compress.sensitivity import Bench, Layer, Point, excluded, front, search
from compact_labse.formats.onnx.graph import graph_of
from compact_labse.locate import locate
from compact_labse.torch_encoder import TorchEncoder

SHOWN = 10


def run(model: str, data: Sequence[str], texts: int, steps: int, out: Path) -> None:
    """Scan, search, write `<out>.json` and `<out>.md`."""
    source = TorchEncoder.open(locate(model), device="cpu", threads=1)
    with torch.no_grad():
        bench = Bench(source, graph_of(source), some_texts(data, texts) if data else sample.sentences("en")[:texts])
    layers = bench.scan()
    points = search(bench, layers, steps)
    content = {
        "model": model,
        "texts": texts,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "layers": [asdict(layer) for layer in layers],
        "excluded": excluded(layers),
        "points": [asdict(point) for point in points],
        "front": [point.title for point in front(points)],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(page(model, texts, layers, points), encoding="utf-8")


def page(model: str, texts: int, layers: Sequence[Layer], points: Sequence[Point]) -> str:
    """What was found, for people."""
    best = {point.title for point in front(points)}
    lines = [
        f"# Bits for {model}",
        "",
        f"Damage is one minus the mean cosine with float32: of each layer alone on {texts // 2} texts, of mixtures on",
        f"{texts - texts // 2} others. Made by `python bench/sensitivity.py {model} --texts {texts}`.",
        "",
        f"## The {SHOWN} most sensitive of {len(layers)} linear layers",
        "",
        "| layer | 8 bits, a scale a row | 4 bits, a scale every 32 |",
        "|---|---|---|",
        *(f"| {x.name} | {x.damage8:.6f} | {x.damage4:.6f} |" for x in layers[:SHOWN]),
        "",
        f"Half of all damage in 8 bits comes from {len(excluded(layers))}: {', '.join(excluded(layers))}.",
        "",
        "## Mixtures",
        "",
        "| mixture | MB | damage | worst cosine | on the Pareto front |",
        "|---|---|---|---|---|",
    ]
    for x in points:
        mark = "yes" if x.title in best else ""
        lines.append(f"| {x.title} | {x.bytes / 1e6:.2f} | {x.damage:.6f} | {x.worst_cosine:.4f} | {mark} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help='a model folder or "minilm"')
    parser.add_argument("--data", nargs="+", help="text in the model's languages (default: the English sample)")
    parser.add_argument("--texts", type=int, default=96, help="half to scan on, half to measure mixtures on")
    parser.add_argument("--steps", type=int, default=4, help="mixtures in each direction and table width")
    parser.add_argument("--out", type=Path, default=Path("bench/results/compression/minilm_bits"))
    args = parser.parse_args()
    run(args.model, args.data or (), args.texts, args.steps, args.out)


if __name__ == "__main__":
    main()
