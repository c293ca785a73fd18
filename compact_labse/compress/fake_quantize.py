"""Train as if the numbers had few bits: what an export rounds later is rounded in every step already (QAT).

Forward computes with rounded weights, activations and table rows; the gradient passes rounding as if it were not there
(Bengio et al. 2013, "straight-through"). Rounded as the runtime does it: activations token by token in 8 bits, weights
by output in 8 or in blocks of 32 inputs in 4, the table row by row. Nothing of this is saved with the model.

Shapes: N outputs, K inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 32
CLIPS = torch.linspace(0.4, 1.0, 13).tolist()
REFRESH = 50  # steps for which the scales of a matrix stay as they are: searching them costs more than the product
TINY = 1e-12


def round_while_training(transformer: nn.Module, bits: int) -> None:
    """Make a transformer compute with rounded linear layers and table rows of `bits` (8 or 4), in place."""
    table = transformer.get_input_embeddings()  # type: ignore[operator]
    table.register_forward_hook(lambda module, inputs, output: straight(output, rounded_rows(output.detach(), bits)))
    for layer in transformer.modules():
        if isinstance(layer, nn.Linear):
            setattr(layer, "forward", _forward(layer, bits))  # noqa: B010


def straight(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` in the forward pass; in the backward pass the gradient goes to `value` as it comes."""
    return value + (rounded - value).detach()


def rounded_activations(x: Tensor) -> Tensor:
    """Each token's values `[..., K]` in 8 bits by their own largest magnitude."""
    step = (x.abs().amax(-1, keepdim=True) / 127).clamp(min=TINY)
    return torch.round(x / step) * step


def rounded_rows(rows: Tensor, bits: int) -> Tensor:
    """Rows of the table `[..., D]`, each with the step of the least squared error; in 4 bits half a step off zero."""
    if bits == 8:
        return rounded_activations(rows)
    peak = (rows.abs().amax(-1, keepdim=True) / 7.5).clamp(min=TINY)
    return _best(rows, peak, lambda x, step: (torch.floor(x / step).clamp(-8, 7) + 0.5) * step)[0]


def rounded_weight(weight_NK: Tensor, bits: int, step: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A matrix by outputs (8 bits) or in blocks of 32 inputs (4), and its steps; given `step`, these are taken."""
    if bits == 8:
        step = (weight_NK.abs().amax(1, keepdim=True) / 127).clamp(min=TINY) if step is None else step
        return torch.round(weight_NK / step).clamp(-127, 127) * step, step
    outputs, inputs = weight_NK.shape
    blocks = F.pad(weight_NK, (0, -inputs % BLOCK)).unflatten(1, (-1, BLOCK))

    def at(x: Tensor, step: Tensor) -> Tensor:
        return torch.round(x / step).clamp(-8, 7) * step

    if step is None:
        rounded, step = _best(blocks, (blocks.abs().amax(-1, keepdim=True) / 7).clamp(min=TINY), at)
    else:
        rounded = at(blocks, step)
    return rounded.reshape(outputs, -1)[:, :inputs], step


def _best(x: Tensor, widest: Tensor, at: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The rounding with the step of the least squared error along the last axis, and that step."""
    best, least, chosen = at(x, widest), torch.full_like(widest, torch.inf), widest
    for clip in CLIPS:
        step = widest * clip
        rounded = at(x, step)
        loss = (rounded - x).square().sum(-1, keepdim=True)
        better = loss < least
        best, chosen = torch.where(better, rounded, best), torch.where(better, step, chosen)
        least = torch.minimum(loss, least)
    return best, chosen


def _forward(layer: nn.Linear, bits: int) -> Callable[[Tensor], Tensor]:
    state: dict[str, Any] = {"calls": 0, "step": None}

    def forward(x: Tensor) -> Tensor:
        with torch.no_grad():
            fresh = state["calls"] % REFRESH == 0
            rounded, state["step"] = rounded_weight(layer.weight, bits, None if fresh else state["step"])
            state["calls"] += 1
        weight = straight(layer.weight, rounded)
        return F.linear(straight(x, rounded_activations(x.detach())), weight, layer.bias)

    return forward
