"""Rounding while training is the rounding of exports, lets gradients through, and helps."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="students need the extra 'train'")
pytest.importorskip("onnxruntime", reason="exports need the extra 'onnx'")
pytest.importorskip("onnx", reason="exports need the extra 'onnx'")

import torch
import torch.nn.functional as F
from torch import nn

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.compress import fake_quantize as fake
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.formats.contract import RANGES
from compact_labse.formats.integers import blocks4, columns8, table_small, untable_small
from compact_labse.formats.onnx import write
from compact_labse.formats.onnx.graph import graph_of
from compact_labse.formats.onnx.learned_ranges import learned_plans
from compact_labse.formats.onnx.quantize import quantize
from compact_labse.formats.static_plan import kept, plan_of
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.students import StudentConfig
from compact_labse.torch_encoder import TorchEncoder
from compact_labse.training.distillation import Distillation


class Alone(nn.Module):
    """A linear layer behind a table, rounded."""

    def __init__(self, layer: nn.Linear, bits: int, **options: bool) -> None:
        super().__init__()
        self.layer, self.table = layer, nn.Embedding(4, layer.in_features)
        self.rounding = fake.Rounding(self, bits, **options)

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


@pytest.mark.parametrize("inputs", [40, 41])
def test_8_bits_are_those_of_exports(inputs):
    torch.manual_seed(0)
    weight_NK = torch.randn(6, inputs)
    codes, scale_N = columns8(weight_NK.T.numpy())
    rounded, _ = fake.rounded_weight(weight_NK, 8)
    np.testing.assert_allclose(rounded.numpy().T, codes * scale_N, atol=1e-6)
    assert 0 < float((rounded - weight_NK).abs().max()) < 0.1


def test_a_range_is_that_of_static_exports():
    torch.manual_seed(0)
    x = torch.randn(70, 40) ** 3
    low, high = fake.range_of(x)
    assert x.min() < low < 0 < high < x.max(), "the tails are left out"
    found = fake.rounded_in_range(x, low, high).numpy()
    np.testing.assert_allclose(found, kept(x.numpy(), plan_of(float(low), float(high))), atol=1e-4)
    assert 0 < np.abs(found - x.numpy().clip(float(low), float(high))).max() < float(high - low) / 255
    assert fake.range_of(x.abs())[0] == 0, "zero is in every range"


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


def test_ranges_follow_the_passes_that_train(monkeypatch):
    monkeypatch.setattr(fake, "REFRESH", 2)
    torch.manual_seed(0)
    module, x = Alone(nn.Linear(40, 5), 8), torch.randn(64, 40)
    assert module.rounding.ranges() == {}
    module = Alone(nn.Linear(40, 5), 8, fixed=True)
    with torch.no_grad():
        module(x)
    assert module.rounding.ranges() == {}, "nothing was seen in training"
    seen = []
    for factor in (1.0, 2.0, 2.0, 2.0):
        module(factor * x)
        seen.append(module.rounding.ranges()["layer"][1])
    high = float(fake.range_of(x)[1])
    np.testing.assert_allclose(seen, [high, high, 1.3 * high, 1.3 * high], rtol=1e-5)


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


def test_an_export_in_4_bits_keeps_what_was_trained_in_4_bits(tiny, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    assert main(words(tiny, tmp_path, "new", student__bits=4, loop__steps=6)) == 0
    state = load(str(tmp_path / "new")).module.state_dict()
    before = load(str(tiny("minilm"))).module.state_dict()
    seen = 0
    for name, value in state.items():
        weight = value.numpy()
        if ".dense." in name or ".self." in name:
            if not name.endswith("weight"):
                continue
            packed, scales = blocks4(weight.T, 32)
            codes = np.stack([packed & 15, packed >> 4], -1).reshape(len(weight), -1, 32).astype(np.float32) - 8
            exported = (codes * scales.reshape(len(weight), -1, 1)).reshape(len(weight), -1)[:, : weight.shape[1]]
        elif name.endswith("word_embeddings.weight"):
            exported = untable_small(*table_small(weight, 4), 4)
        else:
            continue
        np.testing.assert_allclose(exported, weight, rtol=2e-3, atol=1e-6)  # scales of the table are float16
        assert not torch.equal(value, before[name])
        seen += 1
    assert seen == 13


def test_a_static_export_takes_the_ranges_of_training(tiny, tmp_path):
    """The file computes what training computed: rounded weights and rows, activations in the same ranges."""
    pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
    (tmp_path / "texts.txt").write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    settings = {"student__bits": 8, "student__fixed_ranges": "true", "loop__steps": 6}
    assert main(words(tiny, tmp_path, "new", **settings)) == 0
    ranges = json.loads((tmp_path / "new" / RANGES).read_text())
    source = TorchEncoder.open(tmp_path / "new", device="cpu")
    transformer = source.module.body.transformer
    graph = graph_of(source)
    plans = learned_plans(graph, source)
    assert [len(ranges), len(plans)] == [12, 8], "query, key and value have the same activations"
    model = quantize(graph, recipe="static", table_bits=8, plans=plans)
    (tmp_path / "onnx").mkdir()
    path = tmp_path / "onnx" / "model_int8_static.onnx"
    job = write.Job(source=source, graph=graph, calibration={}, test={"en": sample.sentences("en")})
    write._save(job, model, write._facts(job, "int8-static", "static"), path)
    shutil.copy(tmp_path / "new" / "tokenizer.json", tmp_path)
    exported = OnnxEncoder.open(path).encode(sample.sentences("de"))
    plain = source.encode(sample.sentences("de"))
    rounding = fake.Rounding(transformer, 8, fixed=True)
    for number, name in enumerate(rounding.names):
        rounding.get_buffer(f"range{number}").copy_(torch.tensor(ranges[name]))
    trained = source.encode(sample.sentences("de"))
    assert np.einsum("nd,nd->n", exported, trained).min() > 0.9999
    assert np.abs(exported - trained).mean() < 0.2 * np.abs(exported - plain).mean()
    (tmp_path / "new" / RANGES).write_text('{"encoder": 3}')
    with pytest.raises(UserError, match="ranges.json is damaged: expected a pair of numbers for each layer"):
        learned_plans(graph, source)


def test_ranges_are_for_8_bits_and_do_not_outlive_training_without(tiny, tmp_path):
    with pytest.raises(UserError, match="student.fixed_ranges is for transformers with student.bits 8"):
        StudentConfig(kind="bert", bits=4, fixed_ranges=True)
    (tmp_path / "texts.txt").write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    folder = tmp_path / "minilm"
    shutil.copytree(tiny("minilm"), folder)
    (folder / RANGES).write_text("{}")
    assert main(words(lambda name: folder, tmp_path, "new", loop__steps=2)) == 0
    assert not (tmp_path / "new" / RANGES).exists()


@pytest.mark.slow
def test_training_with_few_bits_makes_few_bits_cost_less(tiny, tmp_path):
    """The same student in 4 bits, trained on as it was and as if it had 4: the second is nearer to the teacher.

    On the mean of four seeds: one alone goes either way in so few steps.
    """
    texts = [text for language in ("en", "de", "fr", "es") for text in sample.sentences(language)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    original = load(str(tiny("minilm"))).encode(texts)
    damage: dict[str, float] = {"plain": 0.0, "rounded": 0.0}
    for seed in (1, 2, 3, 4):
        for name, more in {"plain": {}, "rounded": {"student__bits": 4}}.items():
            settings = {"batch": 64, "loop__steps": 300, "loop__seed": seed, **more}
            assert main(words(tiny, tmp_path, f"{name}-{seed}", **settings)) == 0
            student = load(str(tmp_path / f"{name}-{seed}"))
            fake.Rounding(student.module.body.transformer, 4)
            damage[name] += float(1 - np.einsum("nd,nd->n", student.encode(texts), original).mean())
    assert 0 < damage["rounded"] < damage["plain"]
