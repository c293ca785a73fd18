"""A held-out split that needs no list: whether a pair is held out depends on its source sentence alone."""

from __future__ import annotations

from compact_labse.corpus.decontaminate import normalise
from compact_labse.corpus.dedup import hash64
from compact_labse.corpus.records import Pair
from compact_labse.errors import UserError

_RANGE = 2**64


def held_out(pair: Pair | str, fraction: float, salt: str = "") -> bool:
    """Whether a pair (or a text) belongs to the held-out `fraction` (0 to 1) of a corpus.

    Decided by a hash of the normalised source and `salt`, so the answer is the same in every run, file order and
    machine; a source sentence, in all its languages, spellings of case and punctuation, falls on one side; and a larger
    fraction holds out all that a smaller one does. Another salt gives an independent split. A target sentence with two
    different sources may fall on both sides.
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"the held-out fraction is from 0 to 1, got {fraction}")
    source = pair if isinstance(pair, str) else pair.source
    return hash64(f"{salt}\n{normalise(source) or source}") < fraction * _RANGE
