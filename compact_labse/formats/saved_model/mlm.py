"""The masked-language-model head beside an encoder SavedModel: `.mlm`, trainable, with the tied embedding table.

Shapes: B batch, T tokens, P predictions, H hidden size, E width of the embedding table, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.errors import UserError
from compact_labse.formats.saved_model.encoder import SPECS, Body, Outputs, Root
from compact_labse.formats.tf.layers import activation_of

POSITIONS = "masked_lm_positions"
# Where architectures keep dense kernel, its bias, norm's scale and shift, and the bias of the output.
PLACES = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
)
MLMWeights = dict[str, np.ndarray]


def mlm_weights(folder: Path) -> MLMWeights | None:
    """The weights of a folder's own head: `kernel [H, E]`, `bias`, `gamma`, `beta`, `output_bias [V]`; None without."""
    from compact_labse.weights import read_weights

    found = read_weights(folder)
    for dense, norm, output in PLACES:
        names = (f"{dense}.weight", f"{dense}.bias", f"{norm}.weight", f"{norm}.bias", output)
        if all(name in found for name in names):
            kernel, *rest = (found[name].numpy() for name in names)
            return dict(zip(("kernel", "bias", "gamma", "beta", "output_bias"), (kernel.T, *rest), strict=True))
    return None


class MaskedLM(tf.Module):
    """Dense, activation and layer norm, then the scores of every piece by the tied table and a bias of its own.

    Without `weights` the head is untrained: small random numbers, no bias.
    """

    def __init__(self, body: Body, weights: MLMWeights | None = None) -> None:
        super().__init__()
        config = body.encoder.config
        if not config:
            raise UserError("a bag of tokens has no masked language model: export it with --export-type model")
        self._table = [body.encoder.body.words]  # owned by the encoder, listed so that it is not counted twice
        size = int(config.get("hidden_size") or config["dim"])
        rows, width = (int(n) for n in body.encoder.body.words.table.shape)
        made = weights or _untrained(size, width, rows, float(config.get("initializer_range", 0.02)))
        if made["kernel"].shape != (size, width) or made["output_bias"].shape != (rows,):
            raise UserError(
                f"the MLM head is for {made['kernel'].shape} and {len(made['output_bias'])} pieces, the encoder has "
                f"{(size, width)} and {rows}"
            )
        self.kernel, self.bias = tf.Variable(made["kernel"], name="kernel"), tf.Variable(made["bias"], name="bias")
        self.gamma, self.beta = tf.Variable(made["gamma"], name="gamma"), tf.Variable(made["beta"], name="beta")
        self.output_bias = tf.Variable(made["output_bias"], name="output_bias")
        self.activation = activation_of(config.get("hidden_act") or config.get("activation") or "gelu")
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))

    def __call__(self, hidden_BTH: tf.Tensor, positions_BP: tf.Tensor) -> tf.Tensor:
        """`mlm_logits [B, P, V]` at the positions."""
        x = tf.gather(hidden_BTH, positions_BP, batch_dims=1)
        x = self.activation(tf.matmul(x, self.kernel) + self.bias)
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        x = (x - mean) * tf.math.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return tf.matmul(x, self._table[0].table, transpose_b=True) + self.output_bias


def mlm_root(body: Body, head: MaskedLM) -> Root:
    """What `.mlm` is: the encoder's outputs but `default`, and `mlm_logits`; trains the encoder too."""

    def call(inputs: dict[str, Any], training: bool = False) -> Outputs:
        found = body(inputs, training)
        del found["default"]  # the published tool's `.mlm` does not have it
        return found | {"mlm_logits": head(found["sequence_output"], inputs[POSITIONS])}

    specs = SPECS | {POSITIONS: tf.TensorSpec([None, None], tf.int32, name=POSITIONS)}
    return Root(call, specs, body, head)


def _untrained(size: int, width: int, rows: int, spread: float) -> MLMWeights:
    return {
        "kernel": np.random.default_rng(0).normal(0, spread, (size, width)).astype(np.float32),
        "bias": np.zeros(width, np.float32),
        "gamma": np.ones(width, np.float32),
        "beta": np.zeros(width, np.float32),
        "output_bias": np.zeros(rows, np.float32),
    }
