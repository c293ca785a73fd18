"""A saved student gives the same vectors in training, in `compact_labse.load` and in sentence-transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from compact_labse.encoder import load
from compact_labse.students import StudentConfig, new_student, save_student
from compact_labse.tokens import Tokens
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary
from tests.tiny_models import TEXT

SHAPES = {
    "static": {"kind": "static", "dim": 12},
    "bert": {"kind": "bert", "dim": 16, "layers": 2, "heads": 2, "ffn": 24, "max_tokens": 24},
    "electra": {"kind": "electra", "dim": 16, "embedding": 8, "layers": 1, "heads": 4, "max_tokens": 24},
}
TEXTS = [*TEXT, "THE TRAIN", "a " * 60, "🙂 unknown ⵣ"]


def made(kind: str, vocabulary: str, folder):
    config = StudentConfig(**SHAPES[kind])
    tokenizer = train_vocabulary(TEXT, VocabularyConfig(kind=vocabulary, size=260))
    student = new_student(config, tokenizer, None, seed=1).eval()
    save_student(student, tokenizer, folder)
    tokens = Tokens(tokenizer, max_tokens=config.max_tokens if config.special else None, special=config.special)
    rows = tokens.ids(TEXTS)
    ids = torch.tensor([number for row in rows for number in row])
    with torch.no_grad():
        return student(ids, torch.tensor([0, *map(len, rows)]).cumsum(0)).numpy()


@pytest.mark.parametrize("vocabulary", ["unigram", "wordpiece"])
@pytest.mark.parametrize("kind", list(SHAPES))
def test_all_three_readers_agree(kind, vocabulary, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    trained = made(kind, vocabulary, tmp_path)
    peer = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(peer, trained, atol=1e-5)
    np.testing.assert_allclose(load(tmp_path).encode(TEXTS), trained, atol=1e-5)
    assert np.linalg.norm(trained, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
    assert np.unique(trained.round(4), axis=0).shape[0] > 10


def test_the_folder_holds_what_the_layout_says_and_no_pickle(tmp_path):
    made("bert", "wordpiece", tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"modules.json", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    types = [module["type"].rpartition(".")[2] for module in json.loads((tmp_path / "modules.json").read_text())]
    assert types == ["Transformer", "Pooling", "Normalize"]


def test_a_subclass_is_folded_into_a_plain_table(tmp_path):
    """What a table is computed from while training does not show in the folder."""
    from safetensors.torch import load_file

    from compact_labse.students import StaticStudent

    class Doubled(StaticStudent):
        def rows(self, ids_U):
            return 2 * super().rows(ids_U)

    tokenizer = train_vocabulary(TEXT, VocabularyConfig(size=260))
    student = Doubled(StudentConfig(dim=4), tokenizer.get_vocab_size())
    save_student(student, tokenizer, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")["embedding.weight"]
    torch.testing.assert_close(stored, 2 * student.weight.detach())
