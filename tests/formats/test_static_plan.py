import numpy as np

from compact_labse.formats.integers import columns8
from compact_labse.formats.static_plan import StaticPlan, kept, plan_static

RNG = np.random.default_rng(0)


def error(x, weight, plan):
    smooth = 1 if plan.smooth_K is None else plan.smooth_K
    codes, scale = columns8(weight * np.reshape(smooth, (-1, 1)))
    return np.square((kept(x, plan) @ codes.astype(np.float32)) * scale - x @ weight).mean()


def test_values_within_the_range_are_kept_to_half_a_step():
    x = RNG.normal(size=(50, 8)).astype(np.float32)
    plan = StaticPlan(scale=0.05, zero=128)
    assert np.abs(kept(x, plan) - x).max() <= 0.025 + 1e-6
    assert kept(np.array([[100.0]], np.float32), plan).item() == np.float32(127 * 0.05)


def test_one_large_value_is_cut_off_rather_than_widening_the_range():
    x, weight = RNG.normal(size=(512, 64)).astype(np.float32), RNG.normal(size=(64, 32)).astype(np.float32)
    x[0, 0] = 60
    peak = StaticPlan(scale=(60 - x.min()) / 255, zero=round(-x.min() / ((60 - x.min()) / 255)))
    assert error(x, weight, plan_static(x, [weight])) < error(x, weight, peak)


def test_an_input_that_is_always_large_is_scaled_down_first():
    x, weight = RNG.normal(size=(512, 64)).astype(np.float32), RNG.normal(size=(64, 32)).astype(np.float32)
    x[:, 5] *= 50
    plan = plan_static(x, [weight])
    assert plan.smooth_K is not None and plan.smooth_K.argmax() == 5
