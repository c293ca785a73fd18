"""Half of an encoder's operations, removed and healed: what is left of STS-B, and how much faster it is.

    python bench/half_flops.py --train ../shared/data/train --work DIR --make --minutes 40   # models and files
    python bench/half_flops.py --sts ../shared/data/eval/sts --work DIR --out bench/results/compression/half_flops

Of the shapes of all-MiniLM-L6-v2 that need at most half of the multiplications in its layers, the one whose vectors
moved least is taken. Text is the English side of training pairs; no pair's translation or score is used.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

MODEL = "minilm"
WIDTH, COLUMNS, LAYERS = 384, 1536, 6
SHAPES: Mapping[str, dict[str, Any]] = {
    "3 layers": {"layers": 3},
    "4 layers, 960 columns": {"layers": 4, "ffn": 960},
    "5 layers, 512 columns": {"layers": 5, "ffn": 512},
}
# Sources and how many of their sentences: captions and forums, news, everyday.
SOURCES = {"stsb_mt_train": 10_000, "wmt_newstest": 20_000, "tatoeba_manythings": 10_000}
SHORTEST, LONGEST = 8, 220  # characters
RATES = {"lr": 4e-4, "table_lr": 2e-4}


def multiplications(layers: int = LAYERS, ffn: int = COLUMNS) -> int:
    """Of the layers' matrices, for one token."""
    return layers * (4 * WIDTH * WIDTH + 2 * WIDTH * ffn)


def english(train: Path, work: Path) -> list[str]:
    """Files of the English sides of the sources, a sentence a line; made once."""
    files = []
    for name, most in SOURCES.items():
        file = work / f"{name}.txt"
        if not file.is_file():
            found = {
                line.split("\t")[0].strip() for path in (train / name).glob("en-*.tsv.gz") for line in _lines(path)
            }
            texts = sorted(text for text in found if SHORTEST <= len(text) <= LONGEST)
            random.Random(0).shuffle(texts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(texts[:most]) + "\n", encoding="utf-8")
        files.append(str(file))
    return files


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()


def make(work: Path, texts: list[str], minutes: float, shape: str | None = None) -> None:
    """Prune to every shape, heal the best (or `shape`) for so long, export it; what is there already stays."""
    from compact_labse.compress.structure import Prune, prune
    from compact_labse.locate import locate

    chain = load_pipeline("bench", "textbook_chain")
    folders = {title: work / title.replace(", ", "-").replace(" ", "-") for title in SHAPES if shape in (None, title)}
    for title, folder in folders.items():
        if not folder.is_dir():
            prune(Prune(model=MODEL, data=tuple(texts), out=folder, **SHAPES[title]))
    best = min(folders, key=lambda title: damage(folders[title]))
    say(f"{best}: vectors move by {damage(folders[best]):.4f}")
    (work / "shape.json").write_text(json.dumps({"shape": best, "damage": damage(folders[best])}))
    if not (work / "healed").is_dir():
        chain.heal(folders[best], texts, work / "healed", minutes, **RATES)
    for name, folder in {"original": locate(MODEL), "pruned": folders[best], "healed": work / "healed"}.items():
        chain.export(folder, work / "exported" / name)


def damage(folder: Path) -> float:
    """What pruning did to the vectors, as its lineage says."""
    return float(json.loads((folder / "lineage.json").read_text())["config"]["result"]["damage"])


def measure(work: Path, sts: Path, rounds: int) -> dict[str, Any]:
    """The rows of the textbook chain for the original, the pruned and the healed model, and what they come to."""
    chain, kept = load_pipeline("bench", "textbook_chain"), json.loads((work / "shape.json").read_text())
    titles = {"original": "6 layers, 1536 columns", "pruned": kept["shape"], "healed": f"{kept['shape']}, healed"}
    wanted = [(f"{title}, {kind}", name, kind) for name, title in titles.items() for kind in chain.FILES]
    rows = chain.measure(work, sts, rounds, wanted)
    return {
        "multiplications": multiplications(**SHAPES[kept["shape"]]) / multiplications(),
        "damage": kept["damage"],
        **summary(rows, len(chain.FILES)),
        "rows": rows,
    }


def summary(rows: Sequence[dict[str, Any]], kinds: int) -> dict[str, list[float]]:
    """Of each of the last `kinds` rows: Spearman lost against the first row, in percent of it; times as fast as the
    row of its kind among the first."""
    before, after = rows[:kinds], rows[-kinds:]
    return {
        "loss_percent": [round(100 * (1 - row["spearman"] / rows[0]["spearman"]), 2) for row in after],
        "speedup": [round(old["p50_ms"] / new["p50_ms"], 2) for old, new in zip(before, after, strict=True)],
    }


def main() -> None:
    """Make or measure."""
    pages = load_pipeline("bench", "pages")
    parser = pages.options(__doc__, "1 GB")
    parser.add_argument("--train", type=Path, help="folder of training sources, each with en-xx.tsv.gz")
    parser.add_argument("--minutes", type=float, default=40.0, help="of healing")
    parser.add_argument("--shape", choices=SHAPES, help="take this one (default: the one that moves vectors least)")
    args = pages.parsed(parser, "train")
    if args.make:
        make(args.work, english(args.train, args.work), args.minutes, args.shape)
        return
    found = measure(args.work, args.sts, args.rounds)
    print({name: found[name] for name in ("multiplications", "loss_percent", "speedup")})
    pages.write(args.out, found, load_pipeline("bench", "textbook_chain").page(found["rows"]))


if __name__ == "__main__":
    main()
