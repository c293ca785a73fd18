"""Progressive stacking: the halves of the deeper model are copies, and it trains apart."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from compact_labse.errors import UserError
from compact_labse.students.config import StudentConfig
from compact_labse.training.mlm_model import new_masked_model
from compact_labse.training.stacking import depths, layers_in, stacked

SHAPE = StudentConfig(kind="bert", dim=8, layers=4, heads=2, ffn=12, max_tokens=16)


@pytest.mark.parametrize("kind", ["bert", "electra"])
@pytest.mark.parametrize("times", [2, 3])
def test_the_halves_are_copies_and_the_rest_stays(kind, times):
    shape = StudentConfig(kind=kind, dim=8, layers=4, heads=2, ffn=12, embedding=6, max_tokens=16)
    before = new_masked_model(shape, 2, 30, 0, seed=0).state_dict()
    deep = new_masked_model(shape, 2 * times, 30, 0, seed=1)
    after = stacked(before, times)
    deep.load_state_dict(after)  # no name is missing, none is too many
    found = deep.state_dict()
    for name, tensor in before.items():
        assert torch.equal(found[name], tensor), name
        for turn in range(1, times):
            for number in range(2):
                if f"layer.{number}." in name:
                    copy = name.replace(f"layer.{number}.", f"layer.{number + 2 * turn}.")
                    assert torch.equal(found[copy], tensor), copy
                    assert found[copy].data_ptr() != found[name].data_ptr()
    assert layers_in(found) == 2 * times
    assert any(not torch.equal(before[name], before[name.replace("layer.0.", "layer.1.")]) for name in before)


def test_twelve_layers_are_three_then_six_then_twelve():
    assert depths(12, 3) == [3, 6, 12]
    assert depths(5, 1) == [5]
    with pytest.raises(UserError, match="must be a multiple of 4"):
        depths(6, 3)


def test_what_cannot_be_stacked_is_a_user_error():
    one = {"a.layer.0.w": torch.ones(1), "a.layer.2.w": torch.ones(1)}
    with pytest.raises(UserError, match=r"without a gap: \[0, 2\]"):
        stacked(one)
    with pytest.raises(UserError, match="nothing to stack"):
        stacked({"table": torch.ones(1)})
