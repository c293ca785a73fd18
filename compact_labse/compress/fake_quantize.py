"""Train as if the numbers had few bits: what an export rounds later is rounded in every step already (QAT).

Forward computes with rounded weights, activations and table rows; the gradient passes rounding as if it were not there
(Bengio et al. 2013, "straight-through"). Rounded as the runtime does it: activations token by token in 8 bits, or in a
range of each layer's own; weights by output in 8 or in blocks of 32 inputs in 4, the table row by row. In 4 bits the
model is saved in the values that they hold, which exports find again; fixed ranges lie beside it (`ranges.json`) for
static exports. What is remembered from one step to the next is in the checkpoint: a resumed run is the same to the bit.

Shapes: N outputs, K inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 32
ROWS_AT_ONCE = 16_384
CLIPS = torch.linspace(0.4, 1.0, 13).tolist()
REFRESH = 50  # passes for which the scales of a matrix stay as they are: searching them costs more than the product
TINY = 1e-12
TAIL = 0.001  # the share of activations at either end that a range leaves out: they would make all steps coarser
NEW = 0.3  # what is seen at a refresh, in the mean with what was seen before


class Rounding(nn.Module):
    """Makes a transformer compute with rounded linear layers and table rows of `bits` (8 or 4), in place.

    Its state: the steps of each matrix, with `fixed` the range of what goes into it, and the passes with a gradient so
    far, which decide when these are searched anew. To be kept beside the transformer, in the module whose state
    checkpoints hold. Evaluations change nothing.
    """

    calls: Tensor

    def __init__(self, transformer: nn.Module, bits: int, *, fixed: bool = False) -> None:
        super().__init__()
        self.bits, self.fixed, self._fresh = bits, fixed, False
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        linears = {name: layer for name, layer in transformer.named_modules() if isinstance(layer, nn.Linear)}
        self.names, self._layers = list(linears), list(linears.values())  # in a list: they are not part of this module
        for number, layer in enumerate(self._layers):
            self.register_buffer(f"step{number}", rounded_weight(layer.weight.detach(), bits)[1])
            self.register_buffer(f"range{number}", layer.weight.new_zeros(2) if fixed else None)
            setattr(layer, "forward", partial(self._linear, layer, number))  # noqa: B010
        self._table = [transformer.get_input_embeddings()]  # type: ignore[operator]
        self._table[0].register_forward_hook(
            lambda module, inputs, output: straight(output, rounded_rows(output.detach(), bits))
        )
        transformer.register_forward_pre_hook(self._count)

    @torch.no_grad()
    def keep_values(self) -> None:
        """In 4 bits, give weights and rows the values that these hold: an export in 4 bits then loses none of them.

        Values in 8 bits lose nothing worth keeping, and an export would round them once more.
        """
        if self.bits != 4:
            return
        for layer in self._layers:
            layer.weight.copy_(rounded_weight(layer.weight, self.bits)[0])
        for rows in self._table[0].weight.split(ROWS_AT_ONCE):
            rows.copy_(rounded_rows(rows, self.bits))

    def ranges(self) -> dict[str, list[float]]:
        """The lowest and the highest value of what goes into each layer, by its name; empty unless fixed and seen."""
        found = {name: getattr(self, f"range{number}") for number, name in enumerate(self.names)}
        return {name: both.tolist() for name, both in found.items() if both is not None and both.any()}

    def _count(self, module: nn.Module, inputs: Any) -> None:
        self._fresh = torch.is_grad_enabled() and int(self.calls) % REFRESH == 0
        self.calls += torch.is_grad_enabled()

    @torch.no_grad()
    def _rounded(self, layer: nn.Linear, number: int) -> Tensor:
        step = self.get_buffer(f"step{number}")
        rounded, found = rounded_weight(layer.weight, self.bits, None if self._fresh else step)
        if self._fresh:
            step.copy_(found)
        return rounded

    @torch.no_grad()
    def _activations(self, x: Tensor, number: int) -> Tensor:
        both = getattr(self, f"range{number}")
        if both is not None and self._fresh:
            both.lerp_(range_of(x), NEW if both.any() else 1.0)
        return rounded_activations(x) if both is None or not both.any() else rounded_in_range(x, *both)

    def _linear(self, layer: nn.Linear, number: int, x: Tensor) -> Tensor:
        weight = straight(layer.weight, self._rounded(layer, number))
        return F.linear(straight(x, self._activations(x.detach(), number)), weight, layer.bias)


def straight(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` in the forward pass; in the backward pass the gradient goes to `value` as it comes."""
    return value + (rounded - value).detach()


def rounded_activations(x: Tensor) -> Tensor:
    """Each token's values `[..., K]` in 8 bits by their own largest magnitude."""
    step = (x.abs().amax(-1, keepdim=True) / 127).clamp(min=TINY)
    return torch.round(x / step) * step


def range_of(x: Tensor) -> Tensor:
    """The range that holds all but `TAIL` of the values at either end, and zero; `[2]`."""
    values = x.flatten()
    low, high = (values.kthvalue(1 + round(share * (len(values) - 1))).values for share in (TAIL, 1 - TAIL))
    return torch.stack([low.clamp(max=0), high.clamp(min=TINY)])


def rounded_in_range(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values in 255 steps between `low` and `high`, of which one is zero; what lies outside is cut off."""
    step = ((high - low) / 255).clamp(min=TINY)
    zero = torch.round(-low / step).clamp(0, 255)
    return ((torch.round(x / step) + zero).clamp(0, 255) - zero) * step


def rounded_rows(rows: Tensor, bits: int) -> Tensor:
    """Rows of the table `[..., D]`, each with the step of the least squared error; in 4 bits half a step off zero."""
    if bits == 8:
        return rounded_activations(rows)
    peak = (rows.abs().amax(-1, keepdim=True) / 7.5).clamp(min=TINY)
    return _best(rows, peak, lambda x, step: (torch.floor(x / step).clamp(-8, 7) + 0.5) * step)[0]


def rounded_weight(weight_NK: Tensor, bits: int, step: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A matrix by outputs (8 bits) or in blocks of 32 inputs (4), and its steps; given `step`, these are taken."""
    if bits == 8:
        step = (_pairs(weight_NK).amax(1, keepdim=True) / 127).clamp(min=TINY) if step is None else step
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


def _pairs(weight_NK: Tensor) -> Tensor:
    """Sums of the magnitudes of neighbouring inputs: what keeps ONNX's 8-bit products from overflowing without VNNI."""
    return F.pad(weight_NK.abs(), (0, weight_NK.shape[1] % 2)).unflatten(1, (-1, 2)).sum(2)


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
