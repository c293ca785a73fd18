"""The textbook chain on all-MiniLM-L6-v2 and STS-B dev, with the rows that it leaves out.

    python bench/textbook_chain.py --sts DIR --texts FILE... --work DIR --make   # models and files: minutes
    python bench/textbook_chain.py --sts DIR --work DIR --out bench/results/compression/textbook   # on a quiet machine

The chain sets the smallest 20 % of all weights to zero, then quantizes. Zeros take as many bytes as other numbers, so
the first step saves nothing on disk, whatever it costs. Beside it: the same share of weights really removed, by fewer
layers and columns or by fewer pieces, and mended by some minutes of distillation from the original.
Columns: bytes, bytes after deflate, p50 of one sentence of 20 tokens, peak memory, Spearman x 100.
"""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compact_labse.pipelines import load_pipeline

MODEL, SHARE = "minilm", 0.2
LAYERS, COLUMNS = 4, 1216  # of 6 and 1536: 20 % of the weights less
PIECES = 18_700  # of 30,522: likewise
CELL_S, BLOCK = 1.0, 1 << 20
ROWS = (
    ("fp32", "original", "fp32"),
    ("20 % set to zero", "zeroed", "fp32"),
    ("int8", "original", "int8"),
    ("20 % set to zero, int8", "zeroed", "int8"),
    ("20 % fewer weights: layers, columns", "pruned", "fp32"),
    ("20 % fewer weights: layers, columns; int8", "pruned", "int8"),
    ("the same, healed", "healed", "fp32"),
    ("the same, healed; int8", "healed", "int8"),
    ("20 % fewer weights: pieces", "trimmed", "fp32"),
    ("20 % fewer weights: pieces; int8", "trimmed", "int8"),
)
FILES = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
RECIPES = {"fp32": None, "int8": "rows", "int4": "blocks4-32"}


def make(work: Path, texts: Sequence[str], minutes: float) -> None:
    """Every model folder and its two files; what is there already stays."""
    from compact_labse.compress.structure import Prune, prune
    from compact_labse.compress.trim import Trim, trim
    from compact_labse.locate import locate

    folders = {name: work / name for name in ("zeroed", "pruned", "healed", "trimmed")}
    if not folders["zeroed"].is_dir():
        set_to_zero(locate(MODEL), folders["zeroed"], SHARE)
    if not folders["pruned"].is_dir():
        prune(Prune(model=MODEL, data=tuple(texts), out=folders["pruned"], layers=LAYERS, ffn=COLUMNS))
    if not folders["healed"].is_dir():
        heal(folders["pruned"], texts, folders["healed"], minutes)
    if not folders["trimmed"].is_dir():
        trim(Trim(model=MODEL, corpus=tuple(texts), max_tokens=PIECES, out=folders["trimmed"]))
    for name, folder in {"original": locate(MODEL), **folders}.items():
        export(folder, work / "exported" / name)


def set_to_zero(source: Path, out: Path, share: float) -> None:
    """A copy of a model folder in which the smallest `share` of every matrix, the table's included, is zero."""
    from compact_labse.folder import writing_folder
    from compact_labse.sentence_model import read_modules
    from compact_labse.students.retrained import save_like

    module, _ = read_modules(source)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    for value in weights.values():
        if value.ndim == 2:
            count = int(share * value.numel())
            value[value.abs() <= value.abs().flatten().kthvalue(count).values] = 0
    with writing_folder(out) as folder:
        save_like(weights, source, folder)


def heal(
    pruned: Path,
    texts: Sequence[str],
    out: Path,
    minutes: float,
    lr: float = 2e-4,
    table_lr: float = 1e-4,
    bits: int | None = None,
) -> None:
    """Distil the original's vectors of the texts into the pruned model for that long, as if it had `bits`."""
    gradual = load_pipeline("distill", "gradual")
    loop = replace(gradual.healing(minutes, lr, table_lr), device="cpu")
    gradual.heal(str(pruned), MODEL, texts, out, loop, bits=bits)


def export(folder: Path, out: Path, kinds: Sequence[str] = tuple(FILES)) -> None:
    """ONNX files of a model with its tokenizer; parity is measured on English, and said."""
    import shutil

    from compact_labse import sample
    from compact_labse.formats import contract
    from compact_labse.formats.gates.parity import LIMITS
    from compact_labse.formats.onnx.graph import graph_of
    from compact_labse.formats.onnx.write import Job, write
    from compact_labse.torch_encoder import TorchEncoder

    kinds = [kind for kind in kinds if not (out / "onnx" / contract.FILES[kind]).is_file()]
    if not kinds:
        return
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "tokenizer.json", out)
    source = TorchEncoder.open(folder, device="cpu", threads=1)
    calibration, test = ({"en": sample.sentences("en", part)} for part in ("calibration", "test"))
    job = Job(source=source, graph=graph_of(source), calibration=calibration, test=test)
    for kind in kinds:
        write(job, out / "onnx", kind, LIMITS[kind], RECIPES[kind])


def measure(work: Path, sts: Path, rounds: int, wanted: Sequence[tuple[str, str, str]] = ROWS) -> list[dict[str, Any]]:
    """Every row's figures; speed and memory in processes of their own, in rounds that visit all rows in turn."""
    from compact_labse.formats import contract
    from compact_labse.measure.speed.latency import Cell
    from compact_labse.measure.speed.processes import run_cell, texts_file

    pairs = load_pipeline("bench", "pages").english_sts(sts)
    paths = {title: work / "exported" / name / "onnx" / contract.FILES[kind] for title, name, kind in wanted}
    cell = Cell(mode="fixed", batch=1, tokens=20, seconds=CELL_S)
    spoken = {title: list[dict[str, Any]]() for title in paths}
    with texts_file(pairs[0]) as texts:
        for _ in range(rounds):
            for title, path in paths.items():
                spoken[title].append(run_cell(str(path), cell, texts))
    return [_row(title, path, spoken[title], pairs) for title, path in paths.items()]


def _row(title: str, path: Path, timed: Sequence[dict[str, Any]], pairs: Any) -> dict[str, Any]:
    return {
        "row": title,
        "bytes": path.stat().st_size,
        "deflated_bytes": deflated(path),
        "p50_ms": round(statistics.median(one["model_ms"]["p50"] for one in timed), 3),
        "peak_mb": round(statistics.median(one["memory"]["peak"] for one in timed) / 1e6, 1),
        "spearman": load_pipeline("bench", "pages").spearman_of(path, pairs),
        "rounds": len(timed),
    }


def deflated(path: Path) -> int:
    """Bytes of a file after deflate at the level that zip takes by default."""
    packer, size = zlib.compressobj(6), 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            size += len(packer.compress(block))
    return size + len(packer.flush())


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = ["| | MB | zipped | ms | peak MB | Spearman |", "|---|---|---|---|---|---|"]
    for row in rows:
        sizes = f"{row['bytes'] / 1e6:.1f} | {row['deflated_bytes'] / 1e6:.1f}"
        lines.append(f"| {row['row']} | {sizes} | {row['p50_ms']:.2f} | {row['peak_mb']:.0f} | {row['spearman']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make or measure."""
    pages = load_pipeline("bench", "pages")
    parser = pages.options(__doc__, "1 GB")
    parser.add_argument("--texts", nargs="+", default=[], help="English text to prune, trim and heal on")
    parser.add_argument("--minutes", type=float, default=4.0, help="of healing")
    args = pages.parsed(parser, "texts")
    if args.make:
        make(args.work, args.texts, args.minutes)
        return
    rows = measure(args.work, args.sts, args.rounds)
    pages.write(args.out, {"rows": rows}, page(rows))


if __name__ == "__main__":
    main()
