"""Planes, histograms and separation against the obvious computation."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from compact_labse.measure.quality import space
from tests.measure.vectors import noisy, unit


def test_the_plane_keeps_the_most_variance():
    points = np.random.default_rng(0).normal(size=(60, 7)) * [5, 3, 1, 0.5, 0.2, 0.1, 0.1]
    flat, shown = space.plane(points)
    variance = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert flat.var(axis=0, ddof=1) == pytest.approx(variance[:2])
    assert shown == pytest.approx(100 * variance[:2].sum() / variance.sum())
    assert abs(np.corrcoef(flat.T)[0, 1]) < 1e-9


def test_the_same_points_give_the_same_picture_and_equal_points_none():
    points = unit(30, 6, 1)
    assert np.array_equal(space.plane(points)[0], space.plane(points.copy())[0])
    flat, shown = space.plane(np.ones((5, 3)))
    assert np.allclose(flat, 0)
    assert shown == 0


def test_turning_undoes_rotation_mirror_scale_and_shift():
    points = np.random.default_rng(2).normal(size=(25, 2))
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, -1])
    assert space.turned(3 * points @ rotation + 4, points) == pytest.approx(points, abs=1e-9)
    assert np.isfinite(space.turned(np.zeros((4, 2)), points[:4])).all()


def test_separation_counts_pairs_above_non_pairs():
    pairs, others = np.array([0.9, 0.5, 0.5]), np.array([0.1, 0.5, 0.6, 0.95])
    wanted = np.mean([(a > b) + (a == b) / 2 for a in pairs for b in others])
    assert space.separation(pairs, others) == pytest.approx(100 * wanted)
    assert space.separation(pairs, np.zeros(0)) == 100


def test_cosines_of_translations_lie_above_those_of_others():
    y = unit(50, 16, 3)
    own, others = space.cosines(noisy(y, 0.5, 4), y)
    assert len(own) == 50
    assert len(others) == 500
    assert space.separation(own, others) > 99
    assert space.separation(*space.cosines(unit(50, 16, 5), y)) < 70


def test_a_single_pair_has_no_others():
    assert len(space.cosines(unit(1, 4, 0), unit(1, 4, 1))[1]) == 0


def test_histograms_count_everything():
    values = np.array([-0.9, -0.2, 0.0, 0.5, 1.0, 1.0000001])
    counts = space.histogram(values)
    assert len(counts) == space.BINS
    assert sum(counts) == 6
    assert counts[0] == 2
    assert counts[-1] == 2


def test_pictures_are_small_whole_numbers_per_side(monkeypatch: pytest.MonkeyPatch):
    stub = types.ModuleType("umap")

    class UMAP:
        def __init__(self, **settings: object) -> None:
            assert settings == {"n_components": 2, "metric": "cosine", "random_state": 0, "n_jobs": 1}

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2]

    stub.UMAP = UMAP  # type: ignore[attr-defined]
    stub.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "umap", stub)
    sides = {"de": unit(7, 5, 6), "en": unit(9, 5, 7)}
    found = space.picture(sides)
    for name in ("pca", "umap"):
        split = found[name]
        assert isinstance(split, dict)
        assert {side: len(points) for side, points in split.items()} == {"de": 7, "en": 9}
        numbers = [number for points in split.values() for point in points for number in point]
        assert max(map(abs, numbers)) == space.GRID
        assert all(isinstance(number, int) for number in numbers)


def test_without_umap_there_is_no_umap(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    monkeypatch.setattr(space.importlib.util, "find_spec", lambda name: None)
    assert space.picture({"de": unit(3, 5, 8)})["umap"] is None


@pytest.mark.slow
def test_umap_keeps_groups_apart_and_repeats():
    pytest.importorskip("umap", reason="needs the extra 'umap'")
    centres = unit(3, 16, 1)
    points = np.vstack([noisy(np.repeat(centre[None], 30, axis=0), 0.2, n) for n, centre in enumerate(centres)])
    flat = space.umap_plane(points)
    assert flat is not None and flat.shape == (90, 2)
    assert np.array_equal(flat, space.umap_plane(points))
    groups = flat.reshape(3, 30, 2)
    within = np.linalg.norm(groups - groups.mean(1, keepdims=True), axis=-1).max()
    middles = groups.mean(1)
    between = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > 2 * within
