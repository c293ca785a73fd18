"""The scan finds the layer that was made hard to quantize; the front holds what nothing beats."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")

from safetensors.torch import load_file, save_file

from compact_labse import sample
from compact_labse.compress.sensitivity import Bench, Point, excluded, front, search
from compact_labse.errors import UserError
from compact_labse.formats.integers import blocks4
from compact_labse.formats.onnx.graph import graph_of
from compact_labse.torch_encoder import TorchEncoder


@pytest.fixture(scope="module")
def bench(tiny) -> Bench:
    source = TorchEncoder.open(tiny("minilm"), device="cpu")
    return Bench(source, graph_of(source), sample.sentences("en")[:32])


def test_every_layer_is_named_and_four_bits_cost_more(bench):
    layers = bench.scan()
    assert len(layers) == 12
    assert {layer.name for layer in layers} >= {"encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense"}
    assert all(layer.damage4 > 5 * layer.damage8 > 0 for layer in layers)


def test_the_layer_made_hard_is_found(tiny_copy):
    """An input that is always zero has a huge weight: it changes nothing, but takes all codes from its block."""
    folder = tiny_copy("minilm")
    weights = load_file(folder / "model.safetensors")
    for name in ("weight", "bias"):
        weights[f"encoder.layer.0.output.LayerNorm.{name}"][0] = 0
    weights["encoder.layer.1.attention.self.value.weight"][:, 0] = 100
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    source = TorchEncoder.open(folder, device="cpu")
    layers = Bench(source, graph_of(source), sample.sentences("en")[:32]).scan()
    assert max(layers, key=lambda layer: layer.damage4).name == "encoder.layer.1.attention.self.value"


def test_the_search_measures_both_ends_and_gives_a_front(bench):
    points = search(bench, bench.scan(), steps=2, table_bits=(8,))
    by_title = {point.title: point for point in points}
    assert by_title["float32"].damage < 1e-6
    assert by_title["float32"].bytes > by_title["8 bits, table 8"].bytes > by_title["12 layers 4 bits, table 8"].bytes
    assert by_title["12 layers 4 bits, table 8"].damage > by_title["8 bits, table 8"].damage
    best = front(points)
    assert by_title["float32"] in best
    assert all(a.bytes < b.bytes and a.damage > b.damage for a, b in pairwise(best))


def test_a_point_that_is_beaten_is_not_on_the_front():
    def point(title: str, size: int, damage: float) -> Point:
        rest = {"worst_cosine": 1.0, "float_layers": (), "four_bit_layers": (), "table_bits": 8}
        return Point(title=title, bytes=size, damage=damage, **rest)

    points = [point("a", 10, 0.5), point("b", 20, 0.6), point("c", 30, 0.1), point("d", 30, 0.2)]
    assert [found.title for found in front(points)] == ["a", "c"]


def test_the_exclusion_list_is_the_fewest_layers_with_half_the_damage(bench):
    layers = bench.scan()
    names, total = excluded(layers), sum(layer.damage8 for layer in layers)
    share = [layer.damage8 / total for layer in layers if layer.name in names]
    assert sum(share) >= 0.5 > sum(share) - min(share)


def test_four_bit_blocks_stand_for_the_weights():
    weight_KN = np.random.default_rng(0).standard_normal((70, 5)).astype(np.float32)
    packed, scales = blocks4(weight_KN, 32)
    assert packed.shape == (5, 3, 16)
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(5, 3, 32).astype(np.float32) - 8
    kept = (codes * scales.reshape(5, 3, 1)).reshape(5, 96)[:, :70].T
    assert 0.01 < np.abs(kept - weight_KN).mean() < 0.15


def test_too_few_texts(bench):
    with pytest.raises(UserError, match="at least 16 texts, got 10"):
        Bench(bench.source, bench.graph, sample.sentences("en")[:10])
