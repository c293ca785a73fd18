"""Graphs that take strings: written where their tokenizer gives the reference's ids, refused everywhere else."""

import json

import numpy as np
import pytest

from compact_labse import sample
from compact_labse.errors import GateError, Unsuitable
from compact_labse.formats.contract import OUTPUTS, Facts
from compact_labse.formats.onnx import strings as onnx_strings
from compact_labse.formats.onnx.graph import save, stamp, static_graph
from compact_labse.onnx_encoder import OnnxEncoder
from tests.tiny_models import unigram, wordpiece

LANGUAGES = ("en", "de", "ru", "el", "ko", "th")

pytest.importorskip("onnxruntime_extensions", reason="graphs that take strings need onnxruntime-extensions")


@pytest.fixture
def exported(tmp_path):
    """A bag of tokens with [CLS] and [SEP], whose cased WordPiece has every character of the sample."""

    def make(tokenizer=None, *, covered=True):
        content = json.loads((tokenizer or wordpiece()).to_str())
        if covered:
            texts = [text for group in sample.parallel().values() for text in group] + list(onnx_strings.HARD_TEXTS)
            characters = sorted({c for text in texts for c in text if not c.isspace() and c not in "\0\ud800"})
            for piece in [*characters, *(f"##{c}" for c in characters)]:
                content["model"]["vocab"].setdefault(piece, len(content["model"]["vocab"]))
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        table = np.random.default_rng(0).normal(size=(len(content["model"]["vocab"]), 8))
        model = static_graph(table)
        stamp(model, Facts(dim=8, pooling="mean", dtype="fp32", recipe="float", max_tokens=64))
        save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return make


def test_a_string_goes_in_and_its_vector_comes_out(exported):
    path = exported()
    target = onnx_strings.string_in(path, LANGUAGES)
    assert target.name == "model_text.onnx"
    session = onnx_strings.open_strings(target)
    for text in ("Guten Morgen!", "明天会下雨", "x" * 500, ""):
        vector = session.run([OUTPUTS[1]], {"text": np.array([text], dtype=object)})[0]
        assert vector.shape == (1, 8)
        np.testing.assert_allclose(vector, OnnxEncoder.open(path).encode([text]), atol=1e-6)


def test_a_tokenizer_that_differs_is_refused_and_what_differs_is_named(exported):
    """onnxruntime-extensions keeps the known pieces of a word with an unknown rest; the reference gives [UNK] alone."""
    path = exported(covered=False)
    with pytest.raises(GateError, match=r"gives other ids for \d+ texts, among them '.*' \(en, from token \d+ on\); "):
        onnx_strings.string_in(path, LANGUAGES)
    assert not (path.parent / "model_text.onnx").exists()


def test_a_language_whose_punctuation_it_does_not_know_is_refused(exported):
    with pytest.raises(GateError, match=r"gives other ids for \d+ texts, among them '.*' \(ar, from token"):
        onnx_strings.string_in(exported(), ("en", "ar"))


def test_vectors_that_differ_are_refused(exported, monkeypatch):
    path = exported()
    monkeypatch.setattr(onnx_strings, "cosines", lambda a, b: np.array([1.0, 0.5]))
    with pytest.raises(GateError, match=r"its vectors are not those of model\.onnx: cosine 0\.5"):
        onnx_strings.string_in(path, LANGUAGES)


def test_other_tokenizers_are_unsuitable(tmp_path):
    from compact_labse.tokens import Tokens

    with pytest.raises(Unsuitable, match="needs BERT's WordPiece without a prompt, this is a Unigram"):
        onnx_strings._tokenizer(Tokens(unigram()))
