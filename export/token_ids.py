"""How many texts get the tokenizer's own ids inside TensorFlow: the table in `saved_model.md`.

    python export/token_ids.py FOLDER [FOLDER ...]

All sentences of the embedded sample in every language, and the strings that break things. A folder of a bag of tokens
is taken without special tokens; `minilm` and `default` are the embedded models.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from compact_labse import sample
from compact_labse.formats.gates.agreement import HARD_TEXTS
from compact_labse.formats.tf.tokenize import TextTokenizer, write_vocabulary
from compact_labse.locate import EMBEDDED
from compact_labse.tokens import Tokens, clean_text

BATCH = 256


def differing(folder: Path) -> tuple[list[str], int]:
    """The texts whose ids differ, and how many were compared."""
    tokens = Tokens.from_folder(folder, special=False)
    tokens.tokenizer.no_truncation()
    texts = [text for group in sample.parallel().values() for text in group] + list(HARD_TEXTS)
    with tempfile.TemporaryDirectory() as place:
        tokenizer = TextTokenizer(tokens, write_vocabulary(tokens.tokenizer, Path(place)))
        run = tf.function(tokenizer.__call__, autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        found: list[list[int]] = []
        for start in range(0, len(texts), BATCH):
            ids = run(tf.constant([clean_text(text).encode() for text in texts[start : start + BATCH]]))
            found += (ids.merge_dims(1, 2) if ids.ragged_rank > 1 else ids).to_list()
    wanted = tokens.ids(texts)
    return [text for text, a, b in zip(texts, wanted, found, strict=True) if a != b], len(texts)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        other, count = differing(EMBEDDED[name]() if name in EMBEDDED else Path(name))
        print(
            f"{name}: {count - len(other):,} of {count:,} equal", *(repr(text[:60]) for text in other[:5]), sep="\n  "
        )
