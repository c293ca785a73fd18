"""Pairs on disk: cleaned texts with keys, languages and a held-out part, memory-mapped; and their token ids.

Shapes: N pairs, U distinct source texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.corpus.decontaminate import normalise
from compact_labse.corpus.dedup import hash64
from compact_labse.corpus.sampling import temperature_weights
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig, Record
from compact_labse.progress import say, track
from compact_labse.shards import RaggedWriter, Texts, read_array, write_array
from compact_labse.tokens import Tokens
from compact_labse.training.sampler import grouped

CHUNK = 20_000
MOST_FILES = 1 << 16  # their numbers are stored in 16 bits
HELDOUT_CHARACTERS = 12  # words and labels tell little about retrieval
ARRAYS = {
    "source_key": "uint64",
    "target_key": "uint64",
    "language": "uint16",
    "origin": "uint16",
    "unique": "uint32",
    "first": "int64",
    "train": "int64",
    "heldout": "int64",
}


def write_pairs(records: Iterable[Record], config: CorpusConfig, folder: Path) -> dict[str, Any]:
    """Store records in `folder`; gives their number by language. A second copy of a pair is stored but not used.

    Raises UserError when no pair is left.
    """
    languages: dict[str, int] = {}
    facts: list[np.ndarray] = []
    with RaggedWriter(folder, "source", "uint8") as sources, RaggedWriter(folder, "target", "uint8") as targets:
        for chunk in _chunks(records):
            sources.extend([record.source.encode() for record in chunk])
            targets.extend([record.target.encode() for record in chunk])
            facts.append(np.array([_facts(record, languages) for record in chunk], dtype=np.uint64))
    if not facts:
        raise UserError("no pair of the corpus is left to train on")
    source_key_N, target_key_N, language_N, origin_N = np.concatenate(facts).T
    if max(language_N.max(), origin_N.max()) >= MOST_FILES:
        raise UserError(f"a corpus may have {MOST_FILES:,} files and languages, this one has more: join some files")
    _, first_U, unique_N = np.unique(source_key_N, return_index=True, return_inverse=True)
    use_N = _first_copies(source_key_N, target_key_N)
    heldout_N = use_N & _held_out(source_key_N, target_key_N, language_N, _lengths(folder), config)
    # A sentence that is held out in one language is not trained on in another.
    use_N &= ~np.isin(source_key_N, source_key_N[heldout_N])
    arrays = (source_key_N, target_key_N, language_N, origin_N, unique_N, first_U)
    for (name, dtype), values in zip(ARRAYS.items(), (*arrays, *map(np.flatnonzero, (use_N, heldout_N))), strict=True):
        write_array(folder / f"{name}.array", values.astype(dtype))
    (folder / "languages.json").write_text(json.dumps(list(languages)))
    counts = np.bincount(language_N[use_N].astype(int), minlength=len(languages))
    return {
        "pairs": int(use_N.sum()),
        "heldout": int(heldout_N.sum()),
        "sources": len(first_U),
        "languages": dict(zip(languages, counts.tolist(), strict=True)),
    }


class Pairs:
    """Stored pairs: texts, and what is known about each. Everything is memory-mapped.

    `source_key`, `target_key` `[N]`: equal for texts that differ only in case and punctuation; `language`, `origin`
    `[N]`: numbers of the language (`languages`) and the file; `unique` `[N]`: number of the distinct source text, and
    `first` `[U]`: the row where that text occurs first; `train_rows` and `heldout_rows`: which rows are for what.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.target = Texts(folder, "source"), Texts(folder, "target")
        self.languages: list[str] = json.loads((folder / "languages.json").read_text())
        arrays = {name: read_array(folder / f"{name}.array", dtype) for name, dtype in ARRAYS.items()}
        self.source_key, self.target_key = arrays["source_key"], arrays["target_key"]
        self.language, self.origin = arrays["language"], arrays["origin"]
        self.unique, self.first = arrays["unique"], arrays["first"]
        self.train_rows, self.heldout_rows = arrays["train"], arrays["heldout"]

    def __len__(self) -> int:
        return len(self.source)


def write_tokens(pairs: Pairs, tokenizer: Tokenizer, max_tokens: int, special: bool, folder: Path) -> dict[str, Any]:
    """Token ids of all sources and targets into `folder`; gives the mean number of tokens per text."""
    tokens = Tokens(Tokenizer.from_str(tokenizer.to_str()), max_tokens=max_tokens, special=special)
    total = 0
    for name, texts in (("source", pairs.source), ("target", pairs.target)):
        with RaggedWriter(folder, f"{name}_ids", "uint32") as writer:
            starts = range(0, len(texts), CHUNK)
            for start in track(starts, f"tokenizing {name}s"):
                rows = tokens.ids(texts.texts(np.arange(start, min(start + CHUNK, len(texts)))))
                total += sum(map(len, rows))
                writer.extend(rows)
    return {"tokens_per_text": round(total / max(1, 2 * len(pairs)), 2)}


def sampled_texts(
    pairs: Pairs, count: int, temperature: float, seed: int, weight_F: np.ndarray | None = None
) -> Iterator[str]:
    """About `count` texts of the training pairs: languages by temperature, the source side as one more language.

    With `weight_F`, a weight per file of the corpus, the texts of a file are taken that much less or more often.
    """
    random = np.random.default_rng([seed, 2])
    weight_N = np.ones(len(pairs)) if weight_F is None else weight_F[pairs.origin]
    groups = grouped(pairs.language[pairs.train_rows])
    found = {pairs.languages[number]: (pairs.target, pairs.train_rows[rows]) for number, rows in groups.items()}
    found["source"] = (pairs.source, pairs.first[np.unique(pairs.unique[pairs.train_rows])])
    share = temperature_weights({name: len(rows) for name, (_, rows) in found.items()}, temperature)
    for name, (texts, rows) in found.items():
        rows = rows[weight_N[rows] > 0]
        wanted = min(len(rows), round(count * share[name]))
        # Smallest exponential variates over weights: sampling without replacement (Efraimidis and Spirakis 2006).
        order = random.exponential(size=len(rows)) / weight_N[rows]
        for row in np.sort(rows[np.argsort(order)[:wanted]]):
            yield texts[int(row)]


def text_key(text: str) -> int:
    """64 bits that are equal for texts that differ only in case, punctuation and spaces."""
    return hash64(normalise(text) or text)


def _facts(record: Record, languages: dict[str, int]) -> tuple[int, int, int, int]:
    language = languages.setdefault(record.language, len(languages))
    return text_key(record.source), text_key(record.target), language, record.origin


def _first_copies(source_key_N: np.ndarray, target_key_N: np.ndarray) -> np.ndarray:
    both_N = source_key_N * np.uint64(0x9E3779B97F4A7C15) + target_key_N  # wraps around, on purpose
    use_N = np.zeros(len(both_N), bool)
    use_N[np.unique(both_N, return_index=True)[1]] = True
    return use_N


def _lengths(folder: Path) -> np.ndarray:
    return np.diff(read_array(folder / "source.starts.bin", "int64"))


def _held_out(
    source_key_N: np.ndarray,
    target_key_N: np.ndarray,
    language_N: np.ndarray,
    length_N: np.ndarray,
    config: CorpusConfig,
) -> np.ndarray:
    """Per language the pairs with the smallest source keys (hashes, so a random but lasting choice)."""
    held_N = np.zeros(len(source_key_N), bool)
    for language in np.unique(language_N):
        long_N = (length_N >= HELDOUT_CHARACTERS) & (source_key_N != target_key_N)
        rows = np.flatnonzero((language_N == language) & long_N)
        count = min(config.heldout, int(config.heldout_share * len(rows)))
        # Distinct on both sides: a second translation of a held-out sentence would be counted as a mistake.
        rows = rows[np.unique(source_key_N[rows], return_index=True)[1]]
        rows = rows[np.unique(target_key_N[rows], return_index=True)[1]]
        held_N[rows[np.argsort(source_key_N[rows])[:count]]] = True
    return held_N


def _chunks(records: Iterable[Record]) -> Iterator[Sequence[Record]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def note_counts(facts: dict[str, Any]) -> None:
    """Say what a corpus consists of."""
    largest = sorted(facts["languages"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in largest[:8])
    more = f" and {len(largest) - 8} more" if len(largest) > 8 else ""
    say(f"corpus: {facts['pairs']:,} pairs, {facts['heldout']:,} held out; {shown}{more}")
