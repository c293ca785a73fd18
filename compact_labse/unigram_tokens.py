"""Tokens of an export: those of our own Unigram students in a sixth of the memory, the ids the same.

`tokenizers` still normalises and splits; the pieces are found by `lattice.py`. Words are remembered as they were
written, so that most of a text is never normalised twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from compact_labse.lattice import Pieces
from compact_labse.settings import default_prompt, text_config
from compact_labse.tokens import PAD_NAMES, UNKNOWN_NAMES, Tokens, clean_text

REMEMBERED = 30_000  # words: about 8 MB
LONGEST_WORD = 24  # characters: longer ones seldom come again
TEXTS_PER_CALL = 1024
SPACE = "▁"
BETWEEN = "\ue000"  # of private use: no step of normalisation changes it or looks past it
# Steps that change each word by itself; `Replace` is looked at more closely.
LOCAL = ("NFKC", "NFC", "NFD", "Lowercase", "Replace")
SPACES = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
WORDS = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
SPLITS = ("Punctuation", "Digits")


def open_tokens(folder: Path | str, max_tokens: int | None = None, special: bool = True) -> Tokens:
    """The tokenizer of an export as `Tokens.from_folder` gives it, lighter where it is a Unigram of our own kind."""
    folder = Path(folder)
    file = folder / "tokenizer.json"
    if file.is_file() and not text_config(folder).get("do_lower_case"):
        try:
            content = json.loads(file.read_bytes())
            if _fits(content, special):
                return UnigramTokens(content, file, max_tokens, special, default_prompt(folder))
        except (ValueError, LookupError, TypeError, AttributeError):
            pass  # damaged: the library says how
    return Tokens.from_folder(folder, max_tokens, special)


class UnigramTokens(Tokens):
    """`Tokens` of a Unigram that normalises word by word and splits at spaces, and at punctuation and digits or not."""

    def __init__(self, content: dict[str, Any], file: Path, max_tokens: int | None, special: bool, prefix: str) -> None:
        model, added = content["model"], content["added_tokens"]
        self.file, self.special, self.prefix = file, special, prefix
        texts, scores = zip(*model["vocab"], strict=True)
        self.pieces = Pieces(texts, scores, model["unk_id"])
        names = {entry["content"]: entry["id"] for entry in added}
        known = {**self.pieces.numbers, **names}
        padding = content["padding"]
        self.pad_id = padding["pad_id"] if padding else next((known[name] for name in PAD_NAMES if name in known), 0)
        self.unk_id = next((known[name] for name in UNKNOWN_NAMES if name in known), model["unk_id"])
        self.vocab_size = len(known)
        self.before, self.after = (special and _frame(content["post_processor"])) or ([], [])
        self.max_tokens = self._cut_at(max_tokens, content["truncation"])
        self._lock = threading.RLock()
        self._names, self._remembered = tuple(names), dict[str, tuple[int, ...] | None]()
        bare = {**content, "added_tokens": [], "padding": None, "truncation": None, "post_processor": None}
        bare["model"] = {**model, "vocab": [model["vocab"][model["unk_id"]]], "unk_id": 0}
        steps = Tokenizer.from_str(json.dumps(bare))
        self._normalize = steps.normalizer.normalize_str if steps.normalizer else str
        self._split = steps.pre_tokenizer.pre_tokenize_str

    @cached_property
    def tokenizer(self) -> Tokenizer:  # type: ignore[override]
        """The library's own tokenizer, which is read when a text has a special token's name in it."""
        tokenizer = Tokenizer.from_file(str(self.file))
        tokenizer.no_padding()
        if self.max_tokens is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text: cleaned, cut, not padded. A text may have none if `special` is off."""
        found: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            chunk = [self.prefix + clean_text(text) for text in texts[start : start + TEXTS_PER_CALL]]
            with self._lock:  # what is remembered belongs to all threads
                found += self._ids(chunk)
        return found

    def _ids(self, texts: list[str]) -> list[list[int]]:
        rows, known = [text.split(" ") for text in texts], self._remembered
        if len(known) > REMEMBERED:
            known.clear()
        new = list({word for words in rows for word in words if word not in known})
        self._learn(new)
        found = [self._row(text, words) for text, words in zip(texts, rows, strict=True)]
        for word in new:
            if len(word) > LONGEST_WORD:
                del known[word]
        return found

    def _row(self, text: str, words: list[str]) -> list[int]:
        if any(name in text for name in self._names):
            return self.tokenizer.encode(text, add_special_tokens=self.special).ids
        ids: list[int] = []
        for word in words:
            cut = self._remembered[word]
            if cut is None:
                ids = [number for one in self.pieces.cut(self._parts(self._normalize(text))) for number in one]
                break
            ids += cut
        if self.max_tokens is not None:
            ids = ids[: self.max_tokens - len(self.before) - len(self.after)]
        return [*self.before, *ids, *self.after]

    def _learn(self, words: list[str]) -> None:
        """Cut new words; None for one that means something else beside others: nothing, or with space at its ends."""
        parts, counts = list[str](), list[int]()
        normals = self._normalize(BETWEEN.join(words)).split(BETWEEN)
        if len(normals) != len(words):
            normals = [self._normalize(word) for word in words]
        for normal in normals:
            if not normal or normal[0] == " " or normal[-1] == " " or SPACE in normal:
                counts.append(0)
                continue
            if normal.isalpha():
                parts.append(SPACE + normal)
                counts.append(1)
                continue
            own = self._parts(normal)
            parts += own
            counts.append(len(own))
        cuts = iter(self.pieces.cut(parts))
        for word, count in zip(words, counts, strict=True):
            if count == 1:
                self._remembered[word] = next(cuts)
            else:
                self._remembered[word] = sum((next(cuts) for _ in range(count)), ()) if count else None

    def _parts(self, normal: str) -> list[str]:
        return [part for part, _ in self._split(normal)]

    def _cut_at(self, max_tokens: int | None, setting: dict[str, Any] | None) -> int | None:
        if max_tokens is None:
            return setting["max_length"] if setting else None
        self.check_room(max_tokens, len(self.before) + len(self.after))
        return max_tokens


def _fits(content: dict[str, Any], special: bool) -> bool:
    """Whether a `tokenizer.json` is one that this module cuts exactly as the library does."""
    model, truncation = content["model"], content["truncation"]
    return (
        model["type"] == "Unigram"
        and not model.get("byte_fallback")
        and isinstance(model["unk_id"], int)
        and all(map(_is_local, _listed(content["normalizer"], "normalizers")))
        and _splits_words(_listed(content["pre_tokenizer"], "pretokenizers"))
        and not any(entry["normalized"] for entry in content["added_tokens"])
        and (not special or _frame(content["post_processor"]) is not None)
        and (not truncation or truncation["direction"] == "Right")
    )


def _listed(step: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    return [] if step is None else step.get(name, [step])


def _is_local(step: dict[str, Any]) -> bool:
    """Whether a step of normalisation changes each word by itself."""
    if step["type"] != "Replace" or step == SPACES:
        return step["type"] in LOCAL
    from compact_labse.vocabulary import ACCENTS, MARKS

    return step["content"] == "" and step["pattern"].get("Regex") in (ACCENTS, MARKS, f"{ACCENTS}|{MARKS}")


def _splits_words(steps: list[dict[str, Any]]) -> bool:
    return steps[:1] == [WORDS] and all(step["type"] in SPLITS for step in steps[1:])


def _frame(processor: dict[str, Any] | None) -> tuple[list[int], list[int]] | None:
    """The ids that a template puts before and after a text; None for another template or processor."""
    if processor is None:
        return [], []
    if processor["type"] != "TemplateProcessing":
        return None
    ids: tuple[list[int], list[int]] = ([], [])
    texts = 0
    for part in processor["single"]:
        if "Sequence" in part:
            texts += 1
        else:
            ids[texts > 0].extend(processor["special_tokens"][part["SpecialToken"]["id"]]["ids"])
    return ids if texts == 1 else None
