"""Choose the layers of a transformer that stay: they go one by one, always the one without which vectors move least.

Shapes: P layers, N texts, B batch, T tokens, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compact_labse.compress import calibration
from compact_labse.compress.architecture import Body
from compact_labse.compress.importance import Feed
from compact_labse.progress import say, track


class Known(nn.Module):
    """Stands for the layers up to one whose output on this batch is known."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *inputs: Any, **more: Any) -> Any:
        """The output, as the layer itself gave it."""
        return self.output


def choose_layers(
    module: Any, body: Body, feeds: Sequence[Feed], count: int, wanted: int
) -> tuple[list[int], list[float]]:
    """The numbers of the layers that stay, and the damage after each one that went, least damaging first."""
    whole = list(body.stack.layer)
    kept, steps = list(range(len(whole))), []
    exact_ND = calibration.vectors(module, feeds, count)
    try:
        for _ in track(range(len(whole) - wanted), "choosing layers"):
            vectors_PND = without_each(module, body, [whole[number] for number in kept], feeds, count)
            damages = [calibration.damage(exact_ND, vectors_ND) for vectors_ND in vectors_PND]
            place = int(np.argmin(damages))
            steps.append(damages[place])
            say(f"without layer {kept[place]}: vectors move by {damages[place]:.4f}")
            del kept[place]
    finally:
        _put(body, whole)
    return kept, steps


@torch.inference_mode()
def without_each(module: Any, body: Body, layers: Sequence[nn.Module], feeds: Sequence[Feed], count: int) -> np.ndarray:
    """Unit vectors `[P, N, D]` of the texts without each of the layers; what comes before it is computed once."""
    found_PND = np.zeros((len(layers), count, module.dim), np.float32)
    for rows, ids_BT, mask_BT in feeds:
        _put(body, layers[:-1])
        outputs = _outputs(module, layers[:-1], ids_BT, mask_BT)
        for place in range(len(layers)):
            known = [Known(outputs[place - 1])] if place else []
            _put(body, [*known, *layers[place + 1 :]])
            found_PND[place, rows] = module(ids_BT, mask_BT)[1].numpy()
    return found_PND


def _outputs(module: Any, layers: Sequence[nn.Module], ids_BT: Tensor, mask_BT: Tensor) -> list[Any]:
    """What each layer gives for a batch."""
    found: list[Any] = []
    hooks = [layer.register_forward_hook(lambda _, inputs, output: found.append(output)) for layer in layers]
    try:
        module(ids_BT, mask_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _put(body: Body, layers: Sequence[nn.Module]) -> None:
    body.stack.layer = type(body.stack.layer)(layers)
