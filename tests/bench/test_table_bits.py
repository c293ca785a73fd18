"""Tables in few bits: rounding by blocks is rounding of each block, and more noise is found where there is more."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from compact_labse.pipelines import load_pipeline  # noqa: E402


@pytest.fixture(scope="module")
def tool():
    return load_pipeline("bench", "table_bits")


TABLE = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)


@pytest.mark.parametrize(("bits", "block"), [(8, 0), (8, 32), (4, 0), (4, 32), (3, 64), (2, 32)])
def test_a_block_is_rounded_as_a_row_of_its_own(tool, bits, block):
    found, size = tool.rounded(TABLE, bits, block)
    width = block or 64
    for start in range(0, 64, width):
        alone, _ = tool.rounded(np.ascontiguousarray(TABLE[:, start : start + width]), bits, 0)
        np.testing.assert_array_equal(found[:, start : start + width], alone)
    assert size == pytest.approx(TABLE.size * bits / 8 + TABLE.size / width * 4, abs=TABLE.size / width * 2)


def test_noise_is_that_of_the_definition_and_falls_with_bits_and_blocks(tool):
    assert tool.noise(TABLE, TABLE) == np.inf
    assert tool.noise(TABLE, 0.9 * TABLE) == pytest.approx(20, abs=1e-4)
    by_row, by_block = (tool.noise(TABLE, tool.rounded(TABLE, 4, block)[0]) for block in (0, 32))
    assert tool.noise(TABLE, tool.rounded(TABLE, 2, 0)[0]) < by_row < by_block
    assert by_block < tool.noise(TABLE, tool.rounded(TABLE, 8, 0)[0])


def test_a_table_that_loses_its_languages_shows_it(tool, monkeypatch):
    """Texts of one token each, whose translation has nearly the same row: few bits make rows equal."""
    rng = np.random.default_rng(1)
    english = rng.normal(size=(50, 64)).astype(np.float32)
    table = np.concatenate([english, english + rng.normal(scale=0.01, size=english.shape).astype(np.float32)])
    ones = torch.arange(50)
    pairs = {"xx": ((torch.arange(50, 100), ones), (torch.arange(50), ones))}
    monkeypatch.setattr(tool, "VARIANTS", ((8, 0), (4, 48), (2, 0)))
    lines = list(tool.rows(table, pairs))
    assert lines[0].startswith("| 32 | | 0.0 | 100.00 |")
    assert [line.split("|")[1].strip() for line in lines] == ["32", "8", "2"], "48 does not divide 64"
    assert lines[1].split("|")[4].strip() == "+0.00"
    alike = np.tile(table[:1], (100, 1)) + np.float32(0.02) * table
    assert float(list(tool.rows(alike, pairs))[-1].split("|")[4]) < -50
