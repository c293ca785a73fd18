"""Bring a cut transformer's hidden states back to what they were: the scales and shifts of its normalisations anew.

Shapes: R rows (real tokens), D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from compact_labse.compress.architecture import Body
from compact_labse.compress.importance import Feed
from compact_labse.progress import track
from compact_labse.sentence_model import SentenceModel


@torch.no_grad()
def states_of(module: SentenceModel, body: Body, feeds: Sequence[Feed]) -> dict[str, Tensor]:
    """The hidden state `[R, D]` that each of `Body.states` writes, of all real tokens of all batches."""
    seen: dict[str, list[Tensor]] = {}
    mask = [feeds[0][2]]

    def keep(name: str) -> Any:
        return lambda part, inputs, output: seen.setdefault(name, []).append(output[mask[0].bool()])

    hooks = [part.register_forward_hook(keep(name)) for name, part in body.states()]
    try:
        for _, ids_BT, mask_BT in feeds:
            mask[0] = mask_BT
            module(ids_BT, mask_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


@torch.no_grad()
def align(module: SentenceModel, body: Body, feeds: Sequence[Feed], wanted: Mapping[str, Tensor]) -> None:
    """Fit scale and shift of every normalisation, first to last, to the states `wanted` `[R, D]` by least squares."""
    for name, part in track(list(body.states()), "aligning"):
        if not isinstance(part, nn.LayerNorm):
            continue
        rows = _normalised(module, part, feeds)
        target = wanted[name]
        centre, goal = rows.mean(0), target.mean(0)
        spread = (rows - centre).square().mean(0).clamp(min=1e-8)
        scale = ((rows - centre) * (target - goal)).mean(0) / spread
        part.weight.copy_(scale)
        part.bias.copy_(goal - scale * centre)


class _Enough(Exception):
    """Ends a forward pass whose remaining layers nobody asks for."""


def _normalised(module: SentenceModel, part: nn.LayerNorm, feeds: Sequence[Feed]) -> Tensor:
    """What a normalisation makes before scale and shift, `[R, D]`."""
    seen: list[Tensor] = []

    def hook(layer: nn.LayerNorm, inputs: tuple[Tensor]) -> None:
        seen.append(nn.functional.layer_norm(inputs[0], layer.normalized_shape, eps=layer.eps))
        raise _Enough

    handle = part.register_forward_pre_hook(hook)
    try:
        for _, ids_BT, mask_BT in feeds:
            with suppress(_Enough):
                module(ids_BT, mask_BT)
            seen[-1] = seen[-1][mask_BT.bool()]
    finally:
        handle.remove()
    return torch.cat(seen)
