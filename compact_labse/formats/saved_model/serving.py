"""One SavedModel that takes strings and gives vectors, for TensorFlow Serving and for `hub.KerasLayer`.

Signatures: `serving_default` (`text`, string `[batch]`) and `ids` (the encoder's three tensors), both giving
`sentence_embedding`. Called as an object it takes strings, as TF Hub's LEALLA does. Shapes: B batch, D dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from compact_labse.formats.saved_model.encoder import INPUTS, SPECS, Body
from compact_labse.formats.saved_model.preprocess import describe, lower_cases, pack
from compact_labse.formats.tf.tokenize import Specials, TextTokenizer
from compact_labse.tokens import Tokens

EMBEDDING = "sentence_embedding"
TEXT = tf.TensorSpec([None], tf.string, name="text")
UNLIMITED = 1 << 30


class Serving(tf.train.Checkpoint):
    """Strings `[B]` to vectors `[B, D]`, cut where the model cuts and padded to the batch's longest text."""

    def __init__(self, body: Body, tokens: Tokens, vocabulary: Path) -> None:
        super().__init__()
        self.body, self.tokenizer = body, TextTokenizer(tokens, vocabulary)
        self._specials, self._limit = Specials.of(tokens), tokens.max_tokens or UNLIMITED
        describe(self, vocabulary, lower_cases(tokens))
        self.variables, self.trainable_variables = list(body.variables), list(body.trainable_variables)
        self.regularization_losses: list[Any] = []
        self.__call__ = tf.function(self._call, autograph=False)
        for training in (False, True):
            self.__call__.get_concrete_function(TEXT, training=training)

    def _call(self, text: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.body(self._inputs(text), training)["default"]

    def _inputs(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = self.tokenizer(text)
        ids = ids.merge_dims(1, 2) if ids.ragged_rank > 1 else ids
        around = len(self._specials.before) + len(self._specials.after)
        longest = tf.reduce_max(tf.concat([[1 - around], tf.cast(ids.row_lengths(), tf.int32)], axis=0)) + around
        return pack([ids], tf.minimum(longest, self._limit), self._specials)


def signatures(root: Serving) -> dict[str, Any]:
    """What TensorFlow Serving offers."""

    @tf.function(autograph=False, input_signature=[TEXT])
    def serving_default(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {EMBEDDING: root._call(text)}

    @tf.function(autograph=False, input_signature=[SPECS[name] for name in INPUTS])
    def ids(input_word_ids: tf.Tensor, input_mask: tf.Tensor, input_type_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True))
        return {EMBEDDING: root.body(inputs)["default"]}

    return {"serving_default": serving_default, "ids": ids}
