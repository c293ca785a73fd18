"""Plain transformers folders as sentence-transformers ones, to train on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file

from compact_labse.students.retrained import write_pooled
from compact_labse.torch_encoder import TorchEncoder


def plain(source: Path, folder: Path, **config: object) -> Path:
    """The files of a transformer alone, with other settings."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, folder / name)
    settings = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", ["minilm", "electra", "distilbert", "xlmr", "mpnet"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_every_family_that_can_be_pretrained_gets_its_pooling(tiny, tmp_path, name, pooling):
    """DistilBERT calls its width `dim`."""
    source, folder = plain(tiny(name), tmp_path / "plain"), tmp_path / "pooled"
    folder.mkdir()
    write_pooled(source, pooling, folder)
    given = TorchEncoder.open(source, pooling=pooling, device="cpu")
    made = TorchEncoder.open(folder, device="cpu")
    np.testing.assert_allclose(made.encode(["the cat"]), given.encode(["the cat"]), atol=1e-6)


@pytest.mark.parametrize("stored", [True, False])
def test_a_pooler_in_the_weights_is_taken_whatever_the_config_says(tiny, tmp_path, capsys, stored):
    """Stock BERT folders are called `BertForMaskedLM` and hold a trained pooler."""
    source = plain(tiny("labse"), tmp_path / "plain", architectures=["BertForMaskedLM"])
    weights = load_file(source / "model.safetensors")
    pooler = {name: weights.pop(name) for name in list(weights) if "pooler." in name}
    assert len(pooler) == 2
    if not stored:
        save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    folder = tmp_path / "pooled"
    folder.mkdir()
    write_pooled(source, "pooler", folder)
    said = capsys.readouterr().err
    assert ("pooler: the one in the weights of" if stored else "pooler: a random one") in said
    dense = load_file(folder / "2_Dense" / "model.safetensors")["linear.weight"]
    assert torch.equal(dense, next(t for name, t in pooler.items() if name.endswith("weight"))) == stored
