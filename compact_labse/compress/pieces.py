"""The pieces of a tokenizer as `tokenizer.json` has them, and which of them may never go.

A WordPiece, Unigram or BPE falls back on single characters (or bytes) where a longer piece is missing. These stay, so
that text in a script that was served before is cut finer, and never becomes unknown without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.errors import UserError

KINDS = ("WordPiece", "Unigram", "BPE")
SPACE = "▁"
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
PLACEHOLDER = re.compile(r"[\[<](unused|extra_id_|madeupword)_?\d+[\]>]")
FIRST_IDS = 4  # configurations leave out the ids of bos, pad, eos and unk where they are their family's own


class Pieces:
    """A tokenizer's pieces by id. UserError for a kind of tokenizer that trim does not know."""

    def __init__(self, content: dict[str, Any], where: str) -> None:
        self.content, self.model = content, content["model"]
        self.kind: str = self.model.get("type") or _guess(self.model)
        if self.kind not in KINDS:
            raise UserError(f"{where}: a tokenizer of kind {self.kind!r}; those of kind {', '.join(KINDS)} are trimmed")
        self.prefix: str = self.model.get("continuing_subword_prefix") or ""
        self.suffix: str = self.model.get("end_of_word_suffix") or ""

    @cached_property
    def by_id(self) -> list[str]:
        """Every piece; ids that no piece has are empty strings."""
        vocabulary = self.model["vocab"]
        ids = (
            {place: piece for place, (piece, _) in enumerate(vocabulary)}
            if self.kind == "Unigram"
            else {number: piece for piece, number in vocabulary.items()}
        )
        ids |= {token["id"]: token["content"] for token in self.content.get("added_tokens") or ()}
        return [ids.get(number, "") for number in range(max(ids) + 1)]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece."""
        return {piece: number for number, piece in enumerate(self.by_id)}

    @cached_property
    def of_bytes(self) -> bool:
        """Whether pieces spell bytes, not characters (the BPE of GPT-2 and RoBERTa)."""
        parts = [self.content.get("pre_tokenizer") or {}, self.content.get("decoder") or {}]
        parts += [inner for part in parts for inner in part.get("pretokenizers", part.get("decoders", []))]
        return any(part.get("type") == "ByteLevel" for part in parts)

    def fixed(self, named: set[int]) -> set[int]:
        """Ids that stay in any case: added and special tokens, those that configurations name (`named`), the first."""
        found = {token["id"] for token in self.content.get("added_tokens") or ()}
        found |= set(range(min(FIRST_IDS, len(self.by_id)))) | set(processor_ids(self.content.get("post_processor")))
        found |= {number for number in named if 0 <= number < len(self.by_id)}
        if self.kind == "Unigram":
            if self.model.get("unk_id") is not None:
                found.add(self.model["unk_id"])
            # An unknown character costs ten more than the least likely piece: were that to go, texts would be cut anew.
            found.add(int(np.argmin([score for _, score in self.model["vocab"]])))
        elif self.model.get("unk_token") in self.ids:
            found.add(self.ids[self.model["unk_token"]])
        return found

    def characters(self) -> set[int]:
        """Ids of single characters and bytes, in every form that the vocabulary has."""
        lone = self.kind == "Unigram" and SPACE not in self.ids  # then a word's first letter cannot do without it
        found = set()
        for number, piece in enumerate(self.by_id):
            text = self.bare(piece)
            if len(text) == 1 or BYTE.fullmatch(piece) or (lone and len(text.replace(SPACE, "")) == 1):
                found.add(number)
        return found

    def irreplaceable(self, tokenizer: Tokenizer) -> set[int]:
        """Ids of pieces with a character that has no piece of its own, so that nothing could stand for them."""
        if self.kind == "BPE":  # merged from characters and bytes by definition
            return set()
        found = []
        for number, piece in enumerate(self.by_id):
            if piece and len(self.bare(piece)) > 1 and any(one not in self.ids for one in self._parts(piece)):
                found.append(number)
        # [unused1] and the like are no text's piece
        cut = tokenizer.encode_batch_fast([self.bare(self.by_id[number]) for number in found], add_special_tokens=False)
        inner = [bool(self.prefix) and self.by_id[number].startswith(self.prefix) for number in found]
        return {n for n, encoding, within in zip(found, cut, inner, strict=True) if within or encoding.ids == [n]}

    def bare(self, piece: str) -> str:
        """A piece without the marks of a word's inside or end."""
        if self.prefix and piece.startswith(self.prefix) and piece != self.prefix:
            piece = piece[len(self.prefix) :]
        if self.suffix and piece.endswith(self.suffix) and piece != self.suffix:
            piece = piece[: -len(self.suffix)]
        return piece

    def letters(self, piece: str) -> str | None:
        """What a piece spells, without spaces; None for placeholders and for pieces of incomplete characters."""
        if PLACEHOLDER.fullmatch(piece) or BYTE.fullmatch(piece):
            return None
        if self.of_bytes:
            try:
                raw = bytes(_byte_of()[one] for one in piece)
                return raw.decode().replace(" ", "")
            except (KeyError, UnicodeDecodeError):
                return None
        return self.bare(piece).replace(SPACE, "")

    def _parts(self, piece: str) -> Iterator[str]:
        """The single-character pieces that would replace a piece."""
        if self.kind == "Unigram":
            yield from (one for one in piece if one != SPACE)
            return
        text = self.bare(piece)
        inside = text != piece or not self.prefix
        yield (self.prefix if inside else "") + text[0]
        yield from (self.prefix + one for one in text[1:])


def processor_ids(processor: dict[str, Any] | None) -> Iterator[int]:
    """The ids that a post-processor puts around texts."""
    if not processor:
        return
    for inner in processor.get("processors", []):
        yield from processor_ids(inner)
    for token in (processor.get("special_tokens") or {}).values():
        yield from token["ids"]
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            yield processor[name][1]


def _guess(model: dict[str, Any]) -> str:
    """Files of old versions leave the kind out."""
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "max_input_chars_per_word" in model else "unknown"


@cache
def _byte_of() -> dict[str, int]:
    """Which byte a character of a byte-level piece stands for: itself where it is visible, else the next from 256."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = sorted(set(range(256)) - set(visible))
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}
