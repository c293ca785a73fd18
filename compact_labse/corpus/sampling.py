"""How often each language is drawn: by its size raised to the power 1/T, and streams mixed in those shares."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from compact_labse.errors import UserError

T = TypeVar("T")


def temperature_weights(sizes: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Each language's share in training: p_i = n_i^(1/T) / sum_j n_j^(1/T), in the order of `sizes`; their sum is 1.

    T = 1 keeps the corpus as it is, T = 2 takes square roots, T = math.inf makes all languages equal. A language
    without pairs gets 0. Raises UserError unless T >= 1, no size is negative and one is positive.
    """
    if not temperature >= 1:
        raise UserError(
            f"a sampling temperature is at least 1 (1 keeps the sizes, inf evens them out), got {temperature}"
        )
    negative = [name for name, size in sizes.items() if size < 0]
    if negative:
        raise UserError(f"{negative[0]!r} has a negative number of pairs")
    most = max(sizes.values(), default=0)
    if most == 0:
        raise UserError("no language has any pairs to sample")
    # Relative to the largest, so that no power overflows.
    powers = {name: (size / most) ** (1 / temperature) if size else 0.0 for name, size in sizes.items()}
    total = math.fsum(powers.values())
    return {name: power / total for name, power in powers.items()}


def shares_within(languages: Sequence[str], sizes: Sequence[float], temperature: float) -> list[float]:
    """The share of each part of a corpus: its language's by `temperature_weights`, and of that by its size.

    `languages` and positive `sizes` of the parts; the shares add up to 1.
    """
    of_language: dict[str, float] = {}
    for name, size in zip(languages, sizes, strict=True):
        of_language[name] = of_language.get(name, 0) + size
    share = temperature_weights({name: max(1, round(size)) for name, size in of_language.items()}, temperature)
    return [share[name] * size / of_language[name] for name, size in zip(languages, sizes, strict=True)]


def interleave(
    streams: Mapping[str, Callable[[], Iterable[T]]], weights: Mapping[str, float], *, seed: int
) -> Iterator[T]:
    """Draw items from streams at random in the shares `weights`, without end; a stream that runs out is opened again.

    `streams` maps a name to a function that opens the stream. The order depends on `seed`, names and weights alone.
    Raises UserError for a stream with a weight but without items, and for a weight without a stream.
    """
    names = [name for name, weight in weights.items() if weight > 0]
    unknown = [name for name in names if name not in streams]
    if unknown or not names:
        raise UserError(f"no stream for {unknown[0]!r}" if unknown else "all sampling weights are zero")
    return _drawn({name: _again(name, streams[name]) for name in names}, weights, random.Random(seed))


def shuffled(items: Iterable[T], *, seed: int, buffer: int = 100_000) -> Iterator[T]:
    """The items of a stream in random order, as far as a buffer of that many items reaches; the same for one seed."""
    if buffer < 1:
        raise UserError(f"a shuffle buffer holds at least 1 item, got {buffer}")
    chance = random.Random(seed)
    held: list[T] = []
    for item in items:
        if len(held) < buffer:
            held.append(item)
            continue
        place = chance.randrange(buffer)
        held[place], item = item, held[place]
        yield item
    chance.shuffle(held)
    yield from held


def _drawn(streams: dict[str, Iterator[T]], weights: Mapping[str, float], chance: random.Random) -> Iterator[T]:
    names = list(streams)
    bounds = list(itertools.accumulate(weights[name] for name in names))
    while True:
        place = bisect.bisect_right(bounds, chance.random() * bounds[-1], hi=len(names) - 1)
        yield next(streams[names[place]])


def _again(name: str, opened: Callable[[], Iterable[T]]) -> Iterator[T]:
    while True:
        empty = True
        for item in opened():
            empty = False
            yield item
        if empty:
            raise UserError(f"the stream {name!r} has nothing in it to sample")
