import numpy as np
import pytest

from compact_labse.formats.integers import blocks8, columns8, table4, table8, untable4

RNG = np.random.default_rng(0)


def test_a_table_in_8_bits_is_within_half_a_step_of_itself():
    table = RNG.normal(size=(50, 12)).astype(np.float32) * np.geomspace(1e-3, 1e3, 50)[:, None].astype(np.float32)
    codes, scale = table8(table)
    assert codes.dtype == np.int8
    assert (np.abs(codes * scale - table) <= scale * 0.501).all()


def test_a_row_of_zeros_stays_zero():
    table = np.zeros((3, 4), np.float32)
    for restored in (np.multiply(*table8(table)), untable4(*table4(table))):
        np.testing.assert_allclose(restored, 0, atol=1e-18)


def test_a_table_in_4_bits_packs_the_first_half_of_the_columns_low_and_the_second_high():
    table = np.array([[-7.5, 7.5, 0.5, -0.5]], np.float32)
    packed, scale = table4(table)
    assert packed.tolist() == [[0 | 8 << 4, 15 | 7 << 4]]
    np.testing.assert_allclose(untable4(packed, scale), table * scale[0, 0], rtol=1e-6)


def test_searched_4_bit_scales_beat_the_peak_and_no_scale_of_a_finer_grid_is_much_better():
    table = RNG.normal(size=(300, 256)).astype(np.float32)
    packed, scale = table4(table)
    found = ((untable4(packed, scale) - table) ** 2).sum()
    peak = np.abs(table).max(1, keepdims=True) / 8

    def error(clip: float) -> np.ndarray:
        step = peak * clip
        return (((np.clip(np.floor(table / step), -8, 7) + 0.5) * step - table) ** 2).sum(1)

    assert found < 0.92 * error(1.0).sum()
    best = np.min([error(clip) for clip in np.linspace(0.4, 1.2, 161)], axis=0).sum()
    assert best > 0.98 * found


def test_a_4_bit_table_keeps_the_direction_of_its_rows():
    table = RNG.normal(size=(500, 256)).astype(np.float32)
    restored = untable4(*table4(table))
    cosine = (table * restored).sum(1) / np.linalg.norm(table, axis=1) / np.linalg.norm(restored, axis=1)
    assert cosine.min() > 0.985


@pytest.mark.parametrize("inputs", [8, 7])
def test_columns_never_saturate_the_16_bit_sums_of_cpus_without_vnni(inputs):
    weight = RNG.normal(size=(inputs, 40)).astype(np.float32)
    weight[:2] = 3.0  # a pair of peaks in every column: with scales of the peak alone, 255 * 254 would overflow
    codes, scale = columns8(weight)
    pairs = np.abs(np.pad(codes.astype(int), ((0, inputs % 2), (0, 0)))).reshape(-1, 2, 40).sum(1)
    assert 255 * pairs.max() < 2**15
    assert (np.abs(codes * scale - weight) <= scale * 0.501).all()
    naive = np.rint(weight / (np.abs(weight).max(0) / 127))
    assert 255 * np.abs(naive[:2]).sum(0).max() > 2**15


@pytest.mark.parametrize(("inputs", "size"), [(64, 16), (40, 16)])
def test_blocks_hold_the_matrix_transposed_and_padded(inputs, size):
    weight = RNG.normal(size=(inputs, 5)).astype(np.float32)
    codes, scale = blocks8(weight, size)
    count = -(-inputs // size)
    assert codes.shape == (5, count, size)
    restored = (codes.astype(np.float32) - 128) * scale.reshape(5, count, 1)
    np.testing.assert_allclose(restored.reshape(5, -1)[:, :inputs].T, weight, atol=scale.max() * 0.51)
