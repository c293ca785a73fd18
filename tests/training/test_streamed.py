"""Pairs read while training: shares that have nothing in common, the same batch on every call, nothing held out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from compact_labse.corpus.clean import Cleaning
from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.pairs import Pairs, text_key
from compact_labse.prepare import prepare_pairs
from compact_labse.tokens import Tokens
from compact_labse.training import ranks
from compact_labse.training.streamed import StreamedShare, shuffled, stretches
from tests.tiny_models import wordpiece
from tests.tiny_pairs import write_corpus

CONFIG = CorpusConfig(heldout=10, heldout_share=0.2)


@pytest.fixture
def sources(tmp_path):
    return find_sources([str(write_corpus(tmp_path / "corpus", 60))], None, PAIR_KINDS)


@pytest.fixture
def pairs(sources, tmp_path) -> Pairs:
    return prepare_pairs(sources, [], CONFIG, tmp_path / "pairs")[0]


def share(
    sources, pairs, monkeypatch, rank: int = 0, world: int = 1, count: int = 8, config: CorpusConfig = CONFIG
) -> StreamedShare:
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    monkeypatch.setattr(ranks, "world", lambda: world)
    return StreamedShare(sources, config, Tokens(wordpiece(), max_tokens=16), pairs, count=count, seed=0)


def seen(stream: StreamedShare, batches: int) -> list[tuple[int, int]]:
    return [tuple(pair) for number in range(batches) for pair in stream.take(number)[1][:, 0].view(np.uint64).tolist()]


@pytest.mark.parametrize("world", [2, 4, 7])  # files reach over borders between ranks
def test_shares_are_disjoint_and_together_everything_that_is_not_held_out(sources, pairs, monkeypatch, world):
    parts = []
    for rank in range(world):
        stream = share(sources, pairs, monkeypatch, rank, world, count=1)
        parts.append({(text_key(r.source), text_key(r.target)) for s in stream._stretches for r in stream._usable(s)})
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(parts, 2))
    held = {int(key) for row in pairs.heldout_rows for key in (pairs.source_key[row], pairs.target_key[row])}
    every = set(zip(pairs.source_key.tolist(), pairs.target_key.tolist(), strict=True))
    assert set.union(*parts) == {pair for pair in every if held.isdisjoint(pair)}
    assert held, "or nothing was tested"


def test_a_batch_is_the_same_in_order_out_of_order_and_after_the_end(sources, pairs, monkeypatch):
    straight = share(sources, pairs, monkeypatch)
    taken = [straight.take(number) for number in range(30)]  # 240 pairs of less than 90: each file ends several times
    for number in (3, 29, 0):
        for one, other in zip(share(sources, pairs, monkeypatch).take(number), taken[number], strict=True):
            for left, right in zip(one, other, strict=True):
                assert np.array_equal(left, right)
    again = straight.take(2)
    assert np.array_equal(again[1], taken[2][1])


def test_every_pass_over_a_source_has_all_of_it_in_another_order(sources, pairs, monkeypatch):
    stream = share(sources[:1], pairs, monkeypatch, count=1)
    count = len(list(stream._usable(stream._stretches[0])))
    drawn = seen(stream, 2 * count)
    first, second = drawn[:count], drawn[count:]
    assert len(set(first)) == count
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.fixture
def uneven(tmp_path):
    """Two files of German and one of Russian: 96, 48 and 16 parts of 160 by size."""
    folder = tmp_path / "uneven"
    folder.mkdir()
    for name, first, last in (("books.en-de", 0, 96), ("books.en-ru", 144, 160), ("talks.en-de", 96, 144)):
        lines = [f"w{number:03}\tv{number:03}\n" for number in range(first, last)]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return find_sources([str(folder)], None, PAIR_KINDS)


@pytest.mark.parametrize(
    ("settings", "expected"),  # of books.en-de, books.en-ru and talks.en-de
    [
        ({"temperature": 1.0}, (0.6, 0.1, 0.3)),
        ({"temperature": 2.0}, (0.5, 0.25, 0.25)),
        ({"temperature": float("inf")}, (1 / 3, 1 / 2, 1 / 6)),
        ({"temperature": 1.0, "weights": {"talks": 4.0, "ru": 0.0}}, (1 / 3, 0.0, 2 / 3)),
        ({"temperature": float("inf"), "language": "de"}, (0.6, 0.1, 0.3)),
    ],
)
def test_sources_are_drawn_by_weights_and_temperature(uneven, settings, expected):
    config = CorpusConfig(**settings)
    found = {stretch.source.name: stretch.high - stretch.low for stretch in stretches(uneven, config)}
    assert [found.get(source.name, 0.0) for source in uneven] == pytest.approx(expected, abs=1e-9)


SHORT = Cleaning(min_script=0, letters=False, min_chars=1)


@pytest.mark.parametrize("world", [1, 3])  # of three ranks, some read one file alone
def test_every_batch_has_all_sources_in_their_shares(uneven, pairs, monkeypatch, world):
    config = CorpusConfig(temperature=2.0, cleaning=SHORT)
    drawn = []
    for rank in range(world):
        stream = share(uneven, pairs, monkeypatch, rank, world, count=400 // world, config=config)
        drawn += [file_of(uneven)[key] for key, _ in seen(stream, 4)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.04)
    if world == 1:
        assert set(drawn[:40]) == {0, 1, 2}, "from the first batch on, and not one after another"


def file_of(sources) -> dict[int, int]:
    """The number of the file that a source text is in, by its key."""
    lines = [
        (number, line) for number, source in enumerate(sources) for line in Path(source.name).read_text().split("\n")
    ]
    return {text_key(line.split("\t")[0]): number for number, line in lines}


def test_a_source_without_a_usable_pair_leaves_its_share_to_the_others(uneven, pairs, monkeypatch, capsys):
    Path(uneven[0].name).write_text("one\n" * 50)  # one column
    drawn = seen(share(uneven, pairs, monkeypatch, config=CorpusConfig(cleaning=SHORT)), 20)
    assert len(set(drawn)) == 16 + 48, "all of both others"
    assert f"passed over: {uneven[0].name} has no usable line" in capsys.readouterr().err


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


def test_weights_that_leave_nothing_are_an_error(sources):
    with pytest.raises(UserError, match=r"corpus\.weights leave nothing to train on"):
        stretches(sources, CorpusConfig(weights={"en-": 0.0}))
