"""Set weights of linear layers to zero, at once or while the model learns: by magnitude, by movement, two of each four.

Magnitude keeps the largest weights (Han et al. 2015). Movement keeps those that training pushes away from zero: what
it sums up is minus weight times gradient (Sanh et al. 2020, arXiv 2005.07683). Two of four keeps, of each four
consecutive inputs of an output, the two largest, which is the pattern that some GPUs multiply at twice the speed.
Zeros of any kind take as many bytes as other numbers in the runtimes that we write for: see export/compression.md.

Shapes: N outputs, K inputs of a layer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("magnitude", "movement", "2:4")
RAMP = 0.7  # of the steps: the share of zeros rises for so long, then training goes on with what is left
REFRESH = 10  # passes for which a mask stays as it is: choosing it costs as much as the product
TIE = 1e-6  # until there is movement, magnitude decides


def largest(score_NK: Tensor, share: float) -> Tensor:
    """The mask that keeps all but the lowest `share` of the scores of a matrix."""
    keep = score_NK.numel() - int(share * score_NK.numel())
    mask_NK = torch.zeros(score_NK.numel(), dtype=torch.bool)
    mask_NK[score_NK.flatten().topk(keep, sorted=False).indices] = True
    return mask_NK.view(score_NK.shape)


def two_of_four(score_NK: Tensor) -> Tensor:
    """The mask that keeps two of each four inputs; inputs that are left over at the end stay."""
    whole = score_NK.shape[1] // 4 * 4
    mask_NK = torch.ones(score_NK.shape, dtype=torch.bool)
    fours = score_NK[:, :whole].unflatten(1, (-1, 4))
    kept = torch.zeros(fours.shape, dtype=torch.bool).scatter_(2, fours.topk(2, dim=2).indices, True)
    mask_NK[:, :whole] = kept.flatten(1)
    return mask_NK


@torch.no_grad()
def at_once(transformer: nn.Module, kind: str, share: float) -> None:
    """Zeros by the weights as they are: magnitude with that share, or two of four; in place."""
    for layer in linears(transformer):
        size = layer.weight.abs()
        layer.weight *= two_of_four(size) if kind == "2:4" else largest(size, share)


def linears(transformer: nn.Module) -> list[nn.Linear]:
    """The layers whose weights may become zero."""
    return [layer for layer in transformer.modules() if isinstance(layer, nn.Linear)]


class Sparsity(nn.Module):
    """Makes a transformer compute with more and more zeros while it trains, up to `share` after `RAMP` of `steps`.

    Its state belongs into checkpoints, beside the transformer; `finish` puts the zeros into the weights.
    """

    calls: Tensor

    def __init__(self, transformer: nn.Module, kind: str, share: float, steps: int) -> None:
        super().__init__()
        self.kind, self.share, self.steps, self._fresh = kind, share, steps, False
        self.layers = {f"{number}": layer for number, layer in enumerate(linears(transformer))}
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        for name, layer in self.layers.items():
            size = layer.weight.detach().abs()
            self.register_buffer(f"score{name}", TIE * size if kind == "movement" else torch.zeros(()))
            self.register_buffer(f"mask{name}", two_of_four(size) if kind == "2:4" else torch.ones_like(size).bool())
            setattr(layer, "forward", partial(self._linear, layer, name))  # noqa: B010
        transformer.register_forward_pre_hook(self._count)

    def share_at(self, calls: int) -> float:
        """The share of zeros: fast at first, then slower and slower (Zhu and Gupta 2017), then constant."""
        return self.share * (1 - (1 - min(1.0, calls / (RAMP * self.steps))) ** 3)

    @torch.no_grad()
    def finish(self) -> None:
        """Put the zeros into the weights, which then compute as any others."""
        for name, layer in self.layers.items():
            layer.weight *= self._choose(name, self.share)
            del layer.forward

    def _count(self, module: nn.Module, inputs: Any) -> None:
        self._fresh = torch.is_grad_enabled() and int(self.calls) % REFRESH == 0
        self.calls += torch.is_grad_enabled()

    @torch.no_grad()
    def _choose(self, name: str, share: float) -> Tensor:
        mask_NK = self.get_buffer(f"mask{name}")
        if self.kind != "2:4":
            score = self.get_buffer(f"score{name}") if self.kind == "movement" else self.layers[name].weight.abs()
            mask_NK.copy_(largest(score, share))
        return mask_NK

    def _linear(self, layer: nn.Linear, name: str, x: Tensor) -> Tensor:
        mask_NK = self._choose(name, self.share_at(int(self.calls))) if self._fresh else self.get_buffer(f"mask{name}")
        # The gradient reaches weights that are zero now, too: they may come back.
        weight_NK = layer.weight + (layer.weight * mask_NK - layer.weight).detach()
        if self.kind == "movement" and weight_NK.requires_grad:
            weight_NK.register_hook(partial(self._moved, layer, name))
        return F.linear(x, weight_NK, layer.bias)

    @torch.no_grad()
    def _moved(self, layer: nn.Linear, name: str, gradient_NK: Tensor) -> None:
        self.get_buffer(f"score{name}").addcmul_(layer.weight, gradient_NK, value=-1)
