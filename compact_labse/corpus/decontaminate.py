"""Remove evaluation sentences from training text, so that a benchmark measures generalisation and not memory."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from compact_labse.corpus.account import Account
from compact_labse.corpus.read import read_cells
from compact_labse.corpus.records import UNKNOWN, Pair
from compact_labse.errors import UserError
from compact_labse.progress import say

STEP = REASON = "evaluation sentence"

_BEYOND = re.compile("[\U00010000-\U0010ffff]")
_ASCII = {code: None for code in range(128) if unicodedata.category(chr(code))[0] in "PZC"}


def normalise(text: str) -> str:
    """What two writings of one sentence share: NFKC, casefold, without punctuation, spaces and control characters.

    Symbols (+, $, emoji) and combining marks stay; a text of nothing but punctuation becomes "".
    """
    if text.isascii():
        return text.lower().translate(_ASCII)
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = _ignored(0).sub("", folded)
    if _BEYOND.search(kept):
        kept = _ignored(1).sub("", kept)
    return unicodedata.normalize("NFKC", kept)


class EvaluationSentences:
    """The normalised sentences of evaluation sets; `text in sentences` says whether a text is one of them."""

    def __init__(self, normalised: frozenset[str]) -> None:
        self._normalised = normalised

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> EvaluationSentences:
        """Take sentences of any language. Those that normalise to nothing, or to digits alone, are left out."""
        found = {normalise(text) for text in texts}
        return cls(frozenset(text for text in found if text and not text.isdigit()))

    @classmethod
    def from_files(cls, *paths: str | Path, report: Callable[[str], None] = say) -> EvaluationSentences:
        """Take every cell of every column of files, folders or globs, in any format that corpora have.

        Raises UserError as `read_pairs` does, and when there is no sentence in them.
        """
        sentences = cls.from_texts(read_cells(paths, report=report))
        if not sentences:
            raise UserError(f"no evaluation sentence in {', '.join(map(str, paths))}")
        return sentences

    def __contains__(self, text: str) -> bool:
        return normalise(text) in self._normalised

    def __len__(self) -> int:
        return len(self._normalised)


def without_evaluation(
    pairs: Iterable[Pair], sentences: EvaluationSentences, account: Account | None = None
) -> Iterator[Pair]:
    """The pairs of which neither side equals an evaluation sentence after `normalise`."""
    step = (account or Account()).step(STEP)
    for pair in pairs:
        step.read[pair.language] += 1
        if pair.source in sentences or pair.target in sentences:
            step.drop(pair.language, REASON, pair.source, pair.target)
        else:
            yield pair


def texts_without_evaluation(
    texts: Iterable[str], sentences: EvaluationSentences, account: Account | None = None, *, language: str = UNKNOWN
) -> Iterator[str]:
    """The texts that are no evaluation sentence after `normalise`, counted under `language`."""
    step = (account or Account()).step(STEP)
    for text in texts:
        step.read[language] += 1
        if text in sentences:
            step.drop(language, REASON, text)
        else:
            yield text


@functools.cache
def _ignored(part: int) -> re.Pattern[str]:
    """Runs of punctuation, separators and controls: part 0 in the basic plane, part 1 in the next and among the tags.

    Apart, because `re` looks up a basic character in a bitmap, but goes through all ranges beyond one by one.
    """
    codes = range(0x10000) if part == 0 else [*range(0x10000, 0x20000), *range(0xE0000, 0xE0080)]
    ignored = [code for code in codes if unicodedata.category(chr(code)) in _IGNORED]
    starts = [code for code, before in zip(ignored, [-2, *ignored], strict=False) if code != before + 1]
    ends = [code for code, after in zip(ignored, [*ignored[1:], -2], strict=True) if after != code + 1]
    ranges = (f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in zip(starts, ends, strict=True))
    return re.compile(f"[{''.join(ranges)}]+")


# Not Cs, Co, Cn: surrogates, private and unassigned characters are content, whatever it is.
_IGNORED = frozenset(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs", "Zl", "Zp", "Cc", "Cf"))
