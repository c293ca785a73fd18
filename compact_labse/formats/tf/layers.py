"""The layers of a sentence encoder in TensorFlow, each made from its PyTorch twin; every operator is a TFLite builtin.

Weights are trainable variables in float32. Shapes: B batch, T tokens, H hidden size, N attention heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.errors import UserError

MASKED = -1e4  # added to the scores of padding: exp gives exactly 0 in float32, and float16 can still hold it
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": tf.nn.gelu,
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "tanh": tf.tanh,
}


def array(tensor: Any) -> np.ndarray:
    """A PyTorch parameter as float32 numpy."""
    return tensor.detach().float().cpu().numpy()


class Linear(tf.Module):
    """A linear layer on the last axis, from torch's `nn.Linear`."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.kernel = tf.Variable(array(layer.weight).T, name="kernel")
        self.bias = None if layer.bias is None else tf.Variable(array(layer.bias), name="bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`[..., in]` to `[..., out]`."""
        out = tf.matmul(x, self.kernel)
        return out if self.bias is None else out + self.bias


MakeLinear = Callable[[Any], Linear]


class Norm(tf.Module):
    """Layer normalisation of the last axis, from torch's `nn.LayerNorm`."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.gamma = tf.Variable(array(layer.weight), name="gamma")
        self.beta = tf.Variable(array(layer.bias), name="beta")
        self.epsilon = float(layer.eps)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """`[..., H]` to `[..., H]`."""
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, axis=-1, keepdims=True)
        return centred * tf.math.rsqrt(variance + self.epsilon) * self.gamma + self.beta


class Table(tf.Module):
    """An embedding table: ids `[B, T]` to its rows `[B, T, H]`."""

    def __init__(self, table_VH: np.ndarray) -> None:
        super().__init__()
        self.table = tf.Variable(table_VH, name="table")

    def __call__(self, ids_BT: tf.Tensor) -> tf.Tensor:
        """The rows of the ids."""
        return tf.gather(self.table, ids_BT)


class Block(tf.Module):
    """A transformer layer that normalises after each half: attention, then the feed-forward network.

    `parts` are the PyTorch layers by name: query, key, value, out, norm, up, down, final_norm.
    """

    def __init__(
        self,
        parts: dict[str, Any],
        heads: int,
        activation: str,
        dropout: float,
        attention_dropout: float,
        linear: MakeLinear = Linear,
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.attention_dropout = heads, dropout, attention_dropout
        self.activation = activation_of(activation)
        self.query, self.key, self.value = (linear(parts[name]) for name in ("query", "key", "value"))
        self.out, self.up, self.down = (linear(parts[name]) for name in ("out", "up", "down"))
        self.norm, self.final_norm = Norm(parts["norm"]), Norm(parts["final_norm"])

    def __call__(self, x_BTH: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The layer's output `[B, T, H]`; `bias`, broadcast to `[B, N, T, T]`, is added to the attention scores."""
        attended = drop(self.attend(x_BTH, bias, training), self.dropout, training)
        x_BTH = self.norm(x_BTH + attended)
        inner = self.down(self.activation(self.up(x_BTH)))
        return self.final_norm(x_BTH + drop(inner, self.dropout, training))

    def attend(self, x_BTH: tf.Tensor, bias: tf.Tensor, training: bool) -> tf.Tensor:
        """Every token's mix of all tokens, `[B, T, H]`."""
        size = int(self.query.kernel.shape[1]) // self.heads
        query, key, value = (self.split(layer(x_BTH), size) for layer in (self.query, self.key, self.value))
        scores = tf.matmul(query * (size**-0.5), key, transpose_b=True) + bias
        weights = drop(tf.nn.softmax(scores), self.attention_dropout, training)
        return self.out(self.join(tf.matmul(weights, value), size))

    def split(self, x_BTH: tf.Tensor, size: int) -> tf.Tensor:
        """`[B, T, heads * size]` to `[B, heads, T, size]`."""
        return tf.transpose(tf.reshape(x_BTH, [-1, tf.shape(x_BTH)[1], self.heads, size]), [0, 2, 1, 3])

    def join(self, x_BNTS: tf.Tensor, size: int) -> tf.Tensor:
        """The inverse of `split`."""
        return tf.reshape(tf.transpose(x_BNTS, [0, 2, 1, 3]), [-1, tf.shape(x_BNTS)[2], self.heads * size])


def drop(x: tf.Tensor, rate: float, training: bool) -> tf.Tensor:
    """Dropout while training, else the input itself."""
    return tf.nn.dropout(x, rate) if training and rate else x


def activation_of(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function of a transformer's activation; UserError if it is unknown."""
    if name not in ACTIVATIONS:
        raise UserError(
            f"the activation {name!r} has no TensorFlow twin here, expected one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]
