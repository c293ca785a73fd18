"""What each head, feed-forward column and hidden dimension does for the vectors, and what stands in for the others.

The importance of a part is how much the vectors change when it is scaled a little: the square of the vector's first
derivative, along a random direction, by a gate on that part, summed over calibration texts. (The loss to the model's
own vectors has no first derivative at the model itself; this is its second, as Gauss and Newton approximate it. Gates
on heads: Michel et al. 2019.)

Shapes: B batch, T tokens, R rows (real tokens), K inputs of a layer, H heads, F columns, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compact_labse.compress.architecture import Body
from compact_labse.sentence_model import SentenceModel

RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e6)  # of the mean variance; the last leaves the weights as they are

Feed = tuple[np.ndarray, Tensor, Tensor]


@dataclass
class Statistics:
    """By name of a place: importance `[K]` of its values, and their products `[K, K]` in each half of the texts."""

    importance: dict[str, Tensor] = field(default_factory=dict)
    products: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str, value_BTK: Tensor, mask_BT: Tensor) -> None:
        """Add a batch; `value_BTK` has its gradient."""
        assert value_BTK.grad is not None
        real_BT1 = mask_BT[:, :, None]
        gate_BK = (value_BTK.detach() * value_BTK.grad * real_BT1).sum(1)
        self.importance[name] = self.importance.get(name, torch.zeros(())) + gate_BK.square().sum(0)
        for half in (0, 1):
            rows_RK = value_BTK.detach()[half::2][mask_BT[half::2].bool()]
            halves = self.products.setdefault(name, [torch.zeros(()), torch.zeros(())])
            halves[half] = halves[half] + rows_RK.T @ rows_RK


def measure(module: SentenceModel, body: Body, feeds: Sequence[Feed], seed: int = 0) -> Statistics:
    """Run calibration batches forward and backward: inputs of `attended` and `second`, outputs of normalisations.

    Names are `0.attended`, `0.second` and so on by layer, and `embeddings`, `0.attention_norm`, `0.norm`.
    """
    found, generator = Statistics(), torch.Generator().manual_seed(seed)
    for _, ids_BT, mask_BT in feeds:
        seen: dict[str, Tensor] = {}
        hooks = [hook for name, hook in _hooks(body, seen)]
        try:
            vectors_BD = module(ids_BT, mask_BT)[1]
            (vectors_BD * torch.randn(vectors_BD.shape, generator=generator)).sum().backward()
        finally:
            for hook in hooks:
                hook.remove()
        for name, value in seen.items():
            found.add(name, value, mask_BT)
    for parameter in module.parameters():
        parameter.grad = None
    return found


def _hooks(body: Body, seen: dict[str, Tensor]) -> list[tuple[str, Any]]:
    def keep(name: str, take: Callable[[tuple, Any], Tensor]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
            value = take(inputs, output)
            value.retain_grad()
            seen[name] = value

        return hook

    hooks = []
    for place, layer in enumerate(body.layers):
        for part in ("attended", "second"):
            name = f"{place}.{part}"
            hooks.append((name, layer.part(part).register_forward_hook(keep(name, lambda inputs, _: inputs[0]))))
    for name, norm in body.states():
        hooks.append((name, norm.register_forward_hook(keep(name, lambda _, output: output))))
    return hooks


def largest(importance_K: Tensor, count: int) -> Tensor:
    """The numbers of the `count` largest, ascending."""
    return importance_K.topk(count).indices.sort().values


def with_stand_ins(weight_NK: Tensor, halves: Sequence[Tensor], kept: Tensor) -> Tensor:
    """A matrix for the inputs `kept` alone that gives what all inputs gave, as nearly as calibration text allows.

    Least squares: what the inputs that go can be told from those that stay is added to the weights of these. How far
    it may move from them (the ridge) is what serves one half of the texts (`halves`: products `[K, K]` of each) best
    when fitted on the other.
    """
    errors = [
        sum(_error(weight_NK, _fitted(weight_NK, one, kept, ridge), other, kept) for one, other in _both(halves))
        for ridge in RIDGES
    ]
    return _fitted(weight_NK, halves[0] + halves[1], kept, RIDGES[int(np.argmin(errors))]).float()


def _both(halves: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(halves[0], halves[1]), (halves[1], halves[0])]


def _fitted(weight_NK: Tensor, products_KK: Tensor, kept: Tensor, ridge: float) -> Tensor:
    among_kept, ours_NS = products_KK[kept][:, kept].double(), weight_NK[:, kept].double()
    strength = ridge * among_kept.diagonal().mean().clamp(min=1e-12)
    among_kept = among_kept + strength * torch.eye(len(kept), dtype=torch.float64)
    wanted_NS = weight_NK.double() @ products_KK[:, kept].double() + strength * ours_NS
    return torch.linalg.solve(among_kept, wanted_NS.T).T


def _error(weight_NK: Tensor, fitted_NS: Tensor, products_KK: Tensor, kept: Tensor) -> float:
    """The squared difference of the outputs on texts with these products."""
    difference_NK = weight_NK.double().clone()
    difference_NK[:, kept] -= fitted_NS
    return float(((difference_NK @ products_KK.double()) * difference_NK).sum())
