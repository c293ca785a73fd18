"""Clean and deduplicate pairs and texts as they stream by, and account for everything that is dropped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from compact_labse.corpus.account import Account
from compact_labse.corpus.cleaning import Cleaning
from compact_labse.corpus.dedup import Seen, hash64
from compact_labse.corpus.records import UNKNOWN, Pair
from compact_labse.corpus.scripts import has_letters, script_share

__all__ = ["Cleaning", "clean_pairs", "clean_texts", "tidy"]

STEP = "cleaning"

# Control and invisible formatting characters. Joiners (U+200C, U+200D) shape Persian, Indic scripts and emoji and stay.
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]+"
)
_DAMAGED = re.compile("[\ufffd\ud800-\udfff]")


def tidy(text: str) -> str:
    """NFC, without control and invisible characters, each run of white space one space, none at the ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _CONTROLS.sub("", text))
    elif not text.isprintable():
        text = _CONTROLS.sub("", text)
    return " ".join(text.split())


def clean_pairs(
    pairs: Iterable[Pair], cleaning: Cleaning | None = None, account: Account | None = None
) -> Iterator[Pair]:
    """The pairs that pass every check, tidied, in their order; `account` counts the others by reason and language.

    The reasons: damaged characters, too short, too long, length ratio, no letters, wrong script (of the target), copy,
    duplicate. Streams: memory grows only by the hashes that deduplication needs.
    """
    cleaning, step = cleaning or Cleaning(), (account or Account()).step(STEP)
    seen = Seen() if cleaning.drop_duplicates else None
    for pair in pairs:
        source, target, language = tidy(pair.source), tidy(pair.target), pair.language
        step.read[language] += 1
        reason = _flaw(source, cleaning) or _flaw(target, cleaning) or _pair_flaw(source, target, language, cleaning)
        if reason is None and seen is not None and not seen.add(hash64(f"{source}\n{target}".casefold())):
            reason = "duplicate"
        if reason is None:
            yield Pair(source, target, language)
        else:
            step.drop(language, reason, source, target)


def clean_texts(
    texts: Iterable[str],
    cleaning: Cleaning | None = None,
    account: Account | None = None,
    *,
    language: str = UNKNOWN,
) -> Iterator[str]:
    """The texts that pass every check that makes sense for one side, tidied; counted under `language`."""
    cleaning, step = cleaning or Cleaning(), (account or Account()).step(STEP)
    seen = Seen() if cleaning.drop_duplicates else None
    for raw in texts:
        text = tidy(raw)
        step.read[language] += 1
        reason = _flaw(text, cleaning) or _script_flaw(text, language, cleaning)
        if reason is None and seen is not None and not seen.add(hash64(text.casefold())):
            reason = "duplicate"
        if reason is None:
            yield text
        else:
            step.drop(language, reason, text)


def _flaw(text: str, cleaning: Cleaning) -> str | None:
    if len(text) < cleaning.min_chars:
        return "too short"
    if len(text) > cleaning.max_chars:
        return "too long"
    if not text.isascii() and _DAMAGED.search(text):
        return "damaged characters"
    if cleaning.letters and not has_letters(text):
        return "no letters"
    return None


def _pair_flaw(source: str, target: str, language: str, cleaning: Cleaning) -> str | None:
    short, long = sorted((len(source), len(target)))
    if long + cleaning.ratio_slack > cleaning.max_ratio * (short + cleaning.ratio_slack):
        return "length ratio"
    if cleaning.drop_copies and source.casefold() == target.casefold():
        return "copy"
    return _script_flaw(target, language, cleaning)


def _script_flaw(text: str, language: str, cleaning: Cleaning) -> str | None:
    if cleaning.min_script and script_share(text, language) < cleaning.min_script:
        return "wrong script"
    return None
