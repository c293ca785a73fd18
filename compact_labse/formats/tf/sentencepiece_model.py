"""A Unigram `tokenizer.json` as a SentencePiece model with the same ids and scores.

Its normaliser does nothing where TensorFlow's operators normalise before it; a precompiled one (XLM-R, T5) goes inside,
because nothing else can run it. Shapes: S strings.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tokenizers import Tokenizer, normalizers

from compact_labse.errors import UserError, require
from compact_labse.formats.tf import text_classes

COLLAPSE = {"Regex": " {2,}"}


def pieces(tokenizer: Tokenizer) -> list[str]:
    """Every piece by id; ids that no piece has get a name that no text holds."""
    by_id = {number: piece for piece, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    return [by_id.get(number, f"[no piece {number}]") for number in range(max(by_id) + 1)]


def has_charsmap(tokenizer: Tokenizer) -> bool:
    """Whether the normaliser is SentencePiece's own precompiled one, which only SentencePiece can run."""
    return any(step["type"] == "Precompiled" for step in _steps(json.loads(tokenizer.to_str())))


def sentencepiece_model(tokenizer: Tokenizer, setting: dict[str, Any]) -> bytes:
    """The model file; `setting` is the `model` of the `tokenizer.json`. UserError where it cannot be the same."""
    sp: Any = require("sentencepiece.sentencepiece_model_pb2", "tensorflow")
    if setting.get("byte_fallback") or setting.get("unk_id") is None:
        raise UserError("the tokenizer is a Unigram with byte fallback or without unknown token: no exact counterpart")
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    scores, kinds = dict(map(tuple, setting["vocab"])), sp.ModelProto.SentencePiece.Type
    model = sp.ModelProto()
    for number, piece in enumerate(pieces(tokenizer)):
        entry = model.pieces.add(piece=piece or f"[no piece {number}]", score=scores.get(piece, 0.0))
        bare = number in special or piece not in scores
        entry.type = kinds.UNKNOWN if number == setting["unk_id"] else kinds.CONTROL if bare else kinds.NORMAL
    own = has_charsmap(tokenizer)
    normalizer = model.normalizer_spec
    normalizer.name = "precompiled" if own else "identity"
    normalizer.precompiled_charsmap = base64.b64decode(_charsmap(tokenizer)) if own else b""
    normalizer.add_dummy_prefix = normalizer.escape_whitespaces = own
    normalizer.remove_extra_whitespaces = own and _drops_spaces(json.loads(tokenizer.to_str()))
    model.trainer_spec.model_type = sp.TrainerSpec.ModelType.UNIGRAM
    return model.SerializeToString()


def spaces_before(tokenizer: Tokenizer) -> Callable[[tf.Tensor], tf.Tensor]:
    """What must happen to the spaces of strings `[S]` before SentencePiece sees them, so that it cuts as the tokenizer.

    SentencePiece drops all spaces at the ends, or none; tokenizers that do not split at white space keep the last one.
    """
    content = json.loads(tokenizer.to_str())
    if _drops_spaces(content):
        return lambda strings: strings
    charsmap = normalizers.Precompiled(base64.b64decode(_charsmap(tokenizer)))
    kinds = ("Cc", "Cf", "Zs", "Zl", "Zp")
    asked = [one for one in map(chr, range(0x10000)) if unicodedata.category(one) in kinds]
    space = text_classes.re2_class(one for one in asked if charsmap.normalize_str(one) == " ")
    collapse = any(step.get("pattern") == COLLAPSE for step in _steps(content))

    def prepare(strings_S: tf.Tensor) -> tf.Tensor:
        if collapse:
            strings_S = tf.strings.regex_replace(strings_S, f"{space}+", " ")
        return tf.strings.regex_replace(strings_S, f"^{space}", "")  # SentencePiece puts one there in any case

    return prepare


def _steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    normalizer = content["normalizer"] or {"type": "none"}
    return list(normalizer.get("normalizers", [normalizer]))


def _splitters(content: dict[str, Any]) -> set[str]:
    splitter = content["pre_tokenizer"] or {"type": "none"}
    return {part["type"] for part in splitter.get("pretokenizers", [splitter])}


def _drops_spaces(content: dict[str, Any]) -> bool:
    return "WhitespaceSplit" in _splitters(content)


def _charsmap(tokenizer: Tokenizer) -> str:
    """The precompiled map; UserError if the normaliser or pre-tokenizer does more than SentencePiece does."""
    content = json.loads(tokenizer.to_str())
    steps, kinds = _steps(content), _splitters(content)
    allowed = ("Precompiled", "Strip") if _drops_spaces(content) else ("Precompiled",)
    extra = [step["type"] for step in steps if step["type"] not in allowed and step.get("pattern") != COLLAPSE]
    if extra or not kinds <= {"Metaspace", "WhitespaceSplit"} or "Metaspace" not in kinds:
        raise UserError(
            f"the tokenizer's {(extra or sorted(kinds))[0]} has no counterpart beside a precompiled normaliser"
        )
    return str(next(step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"))
