"""Training for few bits: all-MiniLM-L6-v2 in 4 bits, layers and table, as it is and after a last phase in 4 bits.

    python bench/few_bits.py --train ../shared/data/train --work DIR --make --minutes 20   # models and files
    python bench/few_bits.py --sts ../shared/data/eval/sts --work DIR --out bench/results/compression/few_bits

What we want of 4 bits: at most 15 % of the bytes of float32, at least 98.5 % of its mean Spearman over the languages of
the STS folder, and 95 % in each; and an export whose gates pass in all languages of the embedded sample. Text to train
on is that of `bench/half_flops.py`: the English side of training pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
BYTES, QUALITY, WORST = 15.0, 98.5, 95.0  # percent
GATES = "gates.json"


def make(work: Path, texts: list[str], minutes: float) -> None:
    """The trained model and the files of both; what is there already stays."""
    from compact_labse.locate import locate

    chain = load_pipeline("bench", "textbook_chain")
    source, trained = locate(chain.MODEL), work / "trained"
    if not trained.is_dir():
        chain.heal(source, texts, trained, minutes, **RATES, bits=BITS)
    for name, folder in {"original": source, "trained": trained}.items():
        chain.export(folder, work / "exported" / name, [kind for _, one, kind in ROWS if one == name])
    complaints = {"original": gated(source, work / "gated"), "trained": gated(trained, work / "gated")}
    (work / GATES).write_text(json.dumps(complaints, indent=1), encoding="utf-8")


def gated(folder: Path, out: Path) -> str:
    """What the gates of an export in 4 bits say against a model, in all languages of the sample; "" if it passes."""
    from compact_labse.errors import GateError

    export = load_pipeline("export", "onnx_export")
    settings = {"formats": ("int4",), "recipe": "blocks4-32", "overwrite": True}
    try:
        export.run(export.OnnxExport(model=str(folder), out=out / folder.name, **settings))
    except GateError as error:
        return str(error)
    return ""


def by_language(work: Path, sts: Path) -> dict[str, dict[str, float]]:
    """Spearman x 100 of every row in every language of the folder."""
    from compact_labse.formats.contract import FILES
    from compact_labse.measure.quality.datasets import sts as read_sts

    pages, pairs = load_pipeline("bench", "pages"), read_sts(sts)
    return {
        title: {code: pages.spearman_of(work / "exported" / name / "onnx" / FILES[kind], pairs[code]) for code in pairs}
        for title, name, kind in ROWS
    }


def kept(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Percent of the first row's Spearman by language, with the mean of all."""
    first = next(iter(found.values()))
    shares = {}
    for title, values in found.items():
        mean = sum(values.values()) / sum(first.values())
        shares[title] = {code: round(100 * value / first[code], 2) for code, value in values.items()}
        shares[title]["mean"] = round(100 * mean, 2)
    return shares


def language_page(found: Mapping[str, Mapping[str, float]]) -> str:
    """Spearman of the first row, and percent of it for the others, as Markdown."""
    first, *others = found
    shares = kept(found)
    lines = [f"| language | {first} | " + " | ".join(f"{title}, % of it" for title in others) + " |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for code, value in found[first].items():
        lines.append(f"| {code} | {value:.2f} | " + " | ".join(f"{shares[title][code]:.1f}" for title in others) + " |")
    mean = sum(found[first].values()) / len(found[first])
    lines.append(f"| mean | {mean:.2f} | " + " | ".join(f"{shares[title]['mean']:.1f}" for title in others) + " |")
    return "\n".join(lines) + "\n"


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
    found, languages = shares(rows), by_language(args.work, args.sts)
    gates = json.loads((args.work / GATES).read_text(encoding="utf-8"))
    print(*found, gates, sep="\n")
    content = {"percent": found, "languages": languages, "kept": kept(languages), "gates": gates, "rows": rows}
    pages.write(args.out, content, f"{chain.page(rows)}\n{language_page(languages)}")
    last = kept(languages)[ROWS[-1][0]]
    if found[-1]["bytes"] > BYTES or last["mean"] < QUALITY or min(last.values()) < WORST or gates["trained"]:
        raise SystemExit(f"not within {BYTES} % of the bytes, {QUALITY} % of the quality, {WORST} % of each language")


if __name__ == "__main__":
    main()
