import numpy as np

from compact_labse.formats.integers import columns8
from compact_labse.formats.onnx.row_plan import CENTRE, RowPlan, plan_rows, quantized

RNG = np.random.default_rng(1)


def output_error(x, weight, plan):
    codes, scale = columns8(weight if plan.smooth_K is None else weight * plan.smooth_K[:, None])
    return float((((quantized(x, plan) @ codes.astype(np.float32)) * scale - x @ weight) ** 2).sum())


def test_plain_activations_get_the_plain_plan():
    x, weight = RNG.normal(size=(200, 32)).astype(np.float32), RNG.normal(size=(32, 16)).astype(np.float32)
    plan = plan_rows(x, [weight])
    assert plan == RowPlan(width=32, zero=CENTRE, smooth_K=None)


def test_zero_moves_down_for_activations_after_gelu():
    x = RNG.normal(size=(200, 64)).astype(np.float32)
    x = np.where(x > 0, x, -0.1 * np.exp(x) * np.abs(x)).astype(np.float32)
    weight = RNG.normal(size=(64, 16)).astype(np.float32)
    plan = plan_rows(x, [weight])
    assert plan.zero < 40
    assert output_error(x, weight, plan) < 0.7 * output_error(x, weight, RowPlan(width=64))


def test_an_outlying_input_is_scaled_down_where_that_pays():
    x = RNG.normal(size=(200, 64)).astype(np.float32)
    x[:, 5] *= 60
    weights = [RNG.normal(size=(64, 16)).astype(np.float32) for _ in range(2)]
    plan = plan_rows(x, weights)
    assert plan.smooth_K is not None
    assert plan.smooth_K.argmax() == 5
    assert sum(output_error(x, w, plan) for w in weights) < 0.5 * sum(
        output_error(x, w, RowPlan(width=64)) for w in weights
    )


def test_codes_stay_within_a_byte_whatever_the_zero():
    x = np.array([[-1.0, 4.0], [-8.0, 1.0], [0.0, 0.0], [5.0, 6.0]], np.float32)
    for zero in (1, 20, CENTRE, 254):
        restored = quantized(x, RowPlan(width=2, zero=zero))
        step = np.maximum(x.max(1) / (255 - zero), -x.min(1) / zero) if zero != CENTRE else np.abs(x).max(1) / 127
        assert (np.abs(restored - x) <= step[:, None] * 0.51).all()
