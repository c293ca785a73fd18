"""Real text cut to an exact number of tokens, whatever the tokenizer. Shapes: B batch, T tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError


def texts_of_shape(encoder: Encoder, texts: Sequence[str], batch: int, tokens: int) -> tuple[list[str], np.ndarray]:
    """Real text cut so that it has `tokens` tokens of this encoder (special ones included), and int64 ids [B, T].

    UserError if the encoder takes fewer tokens than that.
    """
    if encoder.max_tokens is not None and encoder.max_tokens < tokens:
        raise UserError(f"not measured: the model takes at most {encoder.max_tokens} tokens, not {tokens}")
    rows = [_cut(encoder, _long_text(texts, row, 12 * tokens), tokens) for row in range(batch)]
    ids = [_exactly(found, tokens) for found in encoder.tokenize(rows)]
    return rows, np.asarray(ids, dtype=np.int64)


def _long_text(texts: Sequence[str], start: int, characters: int) -> str:
    joined, row = texts[start % len(texts)], start
    while len(joined) < characters:
        row += 1
        joined += " " + texts[row % len(texts)]
    return joined


def _cut(encoder: Encoder, text: str, tokens: int) -> str:
    """The longest beginning of at most `tokens` tokens, found by bisection over characters."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(encoder.tokenize([text[:middle]])[0]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _exactly(ids: list[int], tokens: int) -> list[int]:
    # A character can be several tokens, so the cut may fall short; the filler is a token of the text itself.
    kept = ids[: tokens - 1] if len(ids) > 1 else []
    return kept + [ids[len(ids) // 2]] * (tokens - 1 - len(kept)) + ids[-1:]
