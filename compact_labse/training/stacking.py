"""Progressive stacking: a model of twice the layers starts as a shallower trained one, twice on top of itself.

Gong et al. 2019, "Efficient Training of BERT by Progressively Stacking"; LaBSE goes from L/4 over L/2 to L layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from compact_labse.errors import UserError

LAYER = re.compile(r"^((?:.*\.)?layer\.)(\d+)(\..*)$")


def stacked(weights: Mapping[str, Tensor], times: int = 2) -> dict[str, Tensor]:
    """The state dict of a model with `times` as many layers: layer i is a copy of layer i modulo the number there was.

    Everything that is no layer stays as it is. UserError if there are no layers, or they are not numbered from 0.
    """
    found = {name: match for name in weights if (match := LAYER.match(name))}
    count = layers_in(weights)
    if not count or times < 1:
        raise UserError(f"there is nothing to stack: {count} layers, {times} times")
    result = {name: tensor for name, tensor in weights.items() if name not in found}
    for name, match in found.items():
        for turn in range(times):
            number = int(match[2]) + turn * count
            result[f"{match[1]}{number}{match[3]}"] = weights[name] if turn == 0 else weights[name].clone()
    return result


def layers_in(weights: Mapping[str, Tensor]) -> int:
    """How many numbered layers a state dict has; UserError if a number is missing."""
    numbers = {int(match[2]) for name in weights if (match := LAYER.match(name))}
    if numbers != set(range(len(numbers))):
        raise UserError(f"the layers are not numbered from 0 without a gap: {sorted(numbers)}")
    return len(numbers)


def depths(layers: int, stages: int) -> list[int]:
    """The layers of each stage, each twice those before: 12 layers in 3 stages are 3, 6, 12. UserError if they do not
    divide."""
    if layers % (1 << (stages - 1)):
        raise UserError(
            f"student.layers is {layers}, which {stages - 1} doublings do not reach: it must be a multiple of "
            f"{1 << (stages - 1)}, or `stacking` must name fewer stages"
        )
    return [layers >> (stages - 1 - stage) for stage in range(stages)]
