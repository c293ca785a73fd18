import numpy as np

from compact_labse.formats.integers import columns8
from compact_labse.formats.static_plan import StaticPlan, _ranges, kept, plan_static

RNG = np.random.default_rng(0)


def error(x, weight, plan):
    codes, scale = columns8(weight)
    return np.square((kept(x, plan) @ codes.astype(np.float32)) * scale - x @ weight).mean()


def test_values_within_the_range_are_kept_to_half_a_step():
    x = RNG.normal(size=(50, 8)).astype(np.float32)
    plan = StaticPlan(scale=0.05, zero=128)
    assert np.abs(kept(x, plan) - x).max() <= 0.025 + 1e-6
    assert kept(np.array([[100.0]], np.float32), plan).item() == np.float32(127 * 0.05)


def test_the_range_that_hurts_the_layer_least_is_taken():
    x, weight = RNG.normal(size=(512, 64)).astype(np.float32), RNG.normal(size=(64, 32)).astype(np.float32)
    x[::50, 0], weight[0] = 60, 0  # large where the layer does not look
    errors = [error(x, weight, plan) for plan in _ranges(x)]
    assert error(x, weight, plan_static(x, [weight])) == min(errors) < errors[0]
