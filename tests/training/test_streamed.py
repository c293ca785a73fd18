"""Pairs read while training: shares that have nothing in common, the same batch on every call, nothing held out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.pairs import Pairs, text_key
from compact_labse.prepare import prepare_pairs
from compact_labse.tokens import Tokens
from compact_labse.training import ranks
from compact_labse.training.streamed import StreamedShare, shuffled
from tests.tiny_models import wordpiece
from tests.tiny_pairs import write_corpus

CONFIG = CorpusConfig(heldout=10, heldout_share=0.2)


@pytest.fixture
def sources(tmp_path):
    return find_sources([str(write_corpus(tmp_path / "corpus", 60))], None, PAIR_KINDS)


@pytest.fixture
def pairs(sources, tmp_path) -> Pairs:
    return prepare_pairs(sources, [], CONFIG, tmp_path / "pairs")[0]


def share(sources, pairs, monkeypatch, rank: int = 0, world: int = 1, count: int = 8) -> StreamedShare:
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    monkeypatch.setattr(ranks, "world", lambda: world)
    return StreamedShare(sources, CONFIG, Tokens(wordpiece(), max_tokens=16), pairs, count=count, seed=0)


def seen(stream: StreamedShare, batches: int) -> list[tuple[int, int]]:
    return [tuple(pair) for number in range(batches) for pair in stream.take(number)[1][:, 0].view(np.uint64).tolist()]


@pytest.mark.parametrize("world", [2, 4])  # with a file for each rank, and with fewer files than ranks
def test_shares_are_disjoint_and_together_everything_that_is_not_held_out(sources, pairs, monkeypatch, world):
    parts = []
    for rank in range(world):
        stream = share(sources, pairs, monkeypatch, rank, world, count=1)
        parts.append({(text_key(r.source), text_key(r.target)) for r in stream._usable()})
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(parts, 2))
    held = {int(key) for row in pairs.heldout_rows for key in (pairs.source_key[row], pairs.target_key[row])}
    every = set(zip(pairs.source_key.tolist(), pairs.target_key.tolist(), strict=True))
    assert set.union(*parts) == {pair for pair in every if held.isdisjoint(pair)}
    assert held, "or nothing was tested"


def test_a_batch_is_the_same_in_order_out_of_order_and_after_the_end(sources, pairs, monkeypatch):
    straight = share(sources, pairs, monkeypatch)
    taken = [straight.take(number) for number in range(30)]  # 240 pairs of less than 90
    for number in (3, 29, 0):
        for one, other in zip(share(sources, pairs, monkeypatch).take(number), taken[number], strict=True):
            for left, right in zip(one, other, strict=True):
                assert np.array_equal(left, right)
    again = straight.take(2)
    assert np.array_equal(again[1], taken[2][1])
    first, second = (np.concatenate([keys for _, keys, _ in taken[start : start + 8]]) for start in (0, 11))
    assert not np.array_equal(first, second), "every pass has another order"


def test_texts_and_keys_belong_together(sources, pairs, monkeypatch):
    texts, keys, places = share(sources, pairs, monkeypatch, count=5).take(1)
    assert (len(texts), keys.shape, places.ravel().tolist()) == (10, (5, 1, 2), [5, 6, 7, 8, 9])
    known = dict(zip(pairs.source_key.tolist(), pairs.source.texts(np.arange(len(pairs))), strict=True))
    ids = Tokens(wordpiece(), max_tokens=16).ids([known[int(key)] for key in keys[:, 0, 0].view(np.uint64)])
    assert [row.tolist() for row in texts[::2]] == ids


def test_a_buffer_loses_and_repeats_nothing():
    out = list(shuffled(iter(range(100)), 7, np.random.default_rng(0)))
    assert sorted(out) == list(range(100))
    assert out != sorted(out)
    assert max(abs(place - value) for place, value in enumerate(out)) > 5


def test_a_share_without_pairs_is_an_error(sources, pairs, monkeypatch):
    stream = share(sources, pairs, monkeypatch, rank=500, world=501)
    with pytest.raises(UserError, match="rank 500 of 501 finds no usable pair in its share"):
        stream.take(0)
