"""How far exports are from their source on real text of many languages.

    python bench/parity.py MODEL EXPORT --data eval/tatoeba [--sentences 25] [--languages 40] [--out results.jsonl]

Every artifact that `load` opens in the folder EXPORT is compared with MODEL in PyTorch: the least cosine of any text,
and the share of sentences whose nearest other sentence stays the same.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from compact_labse import load
from compact_labse.folder import model_hash

TIE = 1e-6  # a neighbour that the source finds less near by under this much is no other neighbour
SAVED = ("saved_model/encoder", "saved_model/serving")


def sentences(folder: Path, languages: int, each: int) -> list[str]:
    """The first sentences of the first files `eng-xxx.tsv.gz` by name, English left out."""
    found: list[str] = []
    for path in sorted(folder.glob("eng-*.tsv.gz"))[:languages]:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [line.split("\t")[0] for line, _ in zip(lines, range(each), strict=False)]
    return found


def agreement(source_ND: np.ndarray, export_ND: np.ndarray) -> dict[str, float]:
    """Least and mean cosine between rows, and the share of rows with the same nearest other row."""
    cosines_N = (source_ND * export_ND).sum(1)
    ours_NN, theirs_NN = source_ND @ source_ND.T, export_ND @ export_ND.T
    np.fill_diagonal(ours_NN, -2)
    np.fill_diagonal(theirs_NN, -2)
    lost_N = ours_NN.max(1) - ours_NN[np.arange(len(ours_NN)), theirs_NN.argmax(1)]
    return {
        "worst_cosine": float(cosines_N.min()),
        "mean_cosine": float(cosines_N.mean()),
        "same_neighbour": float((lost_N <= TIE).mean()),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each artifact, and append them to a file of results."""
    parser = argparse.ArgumentParser(description="compare exports with their source on real text")
    parser.add_argument("model")
    parser.add_argument("export", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of eng-xxx.tsv.gz")
    parser.add_argument("--sentences", type=int, default=25, help="of each language")
    parser.add_argument("--languages", type=int, default=40)
    parser.add_argument("--name", help="what to call the model in the results")
    parser.add_argument("--out", type=Path, help="append the results to this JSONL file")
    args = parser.parse_args(argv)
    texts = sentences(args.data, args.languages, args.sentences)
    source = load(args.model, device="cpu")
    assert source.source is not None
    facts = {
        "model": args.name or args.model,
        "source": model_hash(source.source),
        "texts": len(texts),
        "languages": args.languages,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    expected_ND = source.encode(texts)
    artifacts = sorted([*args.export.glob("onnx/*.onnx"), *args.export.glob("tflite/*.tflite")])
    artifacts += [args.export / name for name in SAVED if (args.export / name).is_dir()]
    for path in artifacts:
        encoder = load(path)
        ids_equal = source.tokenize(texts) == encoder.tokenize(texts)
        row = facts | {"artifact": str(path.relative_to(args.export)), "ids_equal": ids_equal}
        row |= agreement(expected_ND, encoder.encode(texts))
        print(f"{row['artifact']:32} worst {row['worst_cosine']:.6f}  same neighbour {row['same_neighbour']:.4f}")
        if args.out:
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
