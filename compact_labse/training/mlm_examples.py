"""Masked examples, as BERT's pretraining takes them: two segments, masked positions, is the second the next?

The recipe is that of BERT's published data preparation (Devlin et al. 2019, section 3.1 and appendix A.2): sentences of
a document are packed up to the longest row (sometimes a shorter one), split in two, and half of the second parts are
those of another document. A translation pair is a document of its own whose sides are the two segments. Shapes: T
tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from compact_labse.errors import UserError
from compact_labse.progress import track
from compact_labse.tokens import Tokens
from compact_labse.training.masking import MaskingConfig, Pieces, mask, pieces_of

RANDOM_NEXT = 0.5  # share of second segments that are another document's

Example = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ExamplesConfig:
    """How examples are made; the names are those of BERT's published tool.

    Args:
        max_seq_length: Tokens of a row, special ones included; shorter ones are filled up.
        max_predictions_per_seq: Most masked tokens of a row.
        masked_lm_prob: Share of a row's tokens that are masked.
        dupe_factor: How often the text is gone through, each time with other masks and splits.
        short_seq_prob: Share of rows that aim at a random shorter length.
        random_seed: Decides everything that is random.
        do_whole_word_mask: Mask all pieces of a word together.
    """

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    dupe_factor: int = 10
    short_seq_prob: float = 0.1
    random_seed: int = 12345
    do_whole_word_mask: bool = False

    def __post_init__(self) -> None:
        if self.max_seq_length < 8:
            raise UserError(f"--max-seq-length must be at least 8, got {self.max_seq_length}")
        if self.dupe_factor < 1 or self.max_predictions_per_seq < 1:
            raise UserError("--dupe-factor and --max-predictions-per-seq must be at least 1")
        if not 0 <= self.short_seq_prob <= 1 or not 0 < self.masked_lm_prob < 1:
            raise UserError("--short-seq-prob and --masked-lm-prob are shares between 0 and 1")
        if self.random_seed < 0:
            raise UserError(f"--random-seed must not be negative, got {self.random_seed}")


class Document(NamedTuple):
    """Token ids of each sentence, without special tokens; `pair`: there are two, which translate each other."""

    sentences: list[np.ndarray]
    pair: bool


class Row(NamedTuple):
    """The two segments of an example, and whether the second was taken from elsewhere."""

    first: np.ndarray
    second: np.ndarray
    elsewhere: bool


def examples(documents: Sequence[Document], tokenizer: Tokenizer, config: ExamplesConfig) -> Iterator[Example]:
    """Examples of all documents, `dupe_factor` times in a new order; the same for the same seed."""
    pieces, tokens = pieces_of(tokenizer), Tokens(Tokenizer.from_str(tokenizer.to_str()))
    around = tokenizer.encode("", add_special_tokens=True).ids
    if len(around) < 2:
        raise UserError("the tokenizer puts no special tokens around a text, and a BERT needs [CLS] and [SEP]")
    texts = [number for number, document in enumerate(documents) if not document.pair]
    for turn in range(config.dupe_factor):
        order = np.random.default_rng([config.random_seed, turn]).permutation(len(documents))
        for number in track(order.tolist(), f"round {turn + 1} of {config.dupe_factor}"):
            random = np.random.default_rng([config.random_seed, turn, number])
            for row in _rows(documents, number, texts, config, random):
                yield _example(row, (around[0], around[-1], tokens.pad_id), pieces, config, random)


def _rows(
    documents: Sequence[Document], number: int, texts: list[int], config: ExamplesConfig, random: np.random.Generator
) -> Iterator[Row]:
    document, most = documents[number], config.max_seq_length - 3
    if document.pair:
        yield Row(*_shortened(document.sentences[0], document.sentences[1], most, random), False)
        return
    sentences, place = document.sentences, 0
    while place < len(sentences):
        wanted = int(random.integers(2, most + 1)) if random.random() < config.short_seq_prob else most
        end = _filled(sentences, place, wanted)
        split = int(random.integers(place + 1, end)) if end - place > 1 else end
        first = np.concatenate(sentences[place:split])
        other = texts[int(random.integers(len(texts)))]
        elsewhere = other != number and (split == end or random.random() < RANDOM_NEXT)
        if elsewhere:
            start = int(random.integers(len(documents[other].sentences)))
            stop = _filled(documents[other].sentences, start, max(1, wanted - len(first)))
            second = np.concatenate(documents[other].sentences[start:stop])
            end = split  # what was not used comes next
        else:
            second = np.concatenate([first[:0], *sentences[split:end]])
        place = end
        yield Row(*_shortened(first, second, most, random), elsewhere)


def _filled(sentences: Sequence[np.ndarray], start: int, wanted: int) -> int:
    """The end of the sentences from `start` that together have at least `wanted` tokens, or of the document."""
    total = 0
    for place in range(start, len(sentences)):
        total += len(sentences[place])
        if total >= wanted:
            return place + 1
    return len(sentences)


def _shortened(
    first: np.ndarray, second: np.ndarray, most: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both cut to `most` tokens together: the longer one loses tokens, at its beginning or its end by chance."""
    sides, cut = [first, second], [[0, 0], [0, 0]]
    lengths = [len(first), len(second)]
    while sum(lengths) > most:
        longer = 0 if lengths[0] > lengths[1] else 1
        lengths[longer] -= 1
        cut[longer][int(random.random() < 0.5)] += 1
    one, other = (side[start : len(side) - end] for side, (start, end) in zip(sides, cut, strict=True))
    return one, other


def _example(
    row: Row, around: tuple[int, int, int], pieces: Pieces, config: ExamplesConfig, random: np.random.Generator
) -> Example:
    """The features by the names that Model Garden's reader takes; all are as long as the configuration says."""
    first, last, pad_id = around
    parts = [[first], row.first, [last]] + ([row.second, [last]] if len(row.second) else [])
    ids_T = np.concatenate([np.asarray(part, np.int64) for part in parts])
    masking = MaskingConfig(
        share=config.masked_lm_prob, most=config.max_predictions_per_seq, whole_words=config.do_whole_word_mask
    )
    found = mask(ids_T, np.array([0, len(ids_T)]), pieces, masking, random)
    longest, most = config.max_seq_length, config.max_predictions_per_seq
    types_T = (np.arange(len(ids_T)) >= len(row.first) + 2).astype(np.int64)
    return {
        "input_ids": _to(found.ids_K, longest, pad_id),
        "input_mask": _to(np.ones_like(ids_T), longest),
        "segment_ids": _to(types_T, longest),
        "masked_lm_positions": _to(found.places_M, most),
        "masked_lm_ids": _to(found.labels_M, most),
        "masked_lm_weights": _to(np.ones(len(found.places_M), np.float32), most),
        "next_sentence_labels": np.array([int(row.elsewhere)]),
    }


def _to(values: np.ndarray, length: int, fill: int = 0) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), fill, values.dtype)])
