"""Margin mining against loops over the definition, and halves that cannot see each other's threshold."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.measure.quality.mining import Mined, best_threshold, f1, haystack, mine, score_halves
from tests.measure.vectors import noisy, unit


def slow_mine(x: np.ndarray, y: np.ndarray, k: int) -> list[tuple[int, int, float]]:
    cosine = [[float(a @ b) for b in y] for a in x]
    # Fewer than k neighbours are averaged as they are, as slices do.
    mean_x = [np.mean(sorted(row, reverse=True)[:k]) for row in cosine]
    mean_y = [np.mean(sorted((row[j] for row in cosine), reverse=True)[:k]) for j in range(len(y))]
    margin = [[cosine[i][j] / ((mean_x[i] + mean_y[j]) / 2) for j in range(len(y))] for i in range(len(x))]
    proposals = set()
    for i in range(len(x)):
        near = sorted(range(len(y)), key=lambda j: -cosine[i][j])[:k]
        proposals.add((i, max(near, key=lambda j: margin[i][j])))
    for j in range(len(y)):
        near = sorted(range(len(x)), key=lambda i: -cosine[i][j])[:k]
        proposals.add((max(near, key=lambda i: margin[i][j]), j))
    taken: list[tuple[int, int, float]] = []
    for i, j in sorted(proposals, key=lambda pair: -margin[pair[0]][pair[1]]):
        if all(i != a and j != b for a, b, _ in taken):
            taken.append((i, j, margin[i][j]))
    return taken


@pytest.mark.parametrize(("n", "m", "k"), [(17, 23, 4), (31, 8, 3), (5, 3, 4)])
def test_mining_equals_the_definition(n: int, m: int, k: int):
    cone = np.eye(6, dtype=np.float32)[:1]  # keeps all cosines above zero, where the slow version has no floor
    y = noisy(np.repeat(cone, m, axis=0), 0.8, 1)
    x = noisy(y[np.arange(n) % m], 0.6, 2)
    found = mine(x, y, k)
    wanted = slow_mine(x, y, k)
    assert len(wanted) >= 3
    assert list(zip(found.x_C.tolist(), found.y_C.tolist(), strict=True)) == [(i, j) for i, j, _ in wanted]
    assert found.margin_C == pytest.approx([margin for *_, margin in wanted], rel=1e-5)
    assert len(set(found.x_C.tolist())) == len(found.x_C)
    assert len(set(found.y_C.tolist())) == len(found.y_C)


def test_translations_are_mined_and_strangers_are_not():
    y = unit(400, 32, 3)
    hay = haystack(np.arange(400), 400)
    good, bad = noisy(y, 0.4, 4), unit(400, 32, 5)
    well = score_halves(mine(good[hay.x_rows], y[hay.y_rows]), hay)
    badly = score_halves(mine(bad[hay.x_rows], y[hay.y_rows]), hay)
    assert well.f1 > 95
    assert badly.f1 < 5
    assert well.precision > 95
    assert well.recall > 90


def test_the_haystack_keeps_half_and_breaks_half():
    hay = haystack(np.arange(80), 80)
    assert len(hay.gold) == 40
    assert len(hay.x_rows) == len(hay.y_rows) == 60
    assert all(i in hay.x_rows and j in hay.y_rows for i, j in hay.gold.items())
    broken = set(hay.x_rows.tolist()) - set(hay.gold)
    assert len(broken) == 20
    assert not broken & set(hay.y_rows.tolist())
    assert sorted(hay.half.tolist()) == [0] * 40 + [1] * 40
    again = haystack(np.arange(80), 80)
    assert again.gold == hay.gold


def test_english_of_several_pairs_is_dropped_for_all_of_them_or_kept():
    rows = np.repeat(np.arange(20), 3)
    hay = haystack(rows, 50)
    present = set(hay.y_rows.tolist())
    for i in range(len(rows)):
        assert (i in hay.gold) <= (int(rows[i]) in present)
    assert {int(rows[i]) for i in hay.x_rows if i not in hay.gold}.isdisjoint(present)
    assert set(range(20, 50)) <= present  # other languages' English stays as hay


@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_is_the_best_of_all(seed: int):
    random = np.random.default_rng(seed)
    margins = random.integers(0, 12, 40) / 4 if seed % 2 else random.normal(size=40)
    right = random.random(40) < 0.2 + 0.6 * (margins > np.median(margins))
    gold = int(right.sum()) + 7

    def at(threshold: float) -> float:
        taken = margins >= threshold
        return f1(int(right[taken].sum()), int(taken.sum()), gold)[2]

    found = best_threshold(margins, right, gold)
    assert at(found) == pytest.approx(max(at(value) for value in [*margins, -99.0]))
    assert at(found) > 0.3


def test_one_half_is_scored_with_the_other_halfs_threshold():
    """Each half alone would be perfect; its own threshold must not be used."""
    hay = haystack(np.arange(8), 8)
    rows = np.array(sorted(hay.gold))
    half = hay.half[rows]
    assert 0 < half.sum() < len(rows)
    places = np.searchsorted(hay.x_rows, rows)
    right_y = np.searchsorted(hay.y_rows, [hay.gold[i] for i in rows])
    margin = np.where(half == 0, 5.0, 1.0)
    found = score_halves(Mined(x_C=places, y_C=right_y, margin_C=margin), hay)
    # Half 0 is found above 5 and above 1; half 1 is missed above 5.
    assert found.recall == pytest.approx(50)
    assert found.precision == pytest.approx(50)


def test_nothing_right_is_zero_not_a_crash():
    hay = haystack(np.arange(12), 12)
    empty = Mined(x_C=np.zeros(0, int), y_C=np.zeros(0, int), margin_C=np.zeros(0))
    assert score_halves(empty, hay).f1 == 0
    same = np.ones((12, 4), np.float32) / 2
    assert np.isfinite(score_halves(mine(same[hay.x_rows], same[hay.y_rows]), hay).f1)
