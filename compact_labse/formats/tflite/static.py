"""Layers whose activations stay in fixed ranges: integers go in and come out, with one scale for all texts.

TensorFlow's converter makes an integer product of a layer where it knows both ranges. What goes in has the range that
training in 8 bits found, where the model has one, or one chosen on calibration text. What comes out has a step for each
column, the largest value there taking 127: of the layers that add to the residual a few columns are far larger than
the others, and with one step for all the gates refuse all-MiniLM-L6-v2. What is between the layers stays float32.

Shapes: B batch, T tokens, H hidden size, N attention heads or outputs, K inputs, S size of a head, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import nn

from compact_labse.formats.static_plan import StaticPlan, learned_ranges, plan_of, plan_static
from compact_labse.formats.tf.layers import Linear
from compact_labse.formats.tflite.attention import InvariantBlock
from compact_labse.progress import say
from compact_labse.tokens import pad
from compact_labse.torch_encoder import TorchEncoder

BATCH, ROWS = 16, 512
CODES = StaticPlan(scale=1.0, zero=128)  # -128 to 127
TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The range of what goes into a layer, and the step of each column that comes out."""

    inputs: StaticPlan
    steps_N: np.ndarray


class StaticLinear(Linear):
    """A linear layer between two fixed ranges: its product is in steps, which a product in float32 gives their size."""

    def __init__(self, layer: nn.Linear, ranges: Ranges) -> None:
        super().__init__(layer)
        self.ranges = ranges
        for weights in (self.kernel, self.bias):
            if weights is not None:
                weights.assign(weights / ranges.steps_N)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`[..., in]` to `[..., out]`, rounded on both sides."""
        return within(super().__call__(within(x, self.ranges.inputs)), CODES) * self.ranges.steps_N


class StaticBlock(InvariantBlock):
    """An `InvariantBlock` whose values have a range of their own: the ones beside them would not fit in it."""

    def values(self, x_BTH: tf.Tensor, size: int) -> tf.Tensor:
        """The values with a column of ones, `[B, N, T, S + 1]`; the product by ones keeps that column float32."""
        value_BNTS = self.split(self.value(x_BTH), size)
        ones_BNT1 = value_BNTS[..., :1] * 0.0 + 1.0
        return tf.concat([value_BNTS * ones_BNT1, ones_BNT1], axis=-1)


def within(x: tf.Tensor, plan: StaticPlan) -> tf.Tensor:
    """What 8 bits keep of values; the converter reads the range from the operator."""
    low, high = -plan.zero * plan.scale, (255 - plan.zero) * plan.scale
    return tf.quantization.fake_quant_with_min_max_args(x, min=low, max=high)


def make_linear(ranges: Mapping[nn.Module, Ranges], layer: nn.Linear) -> Linear:
    """The layer's twin: between its ranges, or in float32 if it has none."""
    return StaticLinear(layer, ranges[layer]) if layer in ranges else Linear(layer)


def ranges_of(encoder: TorchEncoder, texts: Sequence[str]) -> dict[nn.Module, Ranges]:
    """The ranges of every linear layer that the texts pass, by layer."""
    learned = learned_ranges(encoder.source)
    body = getattr(encoder.module.body, "transformer", None)
    known = {} if body is None else {layer: learned[name] for name, layer in body.named_modules() if name in learned}
    if known:
        say(f"ranges of {len(known)} layers' inputs as they were learned in training")
    found = {}
    for layer, (x_RK, y_RN) in observed(encoder, texts).items():
        plan = plan_of(*known[layer]) if layer in known else plan_static(x_RK, [layer.weight.detach().numpy().T])
        found[layer] = Ranges(inputs=plan, steps_N=np.maximum(np.abs(y_RN).max(0), TINY) / 127)
    return found


def observed(encoder: TorchEncoder, texts: Sequence[str]) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Up to about 512 rows of what goes into each linear layer and comes out, drawn evenly from the texts' tokens."""
    ids = encoder.tokenize(list(texts))
    seen: dict[Any, list[list[np.ndarray]]] = {}
    step = max(1, sum(map(len, ids)) // ROWS)
    layers = [layer for layer in encoder.module.modules() if isinstance(layer, nn.Linear)]
    chosen = torch.zeros(0)

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        rows = [x[chosen] if x.ndim == 3 else x for x in (inputs[0], output)]
        seen.setdefault(layer, []).append([x.detach().numpy() for x in rows])

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        for start in range(0, len(ids), BATCH):
            ids_BT, mask_BT = (torch.from_numpy(x) for x in pad(ids[start : start + BATCH], encoder.tokens.pad_id))
            places = mask_BT.bool().nonzero()[::step]
            chosen = torch.zeros_like(mask_BT, dtype=torch.bool)
            chosen[places[:, 0], places[:, 1]] = True
            with torch.inference_mode():
                encoder.module(ids_BT, mask_BT, torch.zeros_like(ids_BT))
    finally:
        for hook in hooks:
            hook.remove()
    columns = {layer: list(zip(*parts, strict=True)) for layer, parts in seen.items()}
    return {layer: (np.concatenate(xs), np.concatenate(ys)) for layer, (xs, ys) in columns.items()}


def maker_of(encoder: TorchEncoder, texts: Sequence[str]) -> partial[Linear]:
    """What makes an encoder's linear layers, ranges chosen on these texts."""
    return partial(make_linear, ranges_of(encoder, texts))
