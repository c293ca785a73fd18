import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.formats.integers import blocks8, columns8, table8, table_small, untable_small

RNG = np.random.default_rng(0)


def test_a_table_in_8_bits_is_within_half_a_step_of_itself():
    table = RNG.normal(size=(50, 12)).astype(np.float32) * np.geomspace(1e-3, 1e3, 50)[:, None].astype(np.float32)
    codes, scale = table8(table)
    assert codes.dtype == np.int8
    assert (np.abs(codes * scale - table) <= scale * 0.501).all()


def test_a_row_of_zeros_stays_zero():
    table = np.zeros((3, 4), np.float32)
    for restored in (np.multiply(*table8(table)), untable_small(*table_small(table, 4), 4)):
        np.testing.assert_allclose(restored, 0, atol=1e-18)


def test_a_table_in_4_bits_packs_the_first_half_of_the_columns_low_and_the_second_high():
    table = np.array([[-7.5, 7.5, 0.5, -0.5]], np.float32)
    (packed,), scale = table_small(table, 4)
    assert packed.tolist() == [[0 | 8 << 4, 15 | 7 << 4]]
    np.testing.assert_allclose(untable_small([packed], scale, 4), table * scale[0, 0], rtol=1e-3)


def test_a_table_in_3_bits_has_a_plane_of_two_low_bits_and_one_of_high_bits():
    codes = np.array([[0, 1, 2, 3, 4, 5, 6, 7]])
    (low, high), scale = table_small((codes - 3.5).astype(np.float32), 3)
    assert low.tolist() == [[0 | 2 << 2 | 0 << 4 | 2 << 6, 1 | 3 << 2 | 1 << 4 | 3 << 6]]
    assert high.tolist() == [[0b11110000]]
    np.testing.assert_allclose(untable_small([low, high], scale, 3), codes - 3.5, rtol=2e-3)


@pytest.mark.parametrize(("bits", "least"), [(2, 0.93), (3, 0.975), (4, 0.99)])
def test_small_tables_keep_the_direction_of_their_rows(bits, least):
    table = RNG.normal(size=(9000, 64)).astype(np.float32) * np.geomspace(0.1, 10, 9000, dtype=np.float32)[:, None]
    planes, scale = table_small(table, bits)
    assert sum(plane.nbytes for plane in planes) == table.size * bits / 8
    assert scale.dtype == np.float16
    restored = untable_small(planes, scale, bits)
    cosine = (table * restored).sum(1) / np.linalg.norm(table, axis=1) / np.linalg.norm(restored, axis=1)
    assert cosine.mean() > least


def test_scales_that_float16_cannot_hold_stay_float32():
    _, scale = table_small(np.full((2, 8), 1e-7, np.float32), 4)
    assert scale.dtype == np.float32
    assert table_small(np.full((2, 8), 1e6, np.float32), 4)[1].dtype == np.float32


@pytest.mark.parametrize("bits", [3, 4])
def test_searched_scales_beat_the_peak_and_no_scale_of_a_finer_grid_is_much_better(bits):
    table = RNG.normal(size=(300, 256)).astype(np.float32)
    found = ((untable_small(*table_small(table, bits), bits) - table) ** 2).sum()
    half = 2 ** (bits - 1)
    peak = np.abs(table).max(1, keepdims=True) / half

    def error(clip: float) -> np.ndarray:
        step = peak * clip
        return (((np.clip(np.floor(table / step), -half, half - 1) + 0.5) * step - table) ** 2).sum(1)

    assert found < 0.92 * error(1.0).sum()
    best = np.min([error(clip) for clip in np.linspace(0.3, 1.2, 181)], axis=0).sum()
    assert best > 0.98 * found


@pytest.mark.parametrize(
    ("bits", "dim", "message"),
    [
        (4, 5, "a table of 4 bits needs a dimension that 2 divides, this one has 5: use --int8"),
        (3, 12, "a table of 3 bits needs a dimension that 8 divides, this one has 12"),
        (5, 8, "a table is stored in 8, 4, 3 or 2 bits, not in 5"),
    ],
)
def test_dimensions_that_cannot_be_packed_are_refused(bits, dim, message):
    with pytest.raises(UserError, match=message):
        table_small(np.ones((4, dim), np.float32), bits)


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
