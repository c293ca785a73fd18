"""The preprocessing SavedModel of TF Hub's interface: strings to the encoder's dict of ids, mask and types.

    preprocess = hub.load("saved_model/preprocess")
    preprocess(["Guten Morgen"], seq_length=32)
    preprocess.bert_pack_inputs([preprocess.tokenize(a), preprocess.tokenize(b)], seq_length=64)

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from compact_labse.formats.tf.tokenize import Specials, TextTokenizer
from compact_labse.tokens import Tokens

INPUTS = ("input_word_ids", "input_mask", "input_type_ids")  # int32 [batch, tokens]
DEFAULT_LENGTH = 128
STRINGS = tf.TensorSpec([None], tf.string, name="sentences")
LENGTH = tf.TensorSpec([], tf.int32, name="seq_length")


def pack(segments: list[tf.RaggedTensor], length: tf.Tensor, specials: Specials) -> dict[str, tf.Tensor]:
    """The encoder's dict `[B, length]` of one or two ragged segments: cut, with special tokens, padded.

    Two segments give up their ends in turn until they fit, as in BERT. A text without any token gets the unknown one
    where the model takes texts bare.
    """
    length = tf.cast(length, tf.int32)
    flat = [
        tf.cast(segment.merge_dims(1, -1) if segment.ragged_rank > 1 else segment, tf.int32) for segment in segments
    ]
    room = tf.maximum(length - len(specials.before) - len(specials.after) * len(flat), 0)
    cut = [flat[0][:, :room]] if len(flat) == 1 else _in_turn(flat[0], flat[1], tf.cast(room, tf.int64))
    rows, types = [], []
    for number, segment in enumerate(cut):
        whole = _around(segment, specials.before if number == 0 else (), specials.after)
        if not specials.before and not specials.after and len(cut) == 1:
            whole = _never_empty(whole, specials.stand_in)
        rows.append(whole)
        types.append(tf.ones_like(whole) * number)
    ids, kinds = tf.concat(rows, axis=1), tf.concat(types, axis=1)
    shape = tf.stack([-1, length])
    return {
        INPUTS[0]: ids.to_tensor(specials.pad, shape=shape),
        INPUTS[1]: tf.ones_like(ids).to_tensor(0, shape=shape),
        INPUTS[2]: kinds.to_tensor(0, shape=shape),
    }


def _in_turn(first: tf.RaggedTensor, second: tf.RaggedTensor, room: tf.Tensor) -> list[tf.RaggedTensor]:
    """Both segments cut to `room` tokens together: of two long ones half each, the odd token to the first."""
    first_B, second_B = (tf.cast(segment.row_lengths(), tf.int64) for segment in (first, second))
    kept_B = tf.minimum(first_B, tf.maximum(room - second_B, (room + 1) // 2))
    return [_head(first, kept_B), _head(second, tf.minimum(second_B, room - kept_B))]


def _head(segment: tf.RaggedTensor, lengths_B: tf.Tensor) -> tf.RaggedTensor:
    """The first tokens of each row, a number of them per row."""
    places = tf.ragged.range(tf.cast(segment.row_lengths(), tf.int64))
    rows = segment.value_rowids()
    return tf.ragged.boolean_mask(segment, segment.with_flat_values(places.flat_values < tf.gather(lengths_B, rows)))


def _around(segment: tf.RaggedTensor, before: tuple[int, ...], after: tuple[int, ...]) -> tf.RaggedTensor:
    rows = segment.nrows()
    parts = [segment]
    if before:
        parts.insert(0, tf.RaggedTensor.from_tensor(tf.tile(tf.constant([before], tf.int32), [rows, 1])))
    if after:
        parts.append(tf.RaggedTensor.from_tensor(tf.tile(tf.constant([after], tf.int32), [rows, 1])))
    return tf.concat(parts, axis=1) if len(parts) > 1 else segment


def _never_empty(segment: tf.RaggedTensor, stand_in: int) -> tf.RaggedTensor:
    empty_B1 = tf.equal(segment.row_lengths(), 0)[:, None]
    fill = tf.ragged.boolean_mask(tf.fill(tf.shape(empty_B1), stand_in), empty_B1)
    return tf.concat([segment, tf.cast(fill, segment.dtype)], axis=1)


class SpecialTokens(tf.train.Checkpoint):
    """Callable without arguments: TF Hub's names of the special ids, as scalars."""

    def __init__(self, specials: Specials) -> None:
        super().__init__()
        self._named = specials.named()

    @tf.function(autograph=False, input_signature=[])
    def __call__(self) -> dict[str, tf.Tensor]:
        """`vocab_size`, `padding_id` and those of start, end and mask that the model has."""
        return {name: tf.constant(number, tf.int32) for name, number in self._named.items()}


class Tokenize(tf.train.Checkpoint):
    """Callable on strings `[B]`: ragged ids without special tokens, and `get_special_tokens_dict()`."""

    def __init__(self, tokenizer: TextTokenizer, specials: Specials) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.get_special_tokens_dict = SpecialTokens(specials)

    @tf.function(autograph=False, input_signature=[STRINGS])
    def __call__(self, sentences: tf.Tensor) -> tf.RaggedTensor:
        """Ids `[B, words, pieces]` of a WordPiece, `[B, pieces]` of a Unigram."""
        return self.tokenizer(sentences)


class BertPackInputs(tf.train.Checkpoint):
    """Callable on a list of one or two ragged segments of ids, with an optional `seq_length`."""

    def __init__(self, specials: Specials, default_length: int) -> None:
        super().__init__()

        @tf.function(autograph=False)
        def call(inputs: Any, seq_length: Any = default_length) -> dict[str, tf.Tensor]:
            return pack(list(inputs), seq_length, specials)

        self.__call__ = call
        for rank in (1, 2):
            spec = tf.RaggedTensorSpec([None] * (rank + 1), tf.int32, ragged_rank=rank)
            for inputs in ([spec], [spec, spec]):
                call.get_concrete_function(inputs, seq_length=LENGTH)


class Preprocess(tf.train.Checkpoint):
    """The root: callable on strings with an optional `seq_length`; `.tokenize` and `.bert_pack_inputs` beside it.

    `vocabulary` is the tokenizer's file, which becomes an asset and `vocab_file` or `sp_model_file` on the root.
    """

    def __init__(self, tokens: Tokens, vocabulary: Path, default_length: int = DEFAULT_LENGTH) -> None:
        super().__init__()
        specials, tokenizer = Specials.of(tokens), TextTokenizer(tokens, vocabulary)
        self.tokenize = Tokenize(tokenizer, specials)
        self.bert_pack_inputs = BertPackInputs(specials, default_length)
        describe(self, vocabulary, lower_cases(tokens))

        @tf.function(autograph=False)
        def call(sentences: tf.Tensor, seq_length: Any = default_length) -> dict[str, tf.Tensor]:
            return pack([tokenizer(sentences)], seq_length, specials)

        self.__call__ = call
        call.get_concrete_function(STRINGS, seq_length=LENGTH)


def describe(root: Any, vocabulary: Path, lower_case: bool) -> None:
    """Put what TF Hub's clients look for on a root: `vocab_file` or `sp_model_file`, and `do_lower_case`."""
    asset = tf.saved_model.Asset(str(vocabulary))
    setattr(root, "vocab_file" if vocabulary.suffix == ".txt" else "sp_model_file", asset)
    root.do_lower_case = tf.Variable(lower_case, trainable=False, name="do_lower_case")


def lower_cases(tokens: Tokens) -> bool:
    """Whether the tokenizer reads capitals as small letters."""
    normalizer = tokens.tokenizer.normalizer
    return normalizer is not None and "a" in normalizer.normalize_str("A")
