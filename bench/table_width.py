"""A bag of tokens with a narrower table (SVD), fewer bits a value, or both: bytes and Tatoeba accuracy, xx to English.

    python bench/table_width.py MODEL --tatoeba DIR [--widths 256,128,64] [--out FILE.md]

Rows of the table weigh by their use in the text measured on, which flatters the narrow tables a little.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from compact_labse.bodies import StaticBody
from compact_labse.compress.table_width import UNSEEN, main_directions
from compact_labse.formats.integers import table8, table_small, untable_small
from compact_labse.measure.quality.datasets import tatoeba
from compact_labse.measure.quality.languages import TATOEBA_SETS
from compact_labse.measure.quality.quality import nearest
from compact_labse.torch_encoder import TorchEncoder

BITS = (32, 8, 4)
Ids = tuple[torch.Tensor, torch.Tensor]


def kept(table_VW: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """The table as it comes back from so many bits a value, and the bytes that it takes."""
    if bits == 32:
        return table_VW, table_VW.nbytes
    if bits == 8:
        codes, scales = table8(table_VW)
        return codes * scales, codes.nbytes + scales.nbytes
    planes, scales = table_small(table_VW, bits)
    return untable_small(planes, scales, bits), sum(plane.nbytes for plane in planes) + scales.nbytes


def accuracy(table_VD: torch.Tensor, pairs: dict[str, tuple[Ids, Ids]]) -> float:
    """Mean over languages of the share of sentences whose English one is nearest, in percent."""
    found = []
    for sides in pairs.values():
        x_ND, y_ND = (_vectors(table_VD, *side) for side in sides)
        found.append(float((nearest(x_ND, y_ND)[:, 0] == np.arange(len(x_ND))).mean()))
    return 100 * float(np.mean(found))


def _vectors(table_VD: torch.Tensor, ids: torch.Tensor, offsets: torch.Tensor) -> np.ndarray:
    mean_ND = torch.nn.functional.embedding_bag(ids, table_VD, offsets, mode="mean")
    return np.asarray(torch.nn.functional.normalize(mean_ND, dim=-1).numpy())


def _ids(encoder: TorchEncoder, texts: Sequence[str]) -> Ids:
    rows = encoder.tokenize(texts)
    starts = np.cumsum([0, *(len(row) for row in rows)])[:-1]
    return torch.tensor(list(chain.from_iterable(rows))), torch.from_numpy(starts)


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of a static student")
    parser.add_argument("--tatoeba", type=Path, required=True)
    parser.add_argument("--widths", default="256,192,128,64,32")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    encoder = TorchEncoder.open(args.model, device="cpu", threads=1)
    body = encoder.module.body
    assert isinstance(body, StaticBody), "a bag of tokens is needed"
    table_VD = body.embedding.weight.detach()
    data = tatoeba(args.tatoeba, TATOEBA_SETS["36"])
    pairs = {code: (_ids(encoder, sides[0]), _ids(encoder, sides[1])) for code, sides in data.items()}
    counts_V = torch.bincount(torch.cat([ids for sides in pairs.values() for ids, _ in sides]), minlength=len(table_VD))
    weight_V = counts_V / counts_V.sum() + UNSEEN / len(table_VD)
    lines = ["| width | bits | MB | Tatoeba-36, xx to English |", "|---|---|---|---|"]
    for width in map(int, args.widths.split(",")):
        whole = width == table_VD.shape[1]
        down_DW = torch.eye(width) if whole else main_directions(table_VD, weight_V, width)
        for bits in BITS:
            narrow_VW, size = kept((table_VD @ down_DW).numpy(), bits)
            size += 0 if whole else down_DW.numel() * 4
            score = accuracy(torch.from_numpy(np.ascontiguousarray(narrow_VW)) @ down_DW.T, pairs)
            lines.append(f"| {width} | {bits} | {size / 1e6:.1f} | {score:.2f} |")
            print(lines[-1], flush=True)
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
