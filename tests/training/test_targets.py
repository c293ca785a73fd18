"""Cached teacher vectors: float16, resumable, and never another teacher's."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.training import targets
from compact_labse.training.targets import LiveTargets, cache_targets, read_shard, write_shard
from tests.test_pairs import corpus, stored  # noqa: F401


class Teacher:
    """Hashes text to unit vectors, and counts the texts that it was asked for."""

    dim = 6

    def __init__(self, die_after: int | None = None) -> None:
        self.texts: list[str] = []
        self.die_after = die_after

    def encode(self, texts):
        if self.die_after is not None and len(self.texts) >= self.die_after:
            raise KeyboardInterrupt
        self.texts += texts
        rows = np.array([np.random.default_rng(list(text.encode())).normal(size=self.dim) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def pairs(corpus, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(targets, "SHARD_ROWS", 100)
    return stored(corpus, tmp_path / "pairs", heldout=5)


def test_cached_vectors_are_the_live_ones(pairs, tmp_path):
    teacher = Teacher()
    cached = cache_targets(teacher, "hash", pairs, tmp_path / "targets")
    unique = np.asarray(pairs.unique[pairs.train_rows[::17]])
    vectors, found = cached.vectors(unique)
    live, _ = LiveTargets(teacher, pairs).vectors(unique)
    assert found.all()
    np.testing.assert_allclose(vectors, live, atol=1e-3)
    assert np.abs(vectors).max() > 0.1
    held = set(pairs.source.texts(pairs.heldout_rows))
    assert held.isdisjoint(teacher.texts[: len(teacher.texts) - len(unique)]), "held-out text needs no targets"


def test_an_interrupted_run_goes_on_with_the_shards_it_has(pairs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cache_targets(Teacher(die_after=200), "hash", pairs, tmp_path / "targets")
    assert [p.name for p in sorted((tmp_path / "targets").iterdir())] == ["00000.targets", "00001.targets"]
    rest = Teacher()
    cache_targets(rest, "hash", pairs, tmp_path / "targets")
    assert len(rest.texts) == len(np.unique(pairs.unique[pairs.train_rows])) - 200


def test_a_larger_selection_keeps_the_smaller_ones_shards(pairs, tmp_path):
    first = cache_targets(Teacher(), "hash", pairs, tmp_path / "targets", most=150)
    vectors, found = first.vectors(np.arange(len(pairs.first)))
    assert found.sum() == 150
    assert not vectors[~found].any()
    rest = Teacher()
    second = cache_targets(rest, "hash", pairs, tmp_path / "targets", most=180)
    assert len(rest.texts) == 80, "the first shard is whole, the second is made again with more texts"
    assert (second.vectors(np.arange(len(pairs.first)))[1] >= found).all()


def test_another_teacher_or_other_texts_are_refused(pairs, tmp_path):
    folder = tmp_path / "targets"
    cache_targets(Teacher(), "a" * 64, pairs, folder)
    with pytest.raises(UserError, match="made for other teacher weights: teacher is aaaaaaaaaaaaaaaa, expected bbbb"):
        cache_targets(Teacher(), "b" * 64, pairs, folder)
    path = folder / "00000.targets"
    _, expected = path, {"teacher": "a" * 64, "dim": 6, "count": 100, "texts": "0" * 64}
    with pytest.raises(UserError, match="made for other texts"):
        read_shard(path, expected)


def test_a_damaged_shard_is_named(tmp_path):
    header = {"teacher": "a", "dim": 4, "count": 3, "texts": "t"}
    path = tmp_path / "00000.targets"
    write_shard(path, header, np.eye(4, dtype=np.float32)[:3])
    np.testing.assert_array_equal(read_shard(path, header), np.eye(4)[:3])
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match="00000.targets is damaged"):
        read_shard(path, header)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="is not a file of teacher vectors"):
        read_shard(path, header)
