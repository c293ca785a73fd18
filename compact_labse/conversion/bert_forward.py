"""BERT computed by TensorFlow from its own layout of weights: what conversions are held to.

Shapes: B batch, T tokens, H hidden size.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from compact_labse.conversion.bert_checkpoint import Bert
from compact_labse.errors import UserError


def forward(bert: Bert, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
    """The last layer's vectors `[B, T, H]`, computed from TensorFlow's layout alone: what conversions are held to."""
    config, weights = bert.config, {name: tf.constant(array) for name, array in bert.weights.items()}
    heads, tokens = config["num_attention_heads"], ids_BT.shape[1]
    activation = {"gelu": tf.nn.gelu, "relu": tf.nn.relu, "tanh": tf.tanh}.get(config["hidden_act"])
    if activation is None:
        raise UserError(f"hidden_act is {config['hidden_act']!r}, expected gelu, relu or tanh")

    def linear(x: tf.Tensor, name: str) -> tf.Tensor:
        return tf.einsum("bti,io->bto", x, weights[f"{name}.kernel"]) + weights[f"{name}.bias"]

    def norm(x: tf.Tensor, name: str) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, weights[f"{name}.beta"], weights[f"{name}.gamma"], 1e-12)

    def split(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [x.shape[0], tokens, heads, -1])

    x = tf.gather(weights["words"], ids_BT) + weights["positions"][None, :tokens] + weights["types"][0]
    x = norm(x, "norm")
    hidden = (1.0 - tf.cast(mask_BT, tf.float32))[:, None, None, :] * -1e9
    for number in range(config["num_hidden_layers"]):
        at = f"layer.{number}"
        query, key, value = (split(linear(x, f"{at}.{part}")) for part in ("query", "key", "value"))
        scores = tf.einsum("bqns,bkns->bnqk", query, key) / (int(query.shape[-1]) ** 0.5) + hidden
        mixed = tf.einsum("bnqk,bkns->bqns", tf.nn.softmax(scores), value)
        x = norm(x + linear(tf.reshape(mixed, x.shape), f"{at}.out"), f"{at}.attention_norm")
        x = norm(x + linear(activation(linear(x, f"{at}.up")), f"{at}.down"), f"{at}.norm")
    return x.numpy()
