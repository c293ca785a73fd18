"""Coarser vectors against loops, and what must hold: more bits find more, rescoring repairs."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.measure.quality.smaller_vectors import (
    bit_vectors,
    hamming,
    int8_vectors,
    kept_share,
    quantized_hits,
    truncated,
    truncations,
)
from tests.measure.vectors import noisy, unit


def test_int8_rounds_to_the_nearest_step_and_uses_the_whole_range():
    vectors = unit(20, 13, 1)
    scale = float(np.abs(vectors).max())
    small = int8_vectors(vectors, scale)
    assert small.dtype == np.int8
    assert np.abs(small).max() == 127
    assert np.abs(small * (scale / 127) - vectors).max() <= scale / 254 * 1.0001


def test_values_beyond_the_scale_are_cut_not_wrapped():
    assert int8_vectors(np.array([[2.0, -2.0]]), 1.0).tolist() == [[127, -127]]


@pytest.mark.parametrize("dim", [8, 13, 64])
def test_hamming_counts_differing_signs(dim: int):
    a, b = unit(9, dim, 2), unit(11, dim, 3)
    wanted = [[sum((x > 0) != (y > 0) for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    assert hamming(bit_vectors(a), bit_vectors(b)).tolist() == wanted


def test_hits_equal_slow_search_of_each_type():
    documents = unit(70, 24, 4)
    queries = noisy(documents[:9], 0.7, 5)
    scale = float(np.abs(documents).max())
    whole, coarse = int8_vectors(documents, scale).astype(int), int8_vectors(queries, scale).astype(int)
    found = quantized_hits(queries, documents, 5)
    for q in range(9):
        best = sorted(range(70), key=lambda row: -float(queries[q] @ documents[row]))[:5]
        assert found["float32"][q].tolist() == best
        scores = [int(coarse[q] @ whole[row]) for row in range(70)]
        assert sorted(scores[row] for row in found["int8"][q]) == sorted(scores, reverse=True)[:5][::-1]
        bits = [int(((queries[q] > 0) != (documents[row] > 0)).sum()) for row in range(70)]
        near = sorted(range(70), key=lambda row: (bits[row], row))
        assert found["binary"][q].tolist() == near[:5]
        again = sorted(near[:20], key=lambda row: -float(queries[q] @ whole[row].astype(np.float32)))
        assert found["rescored"][q].tolist() == again[:5]


def test_more_bits_keep_more():
    documents = unit(2000, 64, 6)
    found = quantized_hits(noisy(documents[:50], 0.8, 7), documents)
    shares = {name: kept_share(hits, found["float32"]) for name, hits in found.items()}
    assert shares["float32"] == 100
    assert shares["int8"] > 95 > shares["rescored"] > shares["binary"] > 20


def test_a_damaged_search_loses_its_share():
    wanted = np.arange(20).reshape(2, 10)
    assert kept_share(wanted[:, ::-1], wanted) == 100
    broken = wanted.copy()
    broken[0, :5] = 99
    assert kept_share(broken, wanted) == pytest.approx(75)


def test_few_documents_are_all_found():
    found = quantized_hits(unit(3, 16, 8), unit(4, 16, 9))
    assert all(hits.shape == (3, 4) for hits in found.values())


def test_truncated_vectors_are_unit_and_zeros_stay():
    vectors = np.vstack([unit(5, 32, 10), np.eye(32, dtype=np.float32)[-1:]])
    cut = truncated(vectors, 8)
    assert np.linalg.norm(cut, axis=1) == pytest.approx([1] * 5 + [0])
    assert truncated(vectors, 32) == pytest.approx(vectors, abs=1e-6)


def test_truncations_stop_at_eight_values():
    assert truncations(384) == [192, 96, 48, 24]
    assert truncations(40) == [20, 10]
    assert truncations(8) == []
