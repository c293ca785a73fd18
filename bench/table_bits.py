"""A bag's table in 8 to 2 bits, with a scale a row or one every so many values: bytes, Tatoeba accuracy, noise.

    python bench/table_bits.py MODEL --tatoeba DIR [--out FILE.md]

MODEL is the folder of a static student in float32. Accuracy is xx to English over XTREME's 36 languages, in percent:
that of float32, then the difference to it; the worst language is the one that loses most. Shapes: V rows, D dimension.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compact_labse.bodies import StaticBody
from compact_labse.formats.integers import table8, table_small, untable_small
from compact_labse.measure.quality.datasets import tatoeba
from compact_labse.measure.quality.languages import TATOEBA_SETS
from compact_labse.measure.quality.quality import nearest
from compact_labse.pipelines import load_pipeline
from compact_labse.torch_encoder import TorchEncoder

VARIANTS = ((8, 0), (4, 0), (4, 128), (4, 64), (4, 32), (3, 0), (3, 64), (2, 0), (2, 64))
HEAD = "| bits | a scale every | MB | accuracy | worst language | signal to noise, dB |\n|---|---|---|---|---|---|"


def rounded(table_VD: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, int]:
    """The table as it comes back from so many bits with a scale every `block` values (0: a row), and its bytes."""
    blocks = table_VD.reshape(-1, block or table_VD.shape[1])
    if bits == 8:
        codes, scales = table8(blocks)
        return (codes * scales).reshape(table_VD.shape), codes.nbytes + scales.nbytes
    planes, scales = table_small(blocks, bits)
    size = sum(plane.nbytes for plane in planes) + scales.nbytes
    return untable_small(planes, scales, bits).reshape(table_VD.shape), size


def noise(exact_VD: np.ndarray, found_VD: np.ndarray) -> float:
    """Signal to noise in dB: the power of the values over that of the error; infinite without any."""
    error = np.square(exact_VD - found_VD, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(exact_VD, dtype=np.float64).sum() / error)) if error else float("inf")


def rows(table_VD: np.ndarray, pairs: dict[str, Any]) -> Iterator[str]:
    """Lines of the table, float32 first."""
    exact = _accuracies(table_VD, pairs)
    yield f"| 32 | | {table_VD.nbytes / 1e6:.1f} | {np.mean(exact):.2f} | | |"
    for bits, block in VARIANTS:
        if table_VD.shape[1] % (block or 1):
            continue
        found_VD, size = rounded(table_VD, bits, block)
        lost = _accuracies(found_VD, pairs) - exact
        cells = (bits, block or "row", f"{size / 1e6:.1f}", f"{lost.mean():+.2f}", f"{lost.min():+.1f}")
        yield f"| {' | '.join(map(str, cells))} | {noise(table_VD, found_VD):.1f} |"


def _accuracies(table_VD: np.ndarray, pairs: dict[str, Any]) -> np.ndarray:
    """Percent of each language's sentences whose English one is nearest."""
    vectors = load_pipeline("bench", "table_width")._vectors
    table, found = torch.from_numpy(np.ascontiguousarray(table_VD)), []
    for sides in pairs.values():
        x_ND, y_ND = (vectors(table, *side) for side in sides)
        found.append(100 * float((nearest(x_ND, y_ND)[:, 0] == np.arange(len(x_ND))).mean()))
    return np.array(found)


def main(argv: list[str] | None = None) -> int:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of a static student")
    parser.add_argument("--tatoeba", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    encoder = TorchEncoder.open(args.model, device="cpu", threads=1)
    body = encoder.module.body
    assert isinstance(body, StaticBody), "a bag of tokens is needed"
    data, ids = tatoeba(args.tatoeba, TATOEBA_SETS["36"]), load_pipeline("bench", "table_width")._ids
    pairs = {code: tuple(ids(encoder, texts) for texts in sides) for code, sides in data.items()}
    lines = [HEAD]
    for line in rows(body.embedding.weight.detach().numpy(), pairs):
        lines.append(line)
        print(line, flush=True)
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    main()
