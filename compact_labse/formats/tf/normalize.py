"""The normaliser and pre-tokenizer of a `tokenizer.json` as TensorFlow operators on strings.

What has no counterpart is refused by name: ids that are only nearly right are worse than none.
Shapes: S strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from compact_labse.errors import UserError
from compact_labse.formats.tf import text_classes

Strings = Callable[[tf.Tensor], tf.Tensor]
Split = Callable[[tf.RaggedTensor], tf.RaggedTensor]
SPACE = "▁"


def normalizer_of(tokenizer: Tokenizer) -> Strings:
    """Strings `[S]` to what the tokenizer's normaliser makes of them; UserError for a step that TensorFlow lacks."""
    setting = json.loads(tokenizer.to_str())["normalizer"]
    steps = () if setting is None else _cached_steps(json.dumps(setting))

    def normalize(strings_S: tf.Tensor) -> tf.Tensor:
        for step in steps:
            strings_S = step(strings_S)
        return strings_S

    return normalize


def splitter_of(tokenizer: Tokenizer) -> Split:
    """Ragged words `[S, words]` cut further as the tokenizer's pre-tokenizers do it; UserError for one it lacks."""
    setting = json.loads(tokenizer.to_str())["pre_tokenizer"]
    parts = [] if setting is None else setting["pretokenizers"] if setting["type"] == "Sequence" else [setting]
    steps = [_cached_splitter(json.dumps(part)) for part in parts]

    def split(words: tf.RaggedTensor) -> tf.RaggedTensor:
        for step in steps:
            words = step(words)
        return words

    return split


@lru_cache(maxsize=16)
def _cached_steps(setting: str) -> tuple[Strings, ...]:
    """Asking a tokenizer about every character takes seconds, and a SavedModel of each kind asks the same."""
    return tuple(_steps(json.loads(setting)))


@lru_cache(maxsize=16)
def _cached_splitter(setting: str) -> Split:
    return _splitter(json.loads(setting))


def _steps(setting: dict[str, Any]) -> list[Strings]:
    kind = setting["type"]
    if kind == "Sequence":
        return [step for part in setting["normalizers"] for step in _steps(part)]
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return [lambda strings: tf_text.normalize_utf8(strings, kind)]
    if kind == "Lowercase":
        return [lower]
    if kind == "BertNormalizer":
        return _bert_steps(setting)
    if kind == "StripAccents":
        return [_replacing(text_classes.changed(normalizers.StripAccents(), _vanishes), "")]
    if kind == "Replace":
        return [_replace(setting)]
    if kind == "Strip" and setting.get("strip_left") and setting.get("strip_right"):
        spaces = text_classes.changed(normalizers.Replace(Regex(r"\s"), ""), _vanishes)
        return [_replacing(f"^{spaces}+|{spaces}+$", "")]
    raise _refusal("normaliser", kind)


def _bert_steps(setting: dict[str, Any]) -> list[Strings]:
    plain = {"lowercase": False, "strip_accents": False}
    switches = {
        "clean_text": setting["clean_text"],
        "handle_chinese_chars": setting["handle_chinese_chars"],
    }
    asked = normalizers.BertNormalizer(**switches, **plain)
    steps = [
        _replacing(text_classes.changed(asked, _vanishes), ""),
        _replacing(text_classes.changed(asked, lambda one, result: result == " " != one), " "),
    ]
    if setting["handle_chinese_chars"]:
        spaced = text_classes.changed(asked, lambda one, result: result == f" {one} ")
        steps.append(_replacing(f"({spaced})", r" \1 "))
    strip = setting["strip_accents"]
    if strip or (strip is None and setting["lowercase"]):
        only = normalizers.BertNormalizer(
            clean_text=False, handle_chinese_chars=False, lowercase=False, strip_accents=True
        )
        marks = text_classes.changed(only, _vanishes)
        steps += [lambda strings: tf_text.normalize_utf8(strings, "NFD"), _replacing(marks, "")]
    return [*steps, lower] if setting["lowercase"] else steps


def lower(strings: tf.Tensor) -> tf.Tensor:
    """Each character in lower case by itself: a Greek sigma at the end of a word is no other than one within."""
    return tf.strings.lower(tf.strings.regex_replace(strings, "Σ", "σ"), encoding="utf-8")


def _replace(setting: dict[str, Any]) -> Strings:
    pattern, content = setting["pattern"], setting["content"].replace("\\", r"\\")
    if "String" in pattern:
        return _replacing(re.escape(pattern["String"]), content)
    # RE2 looks neither behind nor at white space beyond ASCII
    spaces = text_classes.changed(normalizers.Replace(Regex(r"\s"), ""), _vanishes)
    alternatives = pattern["Regex"].replace(r"\s", spaces)
    behind = re.fullmatch(r"(?P<first>[^(]*\|)?\(\?<=(?P<before>\[[^]]+\])\)(?P<rest>\[[^]]+\])", alternatives)
    if behind is None:
        if "(?" in alternatives:
            raise _refusal("normaliser", f"Replace of {pattern['Regex']!r}")
        return _replacing(alternatives, content)
    first, second = behind["first"], _replacing(f"({behind['before']}){behind['rest']}", rf"\1{content}")
    if first is None:
        return second
    plain = _replacing(first.removesuffix("|"), content)
    # what stands behind is looked up in the text as it was, so the alternative that looks goes first
    return lambda strings: plain(second(strings))


def _splitter(setting: dict[str, Any]) -> Split:
    kind = setting["type"]
    if kind == "Metaspace":
        return _metaspace(setting)
    known: dict[str, Any] = {
        "BertPreTokenizer": pre_tokenizers.BertPreTokenizer,
        "WhitespaceSplit": pre_tokenizers.WhitespaceSplit,
        "Whitespace": None,
        "Punctuation": lambda: pre_tokenizers.Punctuation("isolated"),
        "Digits": lambda: pre_tokenizers.Digits(individual_digits=True),
    }
    isolating = setting.get("behavior", "Isolated") == "Isolated" and setting.get("individual_digits", True)
    if known.get(kind) is None or not isolating:
        raise _refusal("pre-tokenizer", f"{kind} {setting.get('behavior', '')}".strip())
    splitter = known[kind]()
    kept, dropped = text_classes.isolated(splitter), text_classes.dropped(splitter)
    every = "|".join(part for part in (dropped and f"{dropped}+", kept) if part)
    return lambda words: words.with_flat_values(tf_text.regex_split(words.flat_values, every, kept)).merge_dims(-2, -1)


def _metaspace(setting: dict[str, Any]) -> Split:
    mark, scheme = setting["replacement"], setting.get("prepend_scheme", "always")
    if scheme not in ("always", "never") or mark != SPACE:
        raise _refusal("pre-tokenizer", f"Metaspace with {scheme!r}, {mark!r}")

    def split(words: tf.RaggedTensor) -> tf.RaggedTensor:
        text = tf.strings.regex_replace(words.flat_values, " ", mark)
        if scheme == "always":
            bare = tf.strings.regex_full_match(text, f"(?s){mark}.*") | tf.equal(text, "")
            text = tf.where(bare, text, tf.strings.join([tf.fill(tf.shape(text), mark), text]))
        if setting.get("split", True):
            word = f"{mark}[^{mark}]*"  # a mark begins the word that follows it
            return words.with_flat_values(tf_text.regex_split(text, word, word)).merge_dims(-2, -1)
        return words.with_flat_values(text)

    return split


def _replacing(pattern: str, by: str) -> Strings:
    if not pattern:
        return lambda strings: strings
    return lambda strings: tf.strings.regex_replace(strings, pattern, by)


def _vanishes(_: str, result: str) -> bool:
    return result == ""


def _refusal(part: str, kind: str) -> UserError:
    return UserError(
        f"the tokenizer's {part} {kind} has no exact counterpart in TensorFlow: export the encoder alone "
        f"(--export-type model) and tokenize with tokenizer.json before it"
    )
