"""The text of a search: most of it to choose and train on, a part held out to judge on, split by hash.

Pairs are files named like en-de.tsv.gz; everything else is text without translation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.corpus.files import TEXT_KINDS, Source, find_sources
from compact_labse.corpus.read import read_pairs, read_texts
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.measure.quality.datasets import Dataset, Parallel, Similarity
from compact_labse.measure.quality.languages import canonical
from compact_labse.measure.quality.quality import nearest

TEXTS = "texts"
MOST, MOST_HELD = 100_000, 1000  # rows of each language
HELD = 10  # one row in so many is held out
LEAST = 20  # held-out rows without which nothing can be said
TRAIN, HELD_OUT = "train", "held"
NEAR = (0, 9)  # the neighbours of a text, by rank, whose likeness is compared; and one drawn at random

Row = tuple[str, ...]


def split(paths: Sequence[str], folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write `train/` and `held/` with a file per language pair (`en-de.tsv`) and `texts.txt`; gives their rows.

    UserError if too little is held out to judge on.
    """
    kept = {name: _sampled(sources, seed) for name, sources in _grouped(find_sources(list(paths), None, TEXT_KINDS))}
    counts: dict[str, dict[str, int]] = {TRAIN: {}, HELD_OUT: {}}
    for name, rows in kept.items():
        held = [row for row in rows if _is_held(row)][:MOST_HELD]
        chosen = {part for row in held for part in row}
        train = [row for row in rows if not chosen.intersection(row)]
        for part, found in ((TRAIN, train), (HELD_OUT, held)):
            (folder / part).mkdir(exist_ok=True, parents=True)
            path = folder / part / (f"{TEXTS}.txt" if name == TEXTS else f"{name}.tsv")
            path.write_text("".join("\t".join(row) + "\n" for row in found), encoding="utf-8")
            counts[part][name] = len(found)
    if not any(count >= LEAST for count in counts[HELD_OUT].values()):
        total = sum(map(len, kept.values()))
        raise UserError(
            f"--data has {total} different texts or pairs; one in {HELD} is held out to judge on, and at least {LEAST} "
            f"are needed: give {HELD * LEAST} or more"
        )
    return counts


def files(folder: Path, part: str) -> list[Path]:
    """The files of one part."""
    return sorted((folder / part).iterdir())


def lines(paths: Sequence[Path], most: int = 400) -> list[str]:
    """Some texts of files, both sides of pairs, every file alike."""
    share = max(1, most // max(1, len(paths)))
    found = [line for path in paths for line in path.read_text(encoding="utf-8").split("\n")[:share]]
    return list(dict.fromkeys(text for line in found for text in line.split("\t") if text))


def judged_on(folder: Path, encoder: Encoder) -> list[Dataset]:
    """What is held out as data sets: pairs to find, and texts whose likeness the original (`encoder`) tells.

    A text's likeness to its nearest neighbour, its tenth, and another at random stands where a person's score would:
    the original's correlation with it is 100, and a candidate's says how far it agrees.
    """
    pairs, found = {}, list[Dataset]()
    for path in files(folder, HELD_OUT):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
        if len(rows) < LEAST:
            continue
        if path.suffix == ".tsv":
            pairs[path.stem.partition("-")[2]] = ([row[1] for row in rows], [row[0] for row in rows])
        else:
            found.append(likeness([row[0] for row in rows], encoder))
    return [*([Parallel(name="held", pairs=pairs)] if pairs else []), *found]


def in_languages(datasets: Sequence[Dataset], languages: Sequence[str]) -> list[Dataset]:
    """The parts of data sets in the languages that stay (everything if none is named): other scripts may be gone.

    UserError if nothing is left to judge on.
    """
    if not languages:
        return list(datasets)
    wanted, found = {canonical(code) for code in languages}, list[Dataset]()
    for dataset in datasets:
        pairs: Any = {code: sides for code, sides in dataset.pairs.items() if canonical(code) in wanted}
        if pairs:
            found.append(type(dataset)(name=dataset.name, pairs=pairs))
    if not found:
        there = sorted({canonical(code) for dataset in datasets for code in dataset.pairs})
        raise UserError(
            f"--eval has nothing in {', '.join(languages)}: its languages are {', '.join(there)}; leave out --eval to "
            f"judge on a tenth of --data"
        )
    return found


def likeness(texts: list[str], encoder: Encoder, seed: int = 0) -> Similarity:
    """Pairs of texts with the encoder's own cosines as scores."""
    vectors_ND = encoder.encode(texts)
    ranks = min(max(NEAR) + 1, len(texts) - 1)
    near_NK = nearest(vectors_ND, vectors_ND, ranks, skip_self=True)
    chosen = [near_NK[:, min(rank, ranks - 1)] for rank in NEAR]
    chosen.append(
        (np.arange(len(texts)) + np.random.default_rng(seed).integers(1, len(texts), len(texts))) % len(texts)
    )
    other_M = np.concatenate(chosen)
    own_M = np.tile(np.arange(len(texts)), len(chosen))
    scores = np.einsum("md,md->m", vectors_ND[own_M], vectors_ND[other_M])
    sides = ([texts[row] for row in own_M], [texts[row] for row in other_M])
    return Similarity(name="likeness", pairs={TEXTS: (*sides, [round(float(score), 6) for score in scores])})


def _grouped(sources: Sequence[Source]) -> list[tuple[str, list[Source]]]:
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault("-".join(source.languages) if source.languages else TEXTS, []).append(source)
    return list(groups.items())


def _sampled(sources: Sequence[Source], seed: int) -> list[Row]:
    """Up to `MOST` different rows of some files, drawn evenly."""
    random_, kept = random.Random(seed), list[Row]()
    for seen, row in enumerate(_rows(sources), start=1):
        if len(kept) < MOST:
            kept.append(row)
        elif (place := random_.randrange(seen)) < MOST:
            kept[place] = row
    return list(dict.fromkeys(kept))


def _rows(sources: Sequence[Source]) -> Iterator[Row]:
    for source in sources:
        kind = None if source.kind == "hub" else source.kind
        if source.languages is None:
            found: Iterator[Row] = ((text,) for text in read_texts(source.name, kind=kind))
        else:
            found = (tuple(pair[:2]) for pair in read_pairs(source.name, kind=kind))
        for row in found:
            clean = tuple(" ".join(text.split()) for text in row)  # a line is a row
            if all(clean):
                yield clean


def _is_held(row: Row) -> bool:
    return int(sha256(row[0].casefold().encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) % HELD == 0
