"""When a difference may be claimed."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.measure.noise import compare, median_interval, percentiles, spread


def test_percentiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=37)
    assert percentiles(values)["p95"] == pytest.approx(np.percentile(values, 95))


def test_spread_is_half_the_range_in_percent():
    assert spread([9, 10, 11]) == pytest.approx(10)
    assert spread([5]) == 0


def test_a_clear_difference_is_told_from_a_tie():
    reference = [10.0, 11.0, 9.5, 10.2, 10.4]
    assert compare([v * 2 for v in reference], reference).verdict == "higher"
    assert compare([v / 2 for v in reference], reference).verdict == "lower"
    assert compare([10.1, 10.8, 9.7, 10.1, 10.5], reference).verdict == "tie"
    assert compare(reference, reference).verdict == "tie"


def test_drift_that_hits_both_does_not_make_a_tie():
    reference = [10.0, 12.0, 15.0, 19.0, 25.0]
    assert compare([1.1 * value for value in reference], reference).verdict == "higher"


def test_few_rounds_claim_less_than_many():
    assert compare([1.3, 1.1], [1.0, 1.0]).verdict == "tie"
    assert compare([1.3, 1.1, 1.2, 1.25, 1.15], [1.0] * 5).verdict == "higher"
    assert compare([40.0, 30.0], [1.0, 1.0]).verdict == "higher"
    assert compare([2.0], [1.0]).verdict == "unjudged"


def test_equal_machines_are_called_different_about_as_rarely_as_promised():
    random = np.random.default_rng(1)
    verdicts = [compare(*random.lognormal(sigma=0.1, size=(2, 5)).tolist()).verdict for _ in range(2000)]
    assert 0.03 < np.mean([verdict != "tie" for verdict in verdicts]) < 0.09


@pytest.mark.parametrize(("rounds", "expected"), [(5, (1, 5)), (8, (1, 8)), (9, (2, 8)), (12, (3, 10)), (20, (6, 15))])
def test_the_interval_drops_as_many_ends_as_the_binomial_allows(rounds: int, expected: tuple[int, int]):
    assert median_interval(list(range(1, rounds + 1))) == expected


def test_rounds_must_be_paired():
    with pytest.raises(ValueError, match="paired"):
        compare([1.0], [1.0, 2.0])
