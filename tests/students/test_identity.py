"""A transformer that starts from a static student points where the static student does."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from compact_labse.errors import UserError
from compact_labse.students import StaticStudent, StudentConfig, TransformerStudent
from compact_labse.students.identity import filled_up, start_as, zero_mean_basis

ROWS, FIRST, LAST = 300, 2, 3


def static(dim: int) -> StaticStudent:
    """A static student whose rows differ in length as trained ones do."""
    torch.manual_seed(0)
    student = StaticStudent(StudentConfig(dim=dim), ROWS)
    with torch.no_grad():
        student.weight *= torch.rand(ROWS, 1) * 3 + 0.1
    return student


def texts(special: bool) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    rows = [torch.randint(5, ROWS, (length,), generator=random) for length in (3, 9, 4, 12, 1, 7)]
    if special:
        rows = [torch.cat([torch.tensor([FIRST]), row, torch.tensor([LAST])]) for row in rows]
    return torch.cat(rows), torch.tensor([0, *map(len, rows)]).cumsum(0)


@pytest.mark.parametrize(
    "shape",
    [
        {"kind": "bert", "dim": 32, "layers": 1},
        {"kind": "bert", "dim": 40, "layers": 3},
        {"kind": "electra", "dim": 32, "embedding": 32, "layers": 2},
        {"kind": "electra", "dim": 48, "embedding": 28, "layers": 2},
    ],
)
def test_similarities_are_those_of_the_static_student(shape):
    small = static(24)
    grown = TransformerStudent(StudentConfig(heads=4, max_tokens=32, **shape), ROWS, pad_id=0).eval()
    start_as(grown, small.weight.detach(), [FIRST, LAST])
    before_BD, after_BD = small(*texts(False)), grown(*texts(True))
    torch.testing.assert_close(after_BD @ after_BD.T, before_BD @ before_BD.T, atol=2e-3, rtol=0)


def test_a_wider_table_loses_little_and_the_directions_stay():
    """Reduced from 32 to 29 dimensions: the vectors, turned back by the best rotation, are the same to cosine 0.99."""
    small = static(32)
    with torch.no_grad():  # trained tables have directions of little variance
        small.weight *= torch.linspace(1.5, 0.05, 32)
    grown = TransformerStudent(StudentConfig(kind="bert", dim=32, layers=2, max_tokens=32), ROWS, pad_id=0).eval()
    start_as(grown, small.weight.detach(), [FIRST, LAST])
    before_BD, after_BD = small(*texts(False)), grown(*texts(True))
    left, _, right = torch.linalg.svd(after_BD.T @ before_BD)
    assert ((after_BD @ left @ right) * before_BD).sum(1).min() > 0.99


def test_without_the_slack_the_directions_would_be_lost():
    """LayerNorm gives every token one length: the reason for the slack coordinates, and the test above can fail."""
    small = static(24)
    grown = TransformerStudent(StudentConfig(kind="bert", dim=32, layers=1, max_tokens=32), ROWS, pad_id=0).eval()
    start_as(grown, small.weight.detach(), [FIRST, LAST])
    with torch.no_grad():
        grown.model.get_input_embeddings().weight[:, -2:] = 0
    before_BD, after_BD = small(*texts(False)), grown(*texts(True))
    assert (after_BD @ after_BD.T - before_BD @ before_BD.T).abs().max() > 0.05


def test_the_layers_learn_from_the_start():
    grown = TransformerStudent(StudentConfig(kind="bert", dim=32, layers=2, max_tokens=32), ROWS, pad_id=0)
    start_as(grown, static(24).weight.detach(), [FIRST, LAST])
    grown(*texts(True)).sum().backward()
    for layer in grown.model.encoder.layer:
        assert layer.attention.output.dense.weight.grad.abs().max() > 0
        assert layer.output.dense.weight.grad.abs().max() > 0


def test_basis_and_rows():
    basis = zero_mean_basis(9)
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(basis.sum(1), torch.zeros(8), atol=1e-6, rtol=0)
    rows = filled_up(torch.randn(50, 8), 11)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.sum(1), torch.zeros(50), atol=1e-5, rtol=0)


def test_a_model_narrower_than_its_table_is_refused():
    grown = TransformerStudent(StudentConfig(kind="electra", dim=16, embedding=32, max_tokens=32), ROWS, pad_id=0)
    with pytest.raises(UserError, match=r"student.dim \(16\) must be at least student.embedding \(32\)"):
        start_as(grown, static(8).weight.detach(), [FIRST, LAST])


def test_dropout_is_refused_because_special_tokens_would_vanish():
    with pytest.raises(UserError, match="without dropout"):
        StudentConfig(kind="bert", dim=32, layers=1, start="some/folder", dropout=0.1)
    StudentConfig(kind="bert", dim=32, layers=1, dropout=0.1)
