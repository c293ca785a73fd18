"""Attention whose result does not depend on padding, to the last bit: what makes 8-bit layers batch-invariant.

A softmax adds its weights up in an order that depends on how many there are, padding included. The last bit of the sum
then rounds one activation of the next 8-bit layer the other way, and from there on the two results drift apart (cosine
.997 where rounding errors are 1e-7). A matrix product adds in one order, and padding adds exact zeros at its end.

Shapes: B batch, T tokens, H hidden size, N attention heads, S size of a head.
"""

from __future__ import annotations

import tensorflow as tf

from compact_labse.formats.tf.layers import Block


class InvariantBlock(Block):
    """A `Block` for inference, which normalises attention after the product with the values, not before."""

    def attend(self, x_BTH: tf.Tensor, bias: tf.Tensor, training: bool) -> tf.Tensor:
        """Every token's mix of all tokens, `[B, T, H]`: a column of ones beside the values adds the weights up."""
        size = int(self.query.kernel.shape[1]) // self.heads
        query, key = (self.split(layer(x_BTH), size) for layer in (self.query, self.key))
        scores = tf.matmul(query * (size**-0.5), key, transpose_b=True) + bias
        weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
        mixed = tf.matmul(weights, self.values(x_BTH, size))
        return self.out(self.join(mixed[..., :size] / mixed[..., size:], size))

    def values(self, x_BTH: tf.Tensor, size: int) -> tf.Tensor:
        """The values `[B, N, T, S]` with a column of ones, by one product: `[B, N, T, S + 1]`."""
        width = int(self.value.kernel.shape[0])
        kernel_HNS = tf.reshape(self.value.kernel, [width, self.heads, size])
        kernel = tf.reshape(tf.pad(kernel_HNS, [[0, 0], [0, 0], [0, 1]]), [width, -1])
        bias_NS = tf.reshape(self.value.bias, [self.heads, size])
        ones = tf.reshape(tf.pad(bias_NS, [[0, 0], [0, 1]], constant_values=1.0), [-1])
        return self.split(tf.matmul(x_BTH, kernel) + ones, size + 1)
