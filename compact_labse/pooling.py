"""Token vectors to one vector: the ways of sentence-transformers, as functions of `hidden_BTD` and `mask_BT`.

Shapes: B batch, T tokens, D dimension. Padding is on the right, and every row has at least one token.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from compact_labse.errors import UserError
from compact_labse.settings import read_json


def cls(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The first token's vector."""
    return hidden_BTD[:, 0]


def mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over tokens."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1e-9)


def mean_sqrt(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The sum over tokens, divided by the root of their number."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1e-9).sqrt()


def weighted_mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over tokens with weights 1, 2, 3, ... by position."""
    positions_T1 = torch.arange(1, hidden_BTD.shape[1] + 1, device=hidden_BTD.device).unsqueeze(-1)
    weights_BT1 = (mask_BT.unsqueeze(-1) * positions_T1).to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1e-9)


def maximum(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The largest value of each dimension over tokens."""
    return hidden_BTD.masked_fill(mask_BT.unsqueeze(-1) == 0, float("-inf")).amax(1)


def last_token(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The last token's vector."""
    rows_B = torch.arange(hidden_BTD.shape[0], device=hidden_BTD.device)
    return hidden_BTD[rows_B, mask_BT.sum(1) - 1]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # in the order in which legacy flags are concatenated
    "cls": cls,
    "max": maximum,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_sqrt,
    "weightedmean": weighted_mean,
    "lasttoken": last_token,
}
LEGACY_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def pool(hidden_BTD: Tensor, mask_BT: Tensor, modes: tuple[str, ...]) -> Tensor:
    """`[B, len(modes) * D]`: one pooled vector per mode, side by side."""
    return torch.cat([POOLINGS[mode](hidden_BTD, mask_BT) for mode in modes], dim=-1)


def check_modes(modes: tuple[str, ...], place: str) -> tuple[str, ...]:
    """The modes; UserError naming the place if one is unknown."""
    for mode in modes:
        if mode not in POOLINGS:
            raise UserError(f"{place}: unknown pooling {mode!r}, expected one of {', '.join(POOLINGS)}.")
    return modes


def read_modes(file: Path, dim: int, prompt: str = "") -> tuple[str, ...]:
    """The pooling that a `1_Pooling/config.json` asks for, from either of the layouts that sentence-transformers wrote.

    UserError if a mode or flag is unknown, the dimension is not the model's `dim`, or a prompt has to be left out.
    """
    config = read_json(file, required=True)
    got = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if got != dim:
        raise UserError(f"{file}: pools vectors of dimension {got}, but the model before it gives {dim}.")
    if prompt and not config.get("include_prompt", True):
        raise UserError(f"{file}: include_prompt is false, and leaving the prompt {prompt!r} out is not supported.")
    modes = config.get("pooling_mode")
    if modes is None:
        flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
        for flag in flags:
            if flag not in LEGACY_FLAGS:
                raise UserError(f"{file}: unknown pooling {flag!r}, expected one of {', '.join(LEGACY_FLAGS)}.")
        modes = [mode for flag, mode in LEGACY_FLAGS.items() if flag in flags] or "mean"
    return check_modes((modes,) if isinstance(modes, str) else tuple(modes), str(file))
