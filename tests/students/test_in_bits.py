"""Students whose tables are trained in the few values that an export of so many bits stores."""

import numpy as np
import pytest
import torch

from compact_labse.errors import UserError
from compact_labse.formats.integers import table8, table_small, untable_small
from compact_labse.students import StudentConfig
from compact_labse.students.static import STEPS, StaticStudent, in_bits


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_steps_are_the_best_of_their_neighbourhood_for_normal_rows(bits, monkeypatch):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4096)).astype(np.float32))
    errors = {}
    for factor in (0.94, 1.0, 1.06):
        monkeypatch.setitem(STEPS, bits, STEPS[bits] * factor)
        errors[factor] = float((in_bits(rows, bits) - rows).square().mean())
        monkeypatch.undo()
    assert errors[1.0] == min(errors.values()) > 0


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_exports_in_so_many_bits_store_a_trained_table_exactly(bits):
    student = StaticStudent(StudentConfig(dim=48, bits=bits), 300)
    with torch.no_grad():
        student.weight[7] *= 1e4  # rows of very different length
        student.weight[8] *= 1e-4
    table = student.table().numpy()
    assert max(len(np.unique(row)) for row in table) <= 2**bits
    np.testing.assert_allclose(untable_small(*table_small(table, bits), bits), table, rtol=1e-3)


def test_a_table_in_2_bits_survives_4_and_8_bits_too():
    table = StaticStudent(StudentConfig(dim=48, bits=2), 300).table().numpy()
    np.testing.assert_allclose(untable_small(*table_small(table, 4), 4), table, rtol=1e-3)
    codes, scale = table8(table)
    np.testing.assert_allclose(codes * scale, table, atol=0.005 * np.abs(table).max())


def test_texts_get_the_vectors_of_the_saved_table_and_the_gradient_passes_the_rounding():
    torch.manual_seed(0)
    student = StaticStudent(StudentConfig(dim=16, bits=2), 20)
    ids, offsets = torch.tensor([3, 4, 4, 9]), torch.tensor([0, 3, 4])
    vectors = student(ids, offsets)
    table = student.table()
    expected = torch.stack([table[[3, 4, 4]].mean(0), table[9]])
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(expected, dim=-1))
    assert not torch.allclose(table, student.weight)

    rows = torch.randn(5, 16, requires_grad=True)
    weights = torch.randn(5, 16)
    (in_bits(rows, 2) * weights).sum().backward()
    torch.testing.assert_close(rows.grad, weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 5}, "student.bits of kind static must be 2, 3, 4 or null, got 5"),
        ({"bits": 2, "kind": "bert"}, "student.bits of kind bert must be 4, 8 or null, got 2"),
        ({"bits": 2, "keep": 0.5, "start": "folder"}, "not together with student.keep"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        StudentConfig(**settings)
