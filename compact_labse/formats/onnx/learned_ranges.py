"""Ranges of activations that a model learned while it was trained in 8 bits, as plans for a static export."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from compact_labse.formats.onnx.edit import Edit
from compact_labse.formats.static_plan import StaticPlan, learned_ranges, plan_of
from compact_labse.progress import say
from compact_labse.torch_encoder import TorchEncoder


def learned_plans(graph: onnx.ModelProto, source: TorchEncoder) -> dict[str, StaticPlan]:
    """A plan for each activation whose layer has a range in the model's `ranges.json`; {} without that file."""
    ranges = learned_ranges(source.source)
    if not ranges:
        return {}
    names, plans = layer_names(graph, source), {}
    for linear in Edit(graph).linears():
        if names.get(linear.weight) in ranges:
            plans[linear.activation] = plan_of(*ranges[names[linear.weight]])
    say(f"ranges of {len(plans)} activations as they were learned in training")
    return plans


def layer_names(graph: onnx.ModelProto, source: TorchEncoder) -> dict[str, str]:
    """The name in the model of each constant of the graph that is the transpose of one of its matrices."""
    edit, found = Edit(graph), {}
    state: dict[Any, str] = {}
    for name, value in source.module.state_dict().items():
        if value.ndim == 2:
            state[_print(value.numpy().T)] = name
    for linear in edit.linears():
        known = state.get(_print(edit.array(linear.weight)))
        if known is not None:
            found[linear.weight] = known.removeprefix("body.transformer.").removesuffix(".weight")
    return found


def _print(array_KN: np.ndarray) -> tuple[Any, ...]:
    return (array_KN.shape, array_KN[0, :8].tobytes(), array_KN[-1, -8:].tobytes())
