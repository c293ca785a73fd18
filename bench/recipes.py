"""Every way of storing a model's linear layers in ONNX side by side: bytes, cosines, batch invariance, milliseconds.

    python bench/recipes.py minilm --work DIR --make                       # the files and their cosines: minutes
    python bench/recipes.py minilm --work DIR --out export/results/recipes # times too, on a quiet machine

No gate refuses a file here: what each would say is the point. Times are those of PyTorch in float32 and of every file
in turns, each in a fresh process with one thread; the best median of all rounds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_labse import load, sample
from compact_labse.errors import UserError
from compact_labse.progress import say

ROWS: tuple[tuple[str, str, str | None], ...] = (
    ("float32", "fp32", None),
    ("float16 weights", "fp16", None),
    ("rows", "int8", "rows"),
    ("rows, 4-bit table", "int4", "rows"),
    ("dynamic", "int8-dynamic", None),
    ("static", "int8-static", None),
    ("blocks-128", "int8", "blocks-128"),
    ("blocks-32", "int8", "blocks-32"),
    ("blocks-32 of 4 bits", "int8", "blocks4-32"),
)
GATES = ("worst_cosine", "language_cosine", "neighbours", "language_neighbours", "invariance")
BATCHES, TOKENS, SECONDS = (1, 32), 20, 1.0
HEAD = (
    "| recipe | batch 1, ms | batch 32, ms | against PyTorch | MB | mean / worst cosine, English "
    "| worst, other languages | invariance |\n|---|---|---|---|---|---|---|---|"
)


def make(model: str, work: Path) -> None:
    """Every file in a folder of its own, and `figures.json` beside it; what is there already stays."""
    from compact_labse.formats.gates.parity import limits_of
    from compact_labse.formats.onnx.graph import graph_of
    from compact_labse.formats.onnx.write import Job, write
    from compact_labse.torch_encoder import TorchEncoder

    source = load(model, device="cpu")
    if not isinstance(source, TorchEncoder):
        raise UserError(f"{model} is an export itself: name the model that it was made from")
    work.mkdir(parents=True, exist_ok=True)
    calibration, test = sample.parallel("calibration"), sample.parallel("test")
    job = Job(source=source, graph=graph_of(source, work), calibration=calibration, test=test)
    for name, kind, recipe in ROWS:
        folder = work / name
        if (folder / "figures.json").is_file():
            continue
        folder.mkdir(exist_ok=True)
        source.tokens.tokenizer.save(str(folder / "tokenizer.json"))
        entry, _ = write(job, folder, kind, limits_of(kind, dict.fromkeys(GATES, -1.0)), recipe)
        (folder / "figures.json").write_text(json.dumps(figures(folder, entry)) + "\n", encoding="utf-8")


def figures(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows of an artifact's entry: bytes, and cosines of English, of other languages, of batches."""
    found = entry["languages"]
    others = [facts["worst_cosine"] for language, facts in found.items() if language not in ("en", "hard")]
    return {
        "bytes": sum(file.stat().st_size for file in folder.glob("model*.onnx*")),
        "english_mean": found["en"]["mean_cosine"],
        "english_worst": found["en"]["worst_cosine"],
        "others_worst": min(others),
        "invariance": entry["figures"]["invariance"]["value"],
    }


def timed(model: str, work: Path, rounds: int) -> dict[str, dict[int, float]]:
    """The best p50 in milliseconds of PyTorch ("torch") and of every file, by batch size; all in turns."""
    from compact_labse.measure.speed.latency import Cell
    from compact_labse.measure.speed.processes import run_cell, texts_file

    specs = {"torch": model, **{name: str(next((work / name).glob("model*.onnx"))) for name, _, _ in ROWS}}
    best: dict[str, dict[int, float]] = {name: {} for name in specs}
    with texts_file(sample.sentences("en", "test")) as texts:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for batch in BATCHES:
                cell = Cell(mode="fixed", batch=batch, tokens=TOKENS, seconds=SECONDS)
                for name, spec in specs.items():
                    median = run_cell(spec, cell, texts)["model_ms"]["p50"]
                    best[name][batch] = min(median, best[name].get(batch, median))
    return best


def table(found: Mapping[str, Mapping[str, Any]], times: Mapping[str, Mapping[int, float]]) -> list[str]:
    """The table's lines; without times, dashes."""
    lines = [HEAD]
    for name, _, _ in ROWS:
        facts, ms = found[name], times.get(name)
        cells = [name, *(f"{ms[batch]:.2f}" if ms else "-" for batch in BATCHES)]
        ratios = [times["torch"][batch] / ms[batch] for batch in BATCHES] if ms else []
        cells.append(" / ".join(f"{ratio:.1f}x" for ratio in ratios) or "-")
        cells.append(f"{facts['bytes'] / 1e6:.1f}")
        cells.append(f"{cut(facts['english_mean'])} / {cut(facts['english_worst'])}")
        lines.append(f"| {' | '.join([*cells, cut(facts['others_worst']), cut(facts['invariance'])])} |")
    if times:
        exact = [f"{times['torch'][batch]:.1f} ms" for batch in BATCHES]
        lines += ["", f"PyTorch in float32: {' and '.join(exact)}."]
    return lines


def cut(cosine: float) -> str:
    """A cosine cut, not rounded, to four places, so that none looks better than it is; from .99995 on it is 1."""
    return "1" if cosine >= 0.99995 else f"{int(cosine * 1e4) / 1e4:.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the files, or read them, time them and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help='a transformer: its folder, or "minilm"')
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--make", action="store_true", help="make what is missing, and show it without times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    args = parser.parse_args(argv)
    if args.make:
        make(args.model, args.work)
    missing = [name for name, _, _ in ROWS if not (args.work / name / "figures.json").is_file()]
    if missing:
        raise UserError(f"{args.work} lacks {', '.join(missing)}: make them first, with --make")
    found = {name: json.loads((args.work / name / "figures.json").read_text("utf-8")) for name, _, _ in ROWS}
    times = {} if args.make else timed(args.model, args.work, args.rounds)
    lines = table(found, times)
    print("\n".join(lines))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        content = {"model": args.model, "rounds": args.rounds, "figures": found, "ms": times}
        args.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    main()
