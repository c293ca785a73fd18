"""A bag of tokens on the directions in which translations agree: found, better than principal components, written."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="tiny models need the extra 'train'")

from safetensors.numpy import load_file

from compact_labse import sample
from compact_labse.compress import shared_directions as module
from compact_labse.compress.shared_directions import shared_directions, spread, write_narrow
from compact_labse.encoder import load
from compact_labse.errors import UserError


def unit(x_ND: np.ndarray) -> np.ndarray:
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def pairs(count: int = 8000) -> tuple[np.ndarray, np.ndarray]:
    """Four directions in which both sides agree, and six, stronger ones, in which each side has its own."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(count, 4))
    sides = [np.concatenate([meaning, 2 * rng.normal(size=(count, 6))], 1) for _ in range(2)]
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    return unit(sides[0] @ turn), unit(sides[1] @ turn)


def found(x_ND: np.ndarray, y_ND: np.ndarray) -> float:
    return float(((unit(x_ND) @ unit(y_ND).T).argmax(1) == np.arange(len(x_ND))).mean())


def test_directions_in_which_translations_agree_are_kept():
    x_ND, y_ND = pairs()
    map_DW = shared_directions(x_ND, y_ND, 4)
    assert map_DW.shape == (10, 4)
    principal_DW = np.linalg.eigh(x_ND.T @ x_ND)[1][:, ::-1][:, :4]
    ours, principal, all_of_them = (
        found(x_ND[:200] @ map_DE, y_ND[:200] @ map_DE) for map_DE in (map_DW, principal_DW, np.eye(10))
    )
    assert ours > 0.8
    assert ours > all_of_them > principal


def test_without_whitening_and_differences_these_are_principal_components(monkeypatch):
    monkeypatch.setattr(module, "WHITENING", 0.0)
    x_ND, _ = pairs()
    map_DW = shared_directions(x_ND, x_ND, 3)
    principal_DW = np.linalg.eigh(x_ND.T @ x_ND)[1][:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(map_DW.T @ principal_DW), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("width", [0, 11])
def test_widths_that_are_none_are_refused(width):
    with pytest.raises(UserError, match=f"from 1 to the 10 of the vectors, got {width}"):
        shared_directions(*pairs(), width)


def test_a_turned_table_gives_the_same_cosines(tiny, tmp_path):
    folder = tiny("static")
    table_VD = load_file(folder / "model.safetensors")["embedding.weight"]
    turn_DD = np.linalg.qr(np.random.default_rng(0).normal(size=(table_VD.shape[1],) * 2))[0]
    write_narrow(folder, turn_DD, tmp_path / "turned")
    texts = sample.sentences("de")[:9]
    before, after = (load(str(path)).encode(texts) for path in (folder, tmp_path / "turned"))
    np.testing.assert_allclose(before @ before.T, after @ after.T, atol=1e-5)
    assert np.abs(before - after).max() > 0.05
    write_narrow(folder, turn_DD[:, :5], tmp_path / "narrow")
    assert load(str(tmp_path / "narrow")).encode(texts).shape == (9, 5)
    mean = [
        np.square(load_file(path / "model.safetensors")["embedding.weight"]).mean()
        for path in (folder, tmp_path / "narrow")
    ]
    assert mean[0] == pytest.approx(mean[1], rel=1e-3)


def test_a_transformer_is_refused(tiny, tmp_path):
    with pytest.raises(UserError, match="is no bag of tokens: its weights are"):
        write_narrow(tiny("minilm"), np.eye(16), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_spreading_a_map_changes_no_cosine_and_no_value_stays_strong():
    map_DW = np.eye(24)[:, :16] * np.linspace(10, 1, 16)
    rows = np.random.default_rng(1).normal(size=(50, 24))
    before, after = rows @ map_DW, rows @ spread(map_DW)
    np.testing.assert_allclose(after @ after.T, before @ before.T, rtol=1e-9)
    assert (before**2).mean(0).max() / (before**2).mean(0).min() > 50
    assert (after**2).mean(0).max() / (after**2).mean(0).min() < 10
