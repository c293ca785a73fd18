"""Zeros: the right ones, where they are said to be, and what is measured of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")

import torch
from torch import nn

from compact_labse import sample
from compact_labse.compress import sparsity
from compact_labse.compress.sparsity import Sparsity, at_once, largest, two_of_four
from compact_labse.encoder import load
from compact_labse.pipelines import load_pipeline


@pytest.fixture(scope="module")
def bench():
    return load_pipeline("bench", "sparsity")


def test_the_largest_stay():
    score = torch.tensor([[5.0, 1.0, 3.0], [2.0, 6.0, 4.0]])
    assert largest(score, 0.5).tolist() == [[True, False, False], [False, True, True]]
    assert largest(torch.zeros(4, 5), 0.25).sum() == 15, "ties are decided"
    assert largest(score, 0.0).all()


def test_two_of_each_four_stay_and_what_is_left_over():
    score = torch.tensor([[1.0, 4.0, 3.0, 2.0, 9.0, 0.0], [8.0, 7.0, 6.0, 9.0, 0.0, 0.0]])
    assert two_of_four(score).int().tolist() == [[0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 1, 1]]
    torch.manual_seed(0)
    score = torch.randn(7, 32)
    mask = two_of_four(score)
    assert (mask.unflatten(1, (-1, 4)).sum(2) == 2).all()
    for row, kept in zip(score, mask, strict=True):  # the slow obvious way
        for start in range(0, 32, 4):
            best = sorted(range(start, start + 4), key=lambda place: -float(row[place]))[:2]
            assert kept[start : start + 4].nonzero().flatten().add(start).tolist() == sorted(best)


class Two(nn.Module):
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x).tanh())


@pytest.mark.parametrize("kind", ["magnitude", "2:4"])
def test_at_once_zeros_the_weights(kind):
    model, before = Two(), Two()
    at_once(model, kind, 0.5)
    for now, then in zip(sparsity.linears(model), sparsity.linears(before), strict=True):
        assert float((now.weight == 0).float().mean()) == 0.5
        kept = now.weight != 0
        assert torch.equal(now.weight[kept], then.weight[kept])


@pytest.mark.parametrize("kind", sparsity.KINDS)
def test_training_ends_with_the_share_of_zeros_and_the_same_vectors(kind, monkeypatch):
    monkeypatch.setattr(sparsity, "REFRESH", 2)
    model, x, wanted = Two(), torch.randn(64, 8), torch.randn(64, 2)
    zeros = Sparsity(model, kind, 0.5, steps=20)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    calls = zeros.calls.clone()
    with torch.no_grad():
        model(x)
    assert torch.equal(zeros.calls, calls), "an evaluation is no step"
    zeros.finish()
    for layer in sparsity.linears(model):
        assert float((layer.weight == 0).float().mean()) == 0.5
    plain = Two()
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(plain(x), model(x))


def test_movement_keeps_what_training_pushes_away_from_zero():
    """Two inputs count; the weight of one is as small as can be, and grows: magnitude would drop it."""
    torch.manual_seed(0)
    model = Two()
    model.forward = lambda x: model.one(x)
    with torch.no_grad():
        model.one.weight.fill_(0.5)
        model.one.weight[:, 0] = 1e-3
    x = torch.randn(256, 8)
    wanted = 2 * x[:, :1].expand(256, 8)
    zeros = Sparsity(model, "movement", 0.5, steps=30)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(30):
        optimizer.zero_grad()
        (model(x) - wanted).square().mean().backward()
        optimizer.step()
    assert zeros._choose("0", 0.5)[:, 0].all()


def test_the_share_rises_and_then_stays():
    zeros = Sparsity(Two(), "magnitude", 0.5, steps=100)
    shares = [zeros.share_at(calls) for calls in (0, 35, 70, 100)]
    assert shares[0] == 0 < shares[1] < shares[2] == shares[3] == 0.5
    assert shares[1] > 0.25, "faster at first"


def test_a_model_of_the_bench_has_its_zeros(bench, tiny, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    bench.write_zeros(tiny("minilm"), tmp_path / "now", [str(texts)], "2:4", 0)
    bench.write_zeros(tiny("minilm"), tmp_path / "later", [str(texts)], "movement", 4)
    wanted = load(str(tiny("minilm"))).encode(sample.sentences("en"))
    for name in ("now", "later"):
        encoder = load(str(tmp_path / name))
        for layer in sparsity.linears(encoder.module.body.transformer):
            assert 0.4 < float((layer.weight == 0).float().mean()) <= 0.51
        cosine = np.einsum("nd,nd->n", wanted, encoder.encode(sample.sentences("en")))
        assert 0 < cosine.min() < 0.999


def test_a_mask_is_counted_where_it_pays(bench, tmp_path):
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    half = np.where(rng.random((64, 64)) < 0.5, 0, rng.normal(size=(64, 64))).astype(np.float32)
    tensors = {"half": half, "full": rng.normal(size=(64, 64)).astype(np.float32), "line": np.zeros(64, np.float32)}
    model = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(v, k) for k, v in tensors.items()])
    )
    onnx.save(model, tmp_path / "model.onnx")
    saved = (tmp_path / "model.onnx").stat().st_size - bench.masked(tmp_path / "model.onnx")
    assert saved == 4 * int((half == 0).sum()) - 64 * 64 // 8


def test_a_row_that_failed_says_so(bench):
    rows = [
        {"zeros": "2:4", "file": "ONNX fp32", "bytes": 9e7, "deflated_bytes": 6e7, "zstd_bytes": 5e7, "p50_ms": 2.5},
        {"zeros": "2:4", "file": "TFLite fp32", "bytes": 9e7, "deflated_bytes": 6e7, "zstd_bytes": 5e7, "p50_ms": None},
    ]
    assert bench.page(rows).splitlines()[2:] == [
        "| 2:4 | ONNX fp32 | 90.0 | 60.0 | 50.0 |  | 2.50 |  |",
        "| 2:4 | TFLite fp32 | 90.0 | 60.0 | 50.0 |  | fails |  |",
    ]
