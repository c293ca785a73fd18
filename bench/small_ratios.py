"""LEALLA's ratios on a static model of our own: how much of its accuracy 14.6, 22.7 and 31 % of its size keep.

    python bench/small_ratios.py TEACHER --data SOURCE... --eval EVAL --minutes 8 --out DIR [--results NAME]

For each ratio the table gets as narrow as it says, by the directions of sentence vectors in which translations agree
most beside how they differ, and `distill` trains the copy for so long: to rank translations, and to find sentences as
similar as the teacher does. Pairs with a sentence of EVAL are left out of both. Every copy and the teacher are exported
in float32, 8 and 4 bits; wider copies, trained in 3 bits, take the bytes of the former in 8. Accuracy is the mean over
languages in percent. `--minutes 0` does without training. Shapes: N pairs, E teacher dimension, W width.

The ratios are those of Mao and Nakagawa 2023 (arXiv 2302.08387), against LaBSE.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.compress.shared_directions import shared_directions, spread, write_narrow
from compact_labse.pipelines import load_pipeline, pipeline_folder
from compact_labse.progress import say
from compact_labse.writing import writing_file

BATCHES, BATCH, SEED = 60, 2048, 0
STAGES = ("pairs", "vocabulary", "tokens")
KINDS = ("fp32", "int8", "int4")
SETS = {"tatoeba": "Tatoeba-29", "pud": "PUD-17"}
SIDES = ("to English", "from English")
Scores = Mapping[str, tuple[float, float]]  # accuracy to English and from it, by set


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """At most `size` percent of the teacher's width, at least `keep` of its accuracy; trained in `bits`, if any."""

    size: float
    keep: float
    kinds: tuple[str, ...] = KINDS
    bits: int | None = None

    @property
    def name(self) -> str:
        """Of its folders."""
        return f"{self.size:.1f}".replace(".", "_")


RATIOS = (Ratio(size=14.6, keep=96.4), Ratio(size=22.7, keep=98.4), Ratio(size=31.0, keep=99.8))
COPIES = (*RATIOS, *(replace(ratio, size=ratio.size * 8 / 3, kinds=("int3",), bits=3) for ratio in RATIOS))


def recipe(args: argparse.Namespace, ratio: Ratio, width: int) -> Any:
    """How a copy is trained: `distill/shipped.yaml` from the narrowed teacher, at a trained one's rates."""
    from compact_labse.commands.distill import WORDS
    from compact_labse.configuration import read_config

    settings = {
        "teacher": args.teacher,
        "out": args.out / f"healed-{ratio.name}",
        "targets": args.out / "targets",
        "student.start": args.out / f"narrow-{ratio.name}",
        "student.dim": width,
        "student.bits": ratio.bits or "null",
        "corpus.temperature": 4.0,
        "student.dropout": 0.1,
        "objectives.similarity": 1.0,
        "objectives.max_targets": 131_072,
        "objectives.teacher_bf16": "false",
        "objectives.scale": 25.0,
        "objectives.margin": 0.15,
        "loop.steps": "null",
        "loop.max_minutes": args.minutes or 1.0,  # with 0 nothing is trained
        "loop.eval_every": 0,
        "loop.optimizer.table_lr": 0.0025,
        "loop.optimizer.warmup": 0.05,
    }
    words = ["--config", str(pipeline_folder("distill") / "shipped.yaml"), "--data", *map(str, args.data)]
    words += ["--corpus.avoid", *(str(args.eval / name) for name in ("tatoeba", "pud", "sts"))]
    words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return read_config(words, load_pipeline("distill", "student").DistillConfig, WORDS)


def directions(encoder: Any, cfg: Any, known: Path) -> np.ndarray:
    """The map `[E, E]` to directions shared by translations, best first; kept in the file `known`.

    From the teacher's vectors of both sides of some training pairs, drawn as training draws them.
    """
    if known.is_file():
        return np.asarray(np.load(known))
    from compact_labse import prepare
    from compact_labse.corpus.files import PAIR_KINDS, find_sources
    from compact_labse.training.distillation import corpus_sampler

    sources = find_sources(cfg.data, None, PAIR_KINDS)
    pairs, _ = prepare.prepare_pairs(sources, [], cfg.corpus, cfg.work_folder / "pairs")
    batch = min(BATCH, len(pairs.train_rows))
    sampler = corpus_sampler(pairs, [source.name for source in sources], cfg.corpus, batch, SEED)
    rows = np.unique(np.concatenate([sampler.rows(step) for step in range(BATCHES)]))
    x_NE, y_NE = (encoder.encode(texts.texts(rows)) for texts in (pairs.source, pairs.target))
    with writing_file(known) as temporary, open(temporary, "wb") as file:
        np.save(file, shared_directions(x_NE, y_NE, encoder.dim))
    return directions(encoder, cfg, known)


def scores(model: Path, data: Mapping[str, Any], folder: Path) -> Scores:
    """Accuracy by set; what an earlier run measured of the same weights is taken from the folder."""
    found: Scores = load_pipeline("bench", "retrieval").scores(model, data, folder / "scores.json")
    return found


def files(
    model: Path, folder: Path, data: Mapping[str, Any], float32: Scores, kinds: tuple[str, ...] = KINDS
) -> dict[str, Any]:
    """Bytes and scores of a model's exports through the gates; those of float32 are the folder's own scores."""
    from compact_labse.errors import GateError
    from compact_labse.formats.contract import FILES

    export, found = load_pipeline("export", "onnx_export"), dict[str, Any]()
    out = folder / f"exported-{model.name}"
    for kind in kinds:
        file = out / kind / "onnx" / FILES[kind]
        if not file.is_file():
            try:
                export.run(export.OnnxExport(model=str(model), out=out / kind, formats=(kind,)))
            except GateError as error:
                say(f"{kind}: {error}")
                continue
        kept_by = float32 if kind == "fp32" else scores(file, data, folder)
        found[kind] = {"bytes": file.stat().st_size, "scores": kept_by}
    return found


def width_of(dim: int, ratio: Ratio) -> int:
    """Values of a copy's vectors: two of 4 bits make a byte, eight of 3 bits three."""
    whole = 8 if ratio.bits else 2
    return int(dim * ratio.size / 100 / whole) * whole


def copy_of(args: argparse.Namespace, ratio: Ratio, teacher: Any, data: Any, shared: list[Path]) -> dict[str, Any]:
    """Make, train and measure the copy of one ratio; what an earlier run made is reused."""
    width = width_of(teacher.dim, ratio)
    cfg = recipe(args, ratio, width)
    narrow, healed = Path(cfg.student.start), Path(cfg.out)
    for stage in STAGES:
        if shared and (shared[0] / stage).exists() and not (cfg.work_folder / stage).exists():
            shutil.copytree(shared[0] / stage, cfg.work_folder / stage, copy_function=os.link)
    if not narrow.is_dir():
        chosen_EW = directions(teacher, cfg, args.out / "directions.npy")[:, :width]
        write_narrow(args.teacher, spread(chosen_EW) if ratio.bits else chosen_EW, narrow)
    before = scores(narrow, data, args.out)
    say(f"{ratio.size:.1f} %: {width} wide, before training {before}")
    if args.minutes and not healed.is_dir():
        load_pipeline("distill", "student").run(cfg)
    shared.append(cfg.work_folder)
    after = scores(model := healed if args.minutes else narrow, data, args.out)
    say(f"{ratio.size:.1f} %: {after}")
    return {
        "size_percent": round(100 * width / teacher.dim, 2),
        "wanted": {"size": ratio.size, "keep": ratio.keep},
        "width": width,
        "parameters": width * teacher.tokens.vocab_size,
        "before": before,
        "after": after,
        "files": files(model, args.out, data, after, ratio.kinds),
    }


def kept(found: Scores, whole: Scores) -> dict[str, tuple[float, ...]]:
    """Percent of the teacher's scores."""
    return {name: tuple(round(100 * a / b, 1) for a, b in zip(found[name], whole[name], strict=True)) for name in whole}


def page(found: Mapping[str, Any]) -> str:
    """The figures as Markdown: scores of each copy, then bytes and what files in fewer bits keep."""
    whole = found["teacher"]
    columns = ["parameters", "width", *(f"{title}, {side}" for title in SETS.values() for side in SIDES), "kept"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for title, row, stage in _rows(found):
        share = kept(row[stage], whole["after"])
        cells = [f"{value:.1f}" for name in SETS for value in row[stage][name]]
        least = min(min(values) for values in share.values())
        lines.append(f"| {title} | {row['width']} | {' | '.join(cells)} | {least:.1f} % |")
    first = whole["files"]["fp32"]["bytes"]
    lines += ["", "| copy | file | MB | of the teacher's | kept |", "|---|---|---|---|---|"]
    for row in (whole, *found["copies"]):
        for kind, file in row["files"].items():
            least = min(min(values) for values in kept(file["scores"], whole["after"]).values())
            sizes = f"{file['bytes'] / 1e6:.1f} | {100 * file['bytes'] / first:.1f} %"
            lines.append(f"| {row['width']} wide | {kind} | {sizes} | {least:.1f} % |")
    return "\n".join(lines) + "\n"


def _rows(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    rows = [("100 %, the teacher", found["teacher"], "after")]
    for row in found["copies"]:
        rows.append((f"{row['size_percent']:.1f} %", row, "before"))
        if row["after"] != row["before"]:
            rows.append((f"{row['size_percent']:.1f} %, trained", row, "after"))
    return rows


def main() -> None:
    """Make, train and measure the teacher's copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path, help="the folder of a static model")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="sentence pairs to train on")
    parser.add_argument("--eval", type=Path, required=True, help="folder with tatoeba/, pud/ and sts/")
    parser.add_argument("--minutes", type=float, required=True, help="of training of each copy")
    parser.add_argument("--out", type=Path, required=True, help="folder for models and files: 4 GB")
    parser.add_argument("--results", type=Path, help="write RESULTS.json and RESULTS.md")
    args = parser.parse_args()
    from compact_labse.encoder import load

    teacher, data = load(str(args.teacher)), load_pipeline("bench", "retrieval").evaluation(args.eval)
    count = teacher.dim * teacher.tokens.vocab_size
    whole = scores(args.teacher, data, args.out)
    exported = {"files": files(args.teacher, args.out, data, whole)}
    shared: list[Path] = []
    found = {
        "minutes": args.minutes,
        "teacher": {"width": teacher.dim, "parameters": count, "after": whole, **exported},
        "copies": [copy_of(args, ratio, teacher, data, shared) for ratio in COPIES],
    }
    load_pipeline("bench", "pages").write(args.results, found, page(found))


if __name__ == "__main__":
    main()
