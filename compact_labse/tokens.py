"""Text to token ids, and token ids to padded batches. Needs only `tokenizers` and numpy.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers
from tokenizers.implementations import BertWordPieceTokenizer

from compact_labse.errors import UserError
from compact_labse.settings import default_prompt, read_json, text_config

TEXTS_PER_CALL = (
    1024  # an Encoding keeps token strings too: tokenizing everything at once would cost far more than the ids
)
PAD_NAMES = ("[PAD]", "<pad>", "<PAD>", "<|padding|>")
UNKNOWN_NAMES = ("[UNK]", "<unk>", "<UNK>", "<|unk|>")


def clean_text(text: str) -> str:
    """The text as a tokenizer can take it: NUL removed, each lone surrogate replaced by U+FFFD, nothing else.

    A high surrogate followed by a low one, as broken JSON decoders leave them, becomes the character that they mean.
    """
    text = text.replace("\0", "")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list; UserError for one string instead of several, or for an item that is no string."""
    if isinstance(texts, (str, bytes)):
        raise UserError(f"encode takes a list of texts, got one {type(texts).__name__}: write encode([text]).")
    found = list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise UserError(f"encode takes a list of str, but item {row} is {type(text).__name__}: {text!r:.60}.")
    return found


def batches(lengths: Sequence[int], token_budget: int, max_batch: int = 256) -> list[np.ndarray]:
    """Rows of similar length together: index arrays, longest rows first, each with `rows * longest <= token_budget`.

    A row longer than the budget is a batch of its own. Every index of `lengths` occurs exactly once.
    """
    if token_budget < 1 or max_batch < 1:
        raise UserError(f"token_budget and max_batch must be at least 1, got {token_budget} and {max_batch}.")
    lengths_N = np.asarray(lengths, dtype=np.int64)
    order_N = np.argsort(-lengths_N, kind="stable")
    found, start = [], 0
    while start < len(order_N):
        longest = max(1, int(lengths_N[order_N[start]]))
        stop = start + max(1, min(max_batch, token_budget // longest))
        found.append(order_N[start:stop])
        start = stop
    return found


def pad(ids: list[list[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as int64 `ids_BT`, filled up with `pad_id` on the right, and their `mask_BT` of ones and zeros."""
    lengths_B = np.array([len(row) for row in ids], dtype=np.int64)
    mask_BT = np.arange(max(lengths_B, default=0))[None, :] < lengths_B[:, None]
    ids_BT = np.full(mask_BT.shape, pad_id, dtype=np.int64)
    if mask_BT.any():
        ids_BT[mask_BT] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return ids_BT, mask_BT.astype(np.int64)


class Tokens:
    """A tokenizer that takes any text, cuts at `max_tokens` (special tokens included) and never pads.

    `special` adds the tokenizer's own special tokens ([CLS] ... [SEP]); `prefix` is put before every text (the prompt
    that a model was trained with); `pad_id` overrides what the tokenizer says.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int | None = None,
        special: bool = True,
        prefix: str = "",
        pad_id: int | None = None,
    ) -> None:
        self.tokenizer, self.special, self.prefix = tokenizer, special, prefix
        padding = tokenizer.padding
        tokenizer.no_padding()
        self.pad_id: int = pad_id if pad_id is not None else padding["pad_id"] if padding else _pad_id(tokenizer)
        self.unk_id: int | None = _unknown_id(tokenizer)
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.max_tokens: int | None = self._truncate_at(max_tokens)

    @classmethod
    def from_folder(cls, folder: Path | str, max_tokens: int | None = None, special: bool = True) -> Tokens:
        """The tokenizer of a model folder: `tokenizer.json`, else the `vocab.txt` of a WordPiece.

        With `max_tokens=None` the cut is what `tokenizer.json` says, else there is none. The folder's default prompt
        and `do_lower_case` are applied. UserError if neither file is there or readable.
        """
        folder = Path(folder)
        tokenizer = _read_tokenizer(folder)
        if text_config(folder).get("do_lower_case"):
            _lower_case(tokenizer)
        return cls(tokenizer, max_tokens=max_tokens, special=special, prefix=default_prompt(folder))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text: cleaned, cut, not padded. A text may have none if `special` is off."""
        cleaned = [self.prefix + clean_text(text) for text in texts]
        if len(cleaned) == 1:  # a batch call starts the thread pool, which costs one query more than it gives
            return [self.tokenizer.encode(cleaned[0], add_special_tokens=self.special).ids]
        found: list[list[int]] = []
        for start in range(0, len(cleaned), TEXTS_PER_CALL):
            chunk = cleaned[start : start + TEXTS_PER_CALL]
            found += [e.ids for e in self.tokenizer.encode_batch_fast(chunk, add_special_tokens=self.special)]
        return found

    @staticmethod
    def check_room(max_tokens: int, specials: int) -> None:
        """UserError unless `max_tokens` leaves room for a token beside so many special ones."""
        if max_tokens <= specials:
            raise UserError(f"max_tokens is {max_tokens}, but {specials} special tokens and one more must fit.")

    def _truncate_at(self, max_tokens: int | None) -> int | None:
        setting: dict[str, Any] = self.tokenizer.truncation or {}
        if max_tokens is None:
            return setting.get("max_length")
        self.check_room(max_tokens, self.tokenizer.num_special_tokens_to_add(False) if self.special else 0)
        self.tokenizer.enable_truncation(max_tokens, direction=setting.get("direction", "right"))
        return max_tokens


def _read_tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if file.is_file():
        try:
            return Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception for every kind of damage
            raise UserError(f"{file} is not a readable tokenizer: {error}.") from error
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        raise UserError(f"No tokenizer in {folder}: neither tokenizer.json nor vocab.txt.")
    config = read_json(folder / "tokenizer_config.json")
    return BertWordPieceTokenizer(
        str(vocabulary),
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )._tokenizer


def _lower_case(tokenizer: Tokenizer) -> None:
    first = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([first, tokenizer.normalizer]) if tokenizer.normalizer else first


def _first_known(tokenizer: Tokenizer, names: Sequence[str]) -> int | None:
    return next((i for name in names if (i := tokenizer.token_to_id(name)) is not None), None)


def _pad_id(tokenizer: Tokenizer) -> int:
    found = _first_known(tokenizer, PAD_NAMES)
    return 0 if found is None else found


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    named = getattr(tokenizer.model, "unk_token", None)
    found = _first_known(tokenizer, (named, *UNKNOWN_NAMES) if named else UNKNOWN_NAMES)
    if found is None and isinstance(tokenizer.model, models.Unigram):  # its unk_id is not exposed
        return json.loads(tokenizer.to_str())["model"]["unk_id"]
    return found
