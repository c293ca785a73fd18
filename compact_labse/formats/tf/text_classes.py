"""Which characters a tokenizer removes, spaces out or cuts at, asked of the tokenizer itself, as RE2 classes.

Tables of Unicode differ between libraries and their versions; what the reference does with each character does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from tokenizers import normalizers, pre_tokenizers

from compact_labse.errors import UserError

MARK = "|"  # between characters while they are asked for, and itself asked for apart
STEP = 20_000  # characters in one call
SURROGATES = range(0xD800, 0xE000)
# Planes 4 to 13 are empty, and 15 and 16 are for private use: their first character stands for all.
ASKED = (range(1, 0x40000), range(0xE0000, 0xE1000), range(0xF0000, 0xF0001))
PRIVATE = range(0xF0000, 0x10FFFE)


@lru_cache(maxsize=1)
def _characters() -> tuple[str, ...]:
    return tuple(chr(code) for part in ASKED for code in part if code not in SURROGATES and chr(code) != MARK)


def changed(normalizer: normalizers.Normalizer, when: Callable[[str, str], bool]) -> str:
    """The RE2 class of the characters for which `when(character, normalised)` holds; "" if there are none."""
    found, characters = [], _characters()
    for start in range(0, len(characters), STEP):
        part = characters[start : start + STEP]
        results = normalizer.normalize_str(MARK.join(part)).split(MARK)
        if len(results) != len(part):
            raise UserError("the tokenizer's normaliser looks at more than single characters")
        found += [character for character, result in zip(part, results, strict=True) if when(character, result)]
    if when(MARK, normalizer.normalize_str(MARK)):
        found.append(MARK)
    return re2_class(found)


def isolated(splitter: pre_tokenizers.PreTokenizer) -> str:
    """The RE2 class of the characters that a pre-tokenizer makes words of their own, even between letters."""
    return _split(splitter, kept=True)


def dropped(splitter: pre_tokenizers.PreTokenizer) -> str:
    """The RE2 class of the characters that a pre-tokenizer cuts at and drops."""
    return _split(splitter, kept=False)


def _split(splitter: pre_tokenizers.PreTokenizer, *, kept: bool) -> str:
    found, characters = [], (*_characters(), MARK)
    for start in range(0, len(characters), STEP):
        part = characters[start : start + STEP]
        spans = {span for _, span in splitter.pre_tokenize_str("a" + "a".join(part) + "a")}
        covered = {place for first, last in spans for place in range(first, last)}
        for number, character in enumerate(part):
            place = 2 * number + 1
            if (place, place + 1) in spans if kept else place not in covered:
                found.append(character)
    return re2_class([character for character in found if character != "a"])


def re2_class(characters: Iterable[str]) -> str:
    """A class such as `[\\x{61}-\\x{7A}]` of these characters; "" for none."""
    codes = sorted({ord(character) for character in characters})
    if codes and codes[-1] == PRIVATE[0]:
        codes = [*codes[:-1], *PRIVATE]
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    ranges = "".join(f"\\x{{{a:X}}}" if a == b else f"\\x{{{a:X}}}-\\x{{{b:X}}}" for a, b in runs)
    return f"[{ranges}]" if ranges else ""
