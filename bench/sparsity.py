"""What zeros are worth: half of all linear weights of all-MiniLM-L6-v2 set to zero, in files and in two runtimes.

    python bench/sparsity.py --texts FILE... --work DIR --make            # models and files: half an hour
    python bench/sparsity.py --sts DIR --work DIR --out bench/results/compression/sparsity   # on a quiet machine

Rows: zeros by magnitude, two of each four by magnitude, and magnitude, movement and two of four while the model learns
the original's vectors for some steps. Files: ONNX and TFLite, each in float32 and int8, and the sparse encoding that
TensorFlow's converter has for TFLite. Columns: bytes, after deflate and after zstd, bytes of a bit mask with the values
that are left (what a storage of our own would take, tables as they are), p50 of one sentence of 20 tokens, Spearman.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.errors import require
from compact_labse.folder import writing_folder
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

MODEL, SHARE, BATCH = "minilm", 0.5, 32
MODELS: Mapping[str, tuple[str, bool]] = {  # kind of zeros, and whether the model trains meanwhile
    "magnitude": ("magnitude", False),
    "2:4": ("2:4", False),
    "magnitude, trained": ("magnitude", True),
    "movement, trained": ("movement", True),
    "2:4, trained": ("2:4", True),
}
ORIGINAL = "no zeros"
FILES = {
    "ONNX fp32": "onnx/model.onnx",
    "ONNX int8": "onnx/model_int8.onnx",
    "TFLite fp32": "tflite/model.tflite",
    "TFLite int8": "tflite/model_int8.tflite",
    "TFLite fp32, sparse": "tflite/model_sparse.tflite",
}


class Learning:
    """The training loop's task: texts get the original's vectors, while weights become zero."""

    def __init__(self, folder: Path, texts: Sequence[str], kind: str, steps: int) -> None:
        import torch

        from compact_labse.compress.sparsity import Sparsity
        from compact_labse.sentence_model import read_modules
        from compact_labse.torch_encoder import TorchEncoder

        self.original, self.texts = TorchEncoder.open(folder, device="cpu", threads=1), texts
        model: Any = read_modules(folder)[0]
        self.module: Any = torch.nn.ModuleDict({"model": model})
        self.transformer: Any = model.body.transformer
        self.module["zeros"] = Sparsity(self.transformer, kind, SHARE, steps)
        table = self.transformer.get_input_embeddings().weight
        self.tables = tuple(name for name, one in self.module.named_parameters() if one is table)

    def batch(self, number: int) -> tuple[Any, ...]:
        """Ids, mask, and the original's vectors."""
        import torch

        from compact_labse.tokens import pad

        places = np.random.default_rng([0, number]).choice(len(self.texts), BATCH, replace=False)
        texts = [self.texts[place] for place in places]
        tokens = self.original.tokens
        ids_BT, mask_BT = pad(tokens.ids(texts), tokens.pad_id)
        return tuple(map(torch.from_numpy, (ids_BT, mask_BT, self.original.encode(texts))))

    def losses(self, batch: Any) -> tuple[Any, dict[str, Any]]:
        """One minus the cosine."""
        ids_BT, mask_BT, wanted_BD = batch
        loss = 1 - (self.module["model"].eval()(ids_BT, mask_BT)[1] * wanted_BD).sum(1).mean()
        return loss, {"distance": loss}

    def sizes(self, batch: Any) -> dict[str, int]:
        return {"texts": len(batch[0])}

    def evaluate(self) -> dict[str, float]:
        return {}


def make(work: Path, texts: Sequence[str], steps: int) -> None:
    """Every model and its files; what is there already stays."""
    from compact_labse.locate import locate

    chain, source = load_pipeline("bench", "textbook_chain"), locate(MODEL)
    for title, (kind, trained) in MODELS.items():
        if not (work / slug(title)).is_dir():
            say(title)
            write_zeros(source, work / slug(title), texts, kind, steps if trained else 0)
    for title in (ORIGINAL, *MODELS):
        folder, out = source if title == ORIGINAL else work / slug(title), work / "exported" / slug(title)
        chain.export(folder, out)
        export_tflite(folder, out)


def slug(title: str) -> str:
    """A title as the name of a folder."""
    return title.replace(", ", "-").replace(":", "of").replace(" ", "-")


def write_zeros(source: Path, out: Path, texts: Sequence[str], kind: str, steps: int) -> None:
    """A copy of a model folder with zeros in its linear layers: at once, or in so many steps of training."""
    from compact_labse.compress.calibration import some_texts
    from compact_labse.compress.sparsity import at_once
    from compact_labse.students.retrained import save_like
    from compact_labse.training.loop import LoopConfig, train
    from compact_labse.training.schedule import OptimizerConfig

    task = Learning(source, some_texts(texts, 20_000) if steps else [], kind, max(1, steps))
    if steps:
        rates = OptimizerConfig(lr=2e-4, table_lr=1e-4)
        loop = LoopConfig(steps=steps, bf16=False, device="cpu", eval_every=0, tensorboard=False, optimizer=rates)
        train(task, loop, out.with_suffix(".work"), key=kind)
        task.module["zeros"].finish()
    else:
        at_once(task.transformer, kind, SHARE)
    with writing_folder(out) as folder:
        save_like(task.module["model"].state_dict(), source, folder)


def export_tflite(folder: Path, out: Path) -> None:
    """The TFLite files of a model, the sparse one included; not gated: speed and bytes are what is asked."""
    from compact_labse.formats.contract import Facts
    from compact_labse.formats.tflite import file as tflite_file
    from compact_labse.formats.tflite import write as tflite_write
    from compact_labse.formats.tflite.graph import convert_dynamic
    from compact_labse.torch_encoder import TorchEncoder

    (out / "tflite").mkdir(parents=True, exist_ok=True)
    source = TorchEncoder.open(folder, device="cpu", threads=1)
    job = tflite_write.Job(source=source, converter="tensorflow", test={})
    for title, name in FILES.items():
        if not name.startswith("tflite") or (out / name).is_file():
            continue
        kind = "int8" if "int8" in title else "fp32"
        facts: Facts = tflite_write.facts_of(job, kind)
        content = convert_dynamic(source, kind, sparse="sparse" in title)
        (out / name).write_bytes(tflite_file.with_metadata(content, tflite_file.facts_entry(facts)))


def measure(work: Path, sts: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each model and file; latencies in processes of their own, in rounds that visit all of them in turn."""
    from compact_labse.measure.speed.latency import Cell
    from compact_labse.measure.speed.processes import CellFailed, run_cell, texts_file

    pairs, cell = load_pipeline("bench", "pages").english_sts(sts), Cell(mode="fixed", batch=1, tokens=20, seconds=1.0)
    places = [(title, file) for title in (ORIGINAL, *MODELS) for file in FILES]
    times: dict[tuple[str, str], list[float]] = {place: [] for place in places}
    with texts_file(pairs[0]) as texts:
        for _ in range(rounds):
            for title, file in places:
                try:
                    found = run_cell(str(work / "exported" / slug(title) / FILES[file]), cell, texts)
                    times[title, file].append(found["model_ms"]["p50"])
                except CellFailed as error:
                    say(f"{title}, {file}: {error}")
    return [
        row(title, file, work / "exported" / slug(title) / FILES[file], times[title, file], pairs)
        for title, file in places
    ]


def row(title: str, file: str, path: Path, times: Sequence[float], pairs: Any) -> dict[str, Any]:
    """The figures of one file. Spearman of ONNX files; those of TFLite hold the same weights."""
    found: dict[str, Any] = {"zeros": title, "file": file, "bytes": path.stat().st_size, **packed(path.read_bytes())}
    found["p50_ms"] = round(statistics.median(times), 3) if times else None
    if path.suffix == ".onnx":
        found["spearman"] = load_pipeline("bench", "pages").spearman_of(path, pairs)
        found["masked_bytes"] = masked(path)
    return found


def packed(content: bytes) -> dict[str, int]:
    """Bytes after deflate as zip does it, and after zstd at its level 10."""
    import zlib

    zstd = require("zstandard", "train").ZstdCompressor(level=10)
    return {"deflated_bytes": len(zlib.compress(content, 6)), "zstd_bytes": len(zstd.compress(content))}


def masked(path: Path) -> int:
    """Bytes if each matrix of a file that is at least a third zeros were a bit mask and the values that are left."""
    import onnx
    from onnx import numpy_helper

    saved = 0
    for tensor in onnx.load(str(path)).graph.initializer:
        array = numpy_helper.to_array(tensor)
        middle = 128 if array.dtype == np.uint8 else 0  # codes around 128 stand for zero
        zeros = int((array == middle).sum())
        if array.ndim > 1 and 3 * zeros >= array.size:
            saved += zeros * array.itemsize - array.size // 8
    return path.stat().st_size - saved


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = ["| zeros | file | MB | zip | zstd | mask | ms | Spearman |", "|---|---|---|---|---|---|---|---|"]
    for one in rows:
        sizes = (one.get(f"{name}bytes") for name in ("", "deflated_", "zstd_", "masked_"))
        shown = " | ".join("" if size is None else f"{size / 1e6:.1f}" for size in sizes)
        time = "fails" if one["p50_ms"] is None else f"{one['p50_ms']:.2f}"
        lines.append(f"| {one['zeros']} | {one['file']} | {shown} | {time} | {one.get('spearman', '')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make or measure."""
    pages = load_pipeline("bench", "pages")
    parser = pages.options(__doc__, "3 GB")
    parser.add_argument("--texts", nargs="+", default=[], help="English text to learn on")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    args = pages.parsed(parser, "texts")
    if args.make:
        make(args.work, args.texts, args.steps)
        return
    rows = measure(args.work, args.sts, args.rounds)
    pages.write(args.out, {"rows": rows}, page(rows))


if __name__ == "__main__":
    main()
