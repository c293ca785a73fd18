"""A sentence encoder in TensorFlow: the PyTorch `SentenceModel` expressed again, weight by weight.

TFLite files and SavedModels are made from it. Every operator is a TFLite builtin, both axes stay dynamic, and weights
are trainable variables. Shapes: B batch, T tokens, H hidden size, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from compact_labse.errors import UserError
from compact_labse.formats.tf.bodies import MakeTable, StaticLayers, TransformerLayers, counted
from compact_labse.formats.tf.layers import Block, Linear, MakeLinear, Norm, Table

if TYPE_CHECKING:
    from torch import nn

    from compact_labse.sentence_model import SentenceModel

HEAD_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "Tanh": tf.tanh,
    "Identity": lambda x: x,
    "GELU": tf.nn.gelu,
    "ReLU": tf.nn.relu,
    "SiLU": tf.nn.silu,
    "Sigmoid": tf.sigmoid,
    "LeakyReLU": lambda x: tf.nn.leaky_relu(x, alpha=0.01),
    "ELU": tf.nn.elu,
    "Mish": lambda x: x * tf.tanh(tf.math.log1p(tf.exp(-tf.abs(x))) + tf.nn.relu(x)),
    "Softplus": lambda x: tf.math.log1p(tf.exp(-tf.abs(x))) + tf.nn.relu(x),
}


class TFEncoder(tf.Module):
    """Body, heads on tokens, pooling, heads on the sentence, unit length; the same steps as `SentenceModel`.

    `dim` is D; `config` holds the transformer's settings, or is empty for a bag of tokens.
    """

    def __init__(
        self,
        module: SentenceModel,
        make_table: MakeTable = Table,
        block: type[Block] = Block,
        linear: MakeLinear = Linear,
    ) -> None:
        super().__init__(name="encoder")
        from compact_labse.bodies import StaticBody

        static = isinstance(module.body, StaticBody)
        self.dim, self.modes = module.dim, module.modes
        self.config: dict[str, Any] = {} if static else module.body.transformer.config.to_dict()  # type: ignore[operator, union-attr]
        body = module.body
        self.body = StaticLayers(body, make_table) if static else TransformerLayers(body, make_table, block, linear)
        self.token_heads = [_head(head, linear) for head in module.token_heads]
        self.sentence_heads = [_head(head, linear) for head in module.sentence_heads]

    def layers(
        self, ids_BT: tf.Tensor, mask_BT: tf.Tensor, types_BT: tf.Tensor, training: bool = False
    ) -> list[tf.Tensor]:
        """Every layer's output `[B, T, H]` of int32 ids, mask (1 token, 0 padding) and types, the body's last."""
        return self.body(ids_BT, mask_BT, types_BT, training)

    def finish(self, hidden_BTH: tf.Tensor, mask_BT: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Token vectors `[B, T, D']` and unit sentence vectors `[B, D]` of the body's output."""
        for head in self.token_heads:
            hidden_BTH = head(hidden_BTH)
        if self.modes == ("cls",):  # on every token, for clients that take CLS and normalise
            for head in self.sentence_heads:
                hidden_BTH = head(hidden_BTH)
            return hidden_BTH, unit(hidden_BTH[:, 0])
        sentence_BD = tf.concat([POOLINGS[mode](hidden_BTH, mask_BT) for mode in self.modes], axis=-1)
        for head in self.sentence_heads:
            sentence_BD = head(sentence_BD)
        return hidden_BTH, unit(sentence_BD)

    def __call__(
        self, ids_BT: tf.Tensor, mask_BT: tf.Tensor, types_BT: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`last_hidden_state` and `sentence_embedding`."""
        return self.finish(self.layers(ids_BT, mask_BT, types_BT, training)[-1], mask_BT)


def express(
    module: SentenceModel, make_table: MakeTable = Table, block: type[Block] = Block, linear: MakeLinear = Linear
) -> TFEncoder:
    """The TensorFlow twin of a PyTorch encoder, its weights copied.

    `make_table` builds word and position tables, `block` layers and `linear` what they multiply by, so that exports can
    store and compute them in their own ways. UserError if the architecture, an activation or a head has no twin.
    """
    return TFEncoder(module, make_table, block, linear)


def unit(x: tf.Tensor) -> tf.Tensor:
    """Vectors of length 1 along the last axis; a zero vector stays zero."""
    return x / tf.sqrt(tf.reduce_sum(x * x, axis=-1, keepdims=True) + 1e-24)


class DenseHead(tf.Module):
    """A linear layer, its activation and, where the folder says so, the input added."""

    def __init__(self, head: Any, linear: MakeLinear = Linear) -> None:
        super().__init__()
        self.linear = linear(head.linear)
        self.activation = HEAD_ACTIVATIONS[type(head.activation).__name__]
        self.add_input = head.add_input
        self.residual = linear(head.residual) if hasattr(head, "residual") else None

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`[..., in]` to `[..., out]`."""
        out = self.activation(self.linear(x))
        if not self.add_input:
            return out
        return out + (x if self.residual is None else self.residual(x))


def _head(head: nn.Module, linear: MakeLinear) -> Callable[[tf.Tensor], tf.Tensor]:
    kind: str = type(head).__name__
    makers: dict[str, Callable[[Any], Callable[[tf.Tensor], tf.Tensor]]] = {
        "Dense": lambda found: DenseHead(found, linear),
        "LayerNorm": lambda found: Norm(found.norm),
        "Normalize": lambda found: unit,
        "Identity": lambda found: lambda x: x,
    }
    if kind not in makers:
        raise UserError(f"the head {kind!r} has no TensorFlow twin here, expected one of {', '.join(makers)}")
    return makers[kind](head)


def _weighted(hidden_BTD: tf.Tensor, weights_BT: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum over tokens `[B, D]`, and the sum of weights `[B, 1]`, never zero."""
    weights_BT1 = tf.expand_dims(tf.cast(weights_BT, tf.float32), -1)
    return tf.reduce_sum(hidden_BTD * weights_BT1, axis=1), tf.maximum(tf.reduce_sum(weights_BT1, axis=1), 1e-9)


def _mean(hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
    total, count = _weighted(hidden_BTD, mask_BT)
    return total / count


def _mean_sqrt(hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
    total, count = _weighted(hidden_BTD, mask_BT)
    return total / tf.sqrt(count)


def _weighted_mean(hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
    return _mean(hidden_BTD, mask_BT * counted(mask_BT))


def _maximum(hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
    padding_BT1 = 1.0 - tf.expand_dims(tf.cast(mask_BT, tf.float32), -1)
    return tf.reduce_max(hidden_BTD - padding_BT1 * np.float32(1e30), axis=1)


def _last_token(hidden_BTD: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
    last_BT = tf.equal(counted(mask_BT), tf.reduce_sum(mask_BT, axis=1, keepdims=True))
    return _weighted(hidden_BTD, tf.cast(last_BT, tf.float32))[0]


POOLINGS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cls": lambda hidden_BTD, mask_BT: hidden_BTD[:, 0],
    "max": _maximum,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
