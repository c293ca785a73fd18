"""Rounding while training is the rounding of exports, lets gradients through, and helps."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="students need the extra 'train'")

import torch
import torch.nn.functional as F
from torch import nn

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.compress import fake_quantize as fake
from compact_labse.distillation import Distillation
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.formats.integers import blocks4, table_small, untable_small
from compact_labse.students import StudentConfig


class Alone(nn.Module):
    """A linear layer behind a table, rounded."""

    def __init__(self, layer: nn.Linear, bits: int) -> None:
        super().__init__()
        self.layer, self.table = layer, nn.Embedding(4, layer.in_features)
        self.rounding = fake.Rounding(self, bits)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_weights_are_rounded_as_exports_round_them():
    torch.manual_seed(0)
    weight_NK = torch.randn(6, 70)
    packed, scales = blocks4(weight_NK.T.numpy(), 32)
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(6, 3, 32).astype(np.float32) - 8
    exported = (codes * scales.reshape(6, 3, 1)).reshape(6, 96)[:, :70]
    rounded, step = fake.rounded_weight(weight_NK, 4)
    assert step.shape == (6, 3, 1)
    error, theirs = (float(np.square(x - weight_NK.numpy()).mean()) for x in (rounded.numpy(), exported))
    assert 0 < error < 1.03 * theirs  # of 13 steps per block, an export tries 25


def test_table_rows_are_rounded_as_exports_round_them():
    torch.manual_seed(0)
    rows = torch.randn(50, 64)
    exported = untable_small(*table_small(rows.numpy(), 4), 4)
    rounded = fake.rounded_rows(rows, 4).numpy()
    error, theirs = (float(np.square(x - rows.numpy()).mean()) for x in (rounded, exported))
    assert 0 < error < 1.03 * theirs


def test_gradients_pass_as_if_nothing_were_rounded():
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 5), torch.randn(7, 40, requires_grad=True)
    weight = fake.rounded_weight(layer.weight.detach(), 4)[0]
    expected = F.linear(fake.rounded_activations(x.detach()), weight, layer.bias)
    plain, found = layer(x), Alone(layer, 4)(x)
    assert torch.allclose(found, expected)
    assert not torch.allclose(found, plain, atol=1e-3)
    found.sum().backward()
    assert torch.allclose(x.grad, weight.sum(0).expand(7, 40))
    assert torch.allclose(layer.weight.grad, fake.rounded_activations(x.detach()).sum(0).expand(5, 40))


def test_steps_are_searched_anew_by_passes_that_train_and_by_no_others(monkeypatch):
    monkeypatch.setattr(fake, "REFRESH", 3)
    torch.manual_seed(0)
    module, x = Alone(nn.Linear(40, 5), 4), torch.randn(2, 40)
    step, searched = module.rounding.get_buffer("step0"), []
    for _ in range(5):
        with torch.no_grad():
            module.layer.weight.mul_(1.1)
            before = step.clone()
            module(x)
            assert torch.equal(step, before), "an evaluation changed a step"
        module(x)
        searched.append(not torch.equal(step, before))
    assert searched == [True, False, False, True, False]
    assert int(module.rounding.calls) == 5


def test_bits_that_are_not_there():
    with pytest.raises(UserError, match="student.bits of kind bert must be 4, 8 or null, got 3"):
        StudentConfig(kind="bert", bits=3)
    with pytest.raises(UserError, match="student.bits of kind static must be 2, 3, 4 or null, got 8"):
        StudentConfig(kind="static", bits=8)


SETTINGS = {
    "batch": 16, "loop.eval_every": 0, "loop.bf16": "false", "loop.device": "cpu", "loop.tensorboard": "false",
    "loop.optimizer.lr": 0.003, "objectives.ranking": 0, "corpus.heldout": 0,
}  # fmt: skip


def words(tiny, folder, out: str, **more: object) -> list[str]:
    given = SETTINGS | {name.replace("__", "."): value for name, value in more.items()}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    teacher, texts, target = str(tiny("minilm")), str(folder / "texts.txt"), str(folder / out)
    return ["distill", "--student", teacher, "--teacher", teacher, "--texts", texts, "--out", target, *options]


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_run_ends_bit_for_bit_the_same(tiny, tmp_path, monkeypatch, kept):
    """Stopped after a step that searched nothing; without the steps in the checkpoint it would end otherwise."""
    monkeypatch.setattr(fake, "REFRESH", 4)
    (tmp_path / "texts.txt").write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    settings = {"student__bits": 4, "loop__steps": 12, "corpus__heldout": 20, "corpus__heldout_share": 0.2}
    settings |= {"loop__eval_every": 3, "loop__checkpoint_every": 3}
    assert main(words(tiny, tmp_path, "straight", **settings)) == 0
    batch, stop = Distillation.batch, [7]

    def stopping(task: Distillation, number: int) -> object:
        if stop == [number]:
            raise KeyboardInterrupt
        return batch(task, number)

    monkeypatch.setattr(Distillation, "batch", stopping)
    assert main(words(tiny, tmp_path, "stopped", **settings)) == 130
    stop.clear()
    if not kept:
        monkeypatch.setattr(fake.Rounding, "load_state_dict", lambda self, state: None)
        monkeypatch.setattr(fake.Rounding, "_load_from_state_dict", lambda self, *rest: None)
    assert main(words(tiny, tmp_path, "stopped", **settings)) == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "stopped"))
    assert (one == other) == kept


@pytest.mark.slow
def test_training_with_few_bits_makes_few_bits_cost_less(tiny, tmp_path):
    """The same student in 4 bits, trained on as it was and as if it had 4: the second is nearer to the teacher."""
    texts = [text for language in ("en", "de", "fr", "es") for text in sample.sentences(language)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    original = load(str(tiny("minilm"))).encode(texts)
    damage = {}
    for name, more in {"plain": {}, "rounded": {"student__bits": 4}}.items():
        assert main(words(tiny, tmp_path, name, batch=64, loop__steps=300, **more)) == 0
        student = load(str(tmp_path / name))
        fake.Rounding(student.module.body.transformer, 4)
        damage[name] = float(1 - np.einsum("nd,nd->n", student.encode(texts), original).mean())
    assert 0 < damage["rounded"] < 0.9 * damage["plain"]
