"""Retrieval, correlation and agreement against the slow obvious computation, scipy, and facts that must hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from compact_labse.errors import UserError
from compact_labse.measure.quality import quality
from compact_labse.measure.quality.quality import (
    agreement,
    means_over_sets,
    nearest,
    pearson,
    ranks,
    retrieval_accuracy,
    retrieval_f1,
    spearman,
    sts_correlations,
    worst_languages,
)


def unit(n: int, d: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute_nearest(x: np.ndarray, y: np.ndarray, k: int, skip_self: bool = False) -> list[list[int]]:
    found = []
    for i in range(len(x)):
        scores = [(-float(x[i] @ y[j]), j) for j in range(len(y)) if not (skip_self and i == j)]
        found.append([j for _, j in sorted(scores)[:k]])
    return found


@pytest.mark.parametrize("chunk", [1, 7, 50, 51, 1024])
@pytest.mark.parametrize(("k", "skip_self"), [(1, False), (1, True), (5, False), (5, True)])
def test_nearest_equals_brute_force_at_chunks_that_do_not_divide(
    monkeypatch: pytest.MonkeyPatch, chunk: int, k: int, skip_self: bool
):
    monkeypatch.setattr(quality, "_CHUNK", chunk)
    x, y = unit(50, 6, 1), unit(50, 6, 2)
    assert nearest(x, y, k, skip_self=skip_self).tolist() == brute_nearest(x, y, k, skip_self)


def test_retrieval_counts_each_direction():
    x = unit(90, 4, 3)
    y = x + 0.3 * unit(90, 4, 4)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    found = retrieval_accuracy(x, y)
    forward = np.mean([row[0] == i for i, row in enumerate(brute_nearest(x, y, 1))])
    backward = np.mean([row[0] == i for i, row in enumerate(brute_nearest(y, x, 1))])
    assert found.forward == pytest.approx(100 * forward)
    assert found.backward == pytest.approx(100 * backward)
    assert found.forward != found.backward
    assert 20 < found.forward < 90


def test_an_encoder_that_says_always_the_same_gets_one_hit_not_all():
    same = np.ones((40, 3), dtype=np.float32) / np.sqrt(3)
    assert retrieval_accuracy(same, same).forward == pytest.approx(100 / 40)


def test_retrieval_refuses_different_shapes_and_vectors_that_are_not_finite():
    with pytest.raises(UserError, match=r"\(4, 3\) and \(5, 3\)"):
        retrieval_accuracy(unit(4, 3, 0), unit(5, 3, 0))
    broken = unit(4, 3, 0)
    broken[2, 1] = np.nan
    with pytest.raises(UserError, match="y: vector 2 of 4 has values that are not finite"):
        retrieval_accuracy(unit(4, 3, 0), broken)
    with pytest.raises(UserError, match="N and D >= 1"):
        retrieval_accuracy(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("seed", range(5))
def test_spearman_with_ties_equals_scipy(seed: int):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 6, 200) / 5, random.normal(size=200).round(1)
    assert ranks(a).tolist() == rankdata(a).tolist()
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_of_a_constant_is_undefined_and_lengths_must_match():
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    with pytest.raises(UserError, match="got 2 and 3"):
        spearman([1, 2], [1, 2, 3])


def test_sts_ranks_cosines():
    a, b = unit(60, 5, 5), unit(60, 5, 6)
    cosines = (a * b).sum(1)
    found = sts_correlations(a, b, np.exp(3 * cosines))
    assert found["spearman"] == pytest.approx(100)
    assert 80 < found["pearson"] < 100
    assert sts_correlations(a, b, -cosines)["spearman"] == pytest.approx(-100)


def test_sts_correlates_cosines_and_angles():
    a, b = unit(60, 5, 5), unit(60, 5, 6)
    scores = np.random.default_rng(1).integers(0, 6, 60)
    angles = [1 - np.arccos(float(x @ y)) / np.pi for x, y in zip(a, b, strict=True)]
    found = sts_correlations(a, b, scores)
    assert found["pearson"] == pytest.approx(100 * pearsonr((a * b).sum(1), scores).statistic, abs=1e-4)
    assert found["pearson_angular"] == pytest.approx(100 * pearsonr(angles, scores).statistic, abs=1e-4)
    assert abs(found["pearson"] - found["pearson_angular"]) > 0.01


def test_equal_vectors_have_an_angle_of_zero_though_float32_rounds_their_cosine_above_one():
    a = unit(50, 300, 2)
    assert np.isfinite(sts_correlations(np.vstack([a, a]), np.vstack([a, -a]), range(100))["pearson_angular"])


def test_pearson_of_a_constant_is_undefined():
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize("seed", range(4))
def test_f1_equals_the_definition_over_classes(seed: int):
    found = np.random.default_rng(seed).integers(0, 30, 30)
    found[:12] = np.arange(12)
    f1 = []
    for label in range(30):
        hits = int(found[label] == label)
        precision = hits / max(1, int((found == label).sum()))
        f1.append(2 * precision * hits / (precision + hits) if hits else 0.0)
    assert retrieval_f1(found) == pytest.approx(100 * np.mean(f1))
    assert 5 < retrieval_f1(found) < 60


def test_agreement_of_an_encoder_with_itself_and_with_a_rotation():
    x = unit(30, 8, 7)
    rotation, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(8, 8)))
    same, turned = agreement(x, x), agreement(x, (x @ rotation).astype(np.float32))
    assert same.mean_cosine == pytest.approx(1)
    assert same.top1_overlap == same.top10_overlap == 100
    assert turned.top10_overlap == 100
    assert turned.mean_cosine is not None
    assert turned.mean_cosine < 0.9


def test_agreement_names_the_worst_text_and_counts_shared_neighbours():
    x, y = unit(40, 8, 9), unit(40, 8, 10)
    y[:20] = x[:20]
    y[33] = -x[33]
    found = agreement(x, y)
    assert found.worst_index == 33
    assert found.worst_cosine == pytest.approx(-1)
    near_x, near_y = brute_nearest(x, x, 10, skip_self=True), brute_nearest(y, y, 10, skip_self=True)
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near_x, near_y, strict=True)])
    assert found.top10_overlap == pytest.approx(100 * overlap)
    assert found.top1_overlap == pytest.approx(
        100 * np.mean([a[0] == b[0] for a, b in zip(near_x, near_y, strict=True)])
    )


def test_agreement_across_dimensions_has_overlaps_but_no_cosine():
    x = unit(25, 4, 11)
    found = agreement(x, np.hstack([x, np.zeros((25, 2), dtype=np.float32)]))
    assert (found.mean_cosine, found.worst_cosine, found.worst_index) == (None, None, None)
    assert found.top10_overlap == 100


def test_agreement_of_few_texts_shares_as_many_neighbours_as_there_are():
    assert agreement(unit(3, 4, 12), unit(3, 4, 12)).top10_overlap == 100
    with pytest.raises(UserError, match="two or more texts"):
        agreement(unit(1, 4, 0), unit(1, 4, 0))


def test_means_and_worst_languages():
    values = {"de": 90.0, "ko": 30.0, "th": 30.0, "fr": 95.0}
    assert means_over_sets(values, {"all": tuple(values), "eu": ("de", "fr")}) == {"all": 61.25, "eu": 92.5}
    assert worst_languages(values) == ("ko", "th", "de")
