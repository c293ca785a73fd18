"""AdamW with sparse table gradients equals torch's own AdamW on dense ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compact_labse.errors import UserError
from compact_labse.training.optimizer import Optimizer
from compact_labse.training.schedule import OptimizerConfig, rate


class Tiny(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head, self.sparse = nn.Parameter(torch.randn(30, 4)), nn.Linear(4, 3), sparse

    def forward(self, ids):
        return self.head(F.embedding(ids, self.table, sparse=self.sparse)).tanh().square().sum()


CONFIG = OptimizerConfig(lr=1e-2, table_lr=3e-2, warmup=3, weight_decay=0.1, clip=0.5)


def run(sparse: bool, steps: int = 8) -> Tiny:
    model = Tiny(sparse)
    optimizer = Optimizer(model, ["table"], steps, CONFIG)
    for step in range(steps):
        for micro in range(2):
            model(torch.tensor([step, micro, 7, 7])).backward()
        optimizer.shorten()
        optimizer.step(step)
    return model


def test_sparse_gradients_change_the_weights_as_dense_ones_do():
    sparse, dense = run(True), run(False)
    assert not torch.equal(sparse.table, Tiny(True).table)
    for one, other in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_dense_equals_torch_with_the_same_rates_and_clipping():
    model, steps = Tiny(False), 8
    adam = torch.optim.AdamW(
        [
            {"params": [model.table], "weight_decay": 0},
            {"params": [model.head.weight], "weight_decay": 0.1},
            {"params": [model.head.bias], "weight_decay": 0},
        ],
        betas=CONFIG.betas,
    )
    for step in range(steps):
        for micro in range(2):
            model(torch.tensor([step, micro, 7, 7])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group, top in zip(adam.param_groups, (3e-2, 1e-2, 1e-2), strict=True):
            group["lr"] = top * rate(step, steps, CONFIG)
        adam.step()
        adam.zero_grad()
    for one, other in zip(model.parameters(), run(True).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_schedule_rises_then_falls_to_its_final_share():
    config = OptimizerConfig(warmup=0.1, final=0.1)
    rates = [rate(step, 100, config) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[0] < 0.2
    assert max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.11, abs=0.01)
    cosine = OptimizerConfig(warmup=0, decay="cosine", final=0)
    assert rate(50, 100, cosine) == pytest.approx(0.5)
    assert rate(99, 100, OptimizerConfig(warmup=0, decay="none")) == 1


def test_bounds_are_checked_in_the_users_words():
    with pytest.raises(UserError, match="optimizer.final is a share"):
        OptimizerConfig(final=2)
    with pytest.raises(UserError, match="optimizer.decay is 'step'; known"):
        OptimizerConfig(decay="step")


def test_polynomial_decay_is_tensorflows():
    config = OptimizerConfig(decay="polynomial", warmup=10, final=0.0, power=1.0)
    found = [rate(step, 100, config) for step in range(100)]
    assert found[10] == pytest.approx(0.9), "counted from the first step"
    assert found[4] == pytest.approx(0.9 * 5 / 11)
    assert found[60] == pytest.approx(0.4)
    assert found == sorted(found[:11]) + sorted(found[11:], reverse=True)
    squared = OptimizerConfig(decay="polynomial", warmup=0, final=0.1, power=2.0)
    assert rate(50, 100, squared) == pytest.approx(0.1 + 0.9 * 0.25)
