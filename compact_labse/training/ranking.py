"""Translation ranking over the batch of all ranks: own rows against everyone's columns (LaBSE, equations 1 to 3).

Shapes: B pairs of a rank, G pairs of all ranks, S texts of a pair (source, target, then hard negatives), A = S - 1
answers of a pair, N = A x G columns, D dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compact_labse.training import ranks


class Ranked(NamedTuple):
    """Mean loss over own pairs and both directions, and the share of own rows whose best column is the true one."""

    loss: Tensor
    accuracy: Tensor


def gathered_ranking(
    vectors_BSD: Tensor, keys_BA2: Tensor, *, scale: Tensor | float, margin: float, gathered: bool = True
) -> Ranked:
    """Rank own sources among everyone's targets and hard negatives, and own targets among everyone's sources.

    `keys_BA2` are integer keys of the source and the target text of the pair that each answer comes from; answers
    that share either with a row's own pair are no negatives of it. Vectors are unit-norm, and best in float32: in
    bfloat16 a cosine's rounding times a scale of 100 is as large as the margin. Every rank must have equally many pairs
    (`ranks.check_same`). The mean over ranks of this loss is the loss of the whole batch in one process. Without
    `gathered`, "everyone" is the own rank alone, as in code that has no gather.
    """
    true_B = torch.arange(len(keys_BA2), device=vectors_BSD.device)
    everyone_GSD, keys_GA2 = vectors_BSD, keys_BA2
    if gathered:
        everyone_GSD, keys_GA2 = ranks.gather(vectors_BSD), ranks.gather_values(keys_BA2)
        true_B += ranks.rank() * len(keys_BA2)
    columns_ND = everyone_GSD[:, 1:].transpose(0, 1).flatten(0, 1)
    same_BN = _same(keys_BA2[:, 0], keys_GA2.transpose(0, 1).flatten(0, 1))
    same_BG = same_BN[:, : len(keys_GA2)]
    there_B, found_B = ranked_rows(vectors_BSD[:, 0], columns_ND, true_B, same_BN, scale=scale, margin=margin)
    back_B, back_found_B = ranked_rows(
        vectors_BSD[:, 1], everyone_GSD[:, 0], true_B, same_BG, scale=scale, margin=margin
    )
    accuracy = (found_B.float().mean() + back_found_B.float().mean()) / 2
    return Ranked((there_B.mean() + back_B.mean()) / 2, accuracy)


def ranked_rows(
    query_BD: Tensor,
    columns_ND: Tensor,
    true_B: Tensor,
    same_BN: Tensor | None,
    *,
    scale: Tensor | float,
    margin: float,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy `[B]` of finding column `true_B` by `scale * (cosine - margin at the true one)`, and who found it.

    Columns where `same_BN` is true, other than the true one, do not count.
    """
    cosine_BN = _cosines(query_BD, columns_ND)
    true_B1 = true_B[:, None]
    cosine_B1 = cosine_BN.gather(1, true_B1)
    logits_BN = cosine_BN.scatter(1, true_B1, cosine_B1 - margin) * scale
    # After the scale, whose gradient would be 0 x -inf otherwise.
    if same_BN is not None:
        others_BN = same_BN.scatter(1, true_B1, False)
        logits_BN = logits_BN.masked_fill(others_BN, -torch.inf)
        cosine_BN = cosine_BN.detach().masked_fill(others_BN, -torch.inf)
    loss_B = logits_BN.logsumexp(1) - logits_BN.gather(1, true_B1).squeeze(1)
    return loss_B, cosine_BN.argmax(1) == true_B


def _cosines(query_BD: Tensor, columns_ND: Tensor) -> Tensor:
    """Dot products; half-precision results become float32, double ones stay."""
    products_BN = query_BD @ columns_ND.T
    return products_BN if products_BN.dtype == torch.float64 else products_BN.float()


def _same(keys_B2: Tensor, keys_N2: Tensor) -> Tensor:
    return (keys_B2[:, None] == keys_N2[None, :]).any(-1)
