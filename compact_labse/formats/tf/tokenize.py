"""Strings to token ids inside TensorFlow: WordPiece and Unigram, piece by piece what the reference tokenizer gives.

The text is cut at special tokens written in it, normalised, pre-tokenized, and each word goes through the model: the
order in which the library `tokenizers` works. Shapes: B batch, S strings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers import Tokenizer

from compact_labse.errors import UserError
from compact_labse.formats.tf.normalize import normalizer_of, splitter_of
from compact_labse.formats.tf.sentencepiece_model import has_charsmap, pieces, sentencepiece_model, spaces_before
from compact_labse.tokens import Tokens

VOCAB_FILE, SP_MODEL_FILE = "vocab.txt", "sentencepiece.model"
LONGEST_CHARACTER = 4  # bytes of UTF-8


@dataclass(frozen=True, kw_only=True)
class Specials:
    """The ids that stand around a text, and those that have a name in TF Hub's interface."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    pad: int
    stand_in: int
    mask: int | None
    size: int

    @classmethod
    def of(cls, tokens: Tokens) -> Specials:
        """What the tokenizer puts around a text; nothing for models that take texts bare."""
        found = tokens.tokenizer.encode("a", add_special_tokens=tokens.special)
        flags = found.special_tokens_mask if tokens.special else [0] * len(found.ids)
        first = next((place for place, flag in enumerate(flags) if not flag), len(flags))
        last = len(flags) - next((place for place, flag in enumerate(reversed(flags)) if not flag), 0)
        masks = [tokens.tokenizer.token_to_id(name) for name in ("[MASK]", "<mask>")]
        return cls(
            before=tuple(found.ids[:first]),
            after=tuple(found.ids[last:]) if last >= first else (),
            pad=tokens.pad_id,
            stand_in=tokens.pad_id if tokens.unk_id is None else tokens.unk_id,
            mask=next((number for number in masks if number is not None), None),
            size=tokens.vocab_size,
        )

    def named(self) -> dict[str, int]:
        """TF Hub's names of special ids; those that the model does not have are left out."""
        names = {"vocab_size": self.size, "padding_id": self.pad}
        if self.before:
            names["start_of_sequence_id"] = self.before[0]
        if self.after:
            names["end_of_segment_id"] = self.after[0]
        return names if self.mask is None else names | {"mask_id": self.mask}


def write_vocabulary(tokenizer: Tokenizer, folder: Path) -> Path:
    """The file that TF Hub's clients read: `vocab.txt` of a WordPiece, a SentencePiece model of a Unigram.

    UserError for other tokenizers, and for those that TensorFlow cannot follow exactly.
    """
    setting = json.loads(tokenizer.to_str())["model"]
    if setting["type"] == "WordPiece":
        path = folder / VOCAB_FILE
        path.write_text("".join(f"{piece}\n" for piece in pieces(tokenizer)), encoding="utf-8")
    elif setting["type"] == "Unigram":
        path = folder / SP_MODEL_FILE
        path.write_bytes(sentencepiece_model(tokenizer, setting))
    else:
        raise UserError(
            f"the tokenizer is a {setting['type']}, which TensorFlow has no counterpart of: WordPiece and Unigram "
            f"can go into a SavedModel; export the encoder alone (--export-type model)"
        )
    return path


class TextTokenizer(tf.Module):
    """Strings `[B]` to ragged int32 ids: `[B, words, pieces]` of a WordPiece, `[B, pieces]` of a Unigram; no specials.

    `vocabulary` is the file of `write_vocabulary`, which becomes an asset of the SavedModel.
    """

    def __init__(self, tokens: Tokens, vocabulary: Path) -> None:
        super().__init__(name="tokenizer")
        tokenizer = tokens.tokenizer
        model = json.loads(tokenizer.to_str())["model"]
        names = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special and not t.normalized]
        self._cut = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self._prompt, self._whole = tokens.prefix, model["type"] == "Unigram" and has_charsmap(tokenizer)
        self.words = model["type"] == "WordPiece"
        if self._whole:
            self._normalize = spaces_before(tokenizer)
        else:
            self._normalize, self._split = normalizer_of(tokenizer), splitter_of(tokenizer)
        if self.words:
            self._longest, self._unknown = model["max_input_chars_per_word"], model["unk_token"]
            self._table = _table(vocabulary)
            self._model = tf_text.WordpieceTokenizer(
                self._table,
                suffix_indicator=model["continuing_subword_prefix"],
                max_bytes_per_word=LONGEST_CHARACTER * self._longest + 1,
                unknown_token=self._unknown,
                token_out_type=tf.int64,
            )
        else:
            self._names, self._ids = names, [tokenizer.token_to_id(name) for name in names]
            self._model = tf_text.SentencepieceTokenizer(vocabulary.read_bytes(), out_type=tf.int32)

    def __call__(self, strings_B: tf.Tensor) -> tf.RaggedTensor:
        """Ids as the reference tokenizer gives them, without special tokens around the text and without cutting."""
        strings_B = tf.strings.unicode_transcode(strings_B, "UTF-8", "UTF-8", errors="replace")
        strings_B = tf.strings.regex_replace(strings_B, r"\x00", "")
        if self._prompt:
            strings_B = tf.strings.join([self._prompt, strings_B])
        parts = tf_text.regex_split(strings_B, self._cut, self._cut) if self._cut else tf.expand_dims(strings_B, 1)
        if not isinstance(parts, tf.RaggedTensor):
            parts = tf.RaggedTensor.from_tensor(parts)
        return tf.cast(self._word_pieces(parts) if self.words else self._unigrams(parts), tf.int32)

    def _word_pieces(self, parts: tf.RaggedTensor) -> tf.RaggedTensor:
        flat = parts.flat_values
        special = self._is_special(flat)
        normal = self._split_all(self._normalize(tf.where(special, "", flat)))
        chosen = tf.concat([tf.RaggedTensor.from_tensor(flat[:, None]), normal], axis=1)
        words = tf.ragged.boolean_mask(chosen, self._kept(special, normal))
        words = parts.with_flat_values(words).merge_dims(1, 2)
        long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > self._longest
        words = words.with_flat_values(tf.where(long, self._unknown, words.flat_values))
        return self._model.tokenize(words)

    def _unigrams(self, parts: tf.RaggedTensor) -> tf.RaggedTensor:
        flat = parts.flat_values
        special = self._is_special(flat)
        text = tf.where(special, "", flat)
        if self._whole:
            normal = self._model.tokenize(self._normalize(text))
        else:
            words = self._split_all(self._normalize(text))
            normal = words.with_flat_values(self._model.tokenize(words.flat_values)).merge_dims(1, 2)
        ids = tf.zeros(tf.shape(flat), tf.int32)
        for name, number in zip(self._names, self._ids, strict=True):
            ids = tf.where(tf.equal(flat, name), number, ids)
        chosen = tf.concat([tf.RaggedTensor.from_tensor(ids[:, None]), normal], axis=1)
        found = tf.ragged.boolean_mask(chosen, self._kept(special, normal))
        return parts.with_flat_values(found).merge_dims(1, 2)

    def _split_all(self, texts_S: tf.Tensor) -> tf.RaggedTensor:
        """Words `[S, words]` of texts; an empty text has none."""
        one = tf.RaggedTensor.from_tensor(texts_S[:, None])
        words = self._split(tf.ragged.boolean_mask(one, tf.not_equal(one, "")))
        return tf.ragged.boolean_mask(words, tf.not_equal(words, ""))

    def _is_special(self, flat_S: tf.Tensor) -> tf.Tensor:
        if not self._cut:
            return tf.zeros(tf.shape(flat_S), tf.bool)
        return tf.strings.regex_full_match(flat_S, self._cut)

    def _kept(self, special_S: tf.Tensor, normal: tf.RaggedTensor) -> tf.RaggedTensor:
        """Of each row's special token and words: the token where it is one, else the words."""
        rest = tf.ones_like(normal, tf.bool)
        return tf.concat([tf.RaggedTensor.from_tensor(special_S[:, None]), rest], axis=1)


def _table(vocabulary: Path) -> tf.lookup.StaticVocabularyTable:
    lines = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticVocabularyTable(lines, num_oov_buckets=1)
