"""Ragged batches: the token ids of B texts end to end, and where each text starts.

Shapes: K tokens of the batch, B texts, T tokens of the longest text.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_of(offsets_B1: Tensor) -> Tensor:
    """Tokens of each text, from `[B + 1]` starts of which the last is the end."""
    return offsets_B1[1:] - offsets_B1[:-1]


def padded(ids_K: Tensor, offsets_B1: Tensor, rows_R: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """Some rows of a ragged batch as `ids_RT` filled up with `pad_id`, and their mask of ones and zeros."""
    lengths_R = lengths_of(offsets_B1)[rows_R]
    width = max(1, int(lengths_R.max()))
    place_RT = offsets_B1[rows_R][:, None] + torch.arange(width, device=ids_K.device)
    mask_RT = torch.arange(width, device=ids_K.device)[None, :] < lengths_R[:, None]
    ids_RT = ids_K[place_RT.clamp(max=len(ids_K) - 1)].masked_fill(~mask_RT, pad_id)
    return ids_RT, mask_RT.long()
