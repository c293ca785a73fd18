"""Vectors turned by a matrix behind the pooling: the right one, in the right place, readable by others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")
pytest.importorskip("jsonargparse", reason="configurations need the extra 'train'")

from compact_labse.encoder import load
from compact_labse.pipelines import load_pipeline
from tests.tiny_pairs import write_corpus

TEXTS = ["Hello world", "ein Satz", "noch einer, etwas länger"]


@pytest.fixture(scope="module")
def agree():
    return load_pipeline("distill", "teacher/agree")


def unit(x_ND: np.ndarray) -> np.ndarray:
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["static", "minilm", "labse"])
def test_vectors_are_those_of_the_model_times_the_matrix(agree, tiny, tmp_path, name, monkeypatch):
    from compact_labse.compress import shared_directions as module

    maps, real = [], module.shared_directions

    def keep(x_ND, y_ND, width):
        maps.append(real(x_ND, y_ND, width))
        return maps[-1]

    monkeypatch.setattr(module, "shared_directions", keep)
    write_corpus(tmp_path / "corpus")
    words = ["--model", tiny(name), "--data", tmp_path / "corpus", "--out", tmp_path / "turned", "--pairs", "400"]
    assert agree.main([*map(str, words)]) == 0
    lineage = json.loads((tmp_path / "turned/lineage.json").read_text())
    assert (lineage["command"], lineage["config"]["pairs"]) == ("agree", 400)
    assert any(Path(name).suffix == ".tsv" for name in lineage["inputs"])
    before, after = (load(str(folder)).encode(TEXTS) for folder in (tiny(name), tmp_path / "turned"))
    np.testing.assert_allclose(after, unit(before @ maps[0]), atol=1e-5)
    assert np.abs(after - before).max() > 1e-3
    kinds = [entry["type"].rpartition(".")[2] for entry in json.loads((tmp_path / "turned/modules.json").read_text())]
    assert kinds[-1] == "Normalize"
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "turned"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, after, atol=1e-5)


@pytest.mark.parametrize("name", ["static", "minilm"])
def test_fewer_values_have_the_cosines_of_the_strongest_directions(agree, tiny, tmp_path, name, monkeypatch):
    from compact_labse.compress import shared_directions as module

    maps, real = [], module.shared_directions
    monkeypatch.setattr(module, "shared_directions", lambda *given: maps.append(real(*given)) or maps[-1])
    write_corpus(tmp_path / "corpus")
    words = ["--model", tiny(name), "--data", tmp_path / "corpus", "--out", tmp_path / "narrow", "--width", "8"]
    assert agree.main([*map(str, words), "--pairs", "400"]) == 0
    before, after = (load(str(folder)).encode(TEXTS) for folder in (tiny(name), tmp_path / "narrow"))
    strongest = unit(before @ maps[0])
    assert after.shape == strongest.shape == (3, 8)
    np.testing.assert_allclose(after @ after.T, strongest @ strongest.T, atol=1e-5)
    assert np.abs(after - strongest).max() > 1e-3


def test_too_few_pairs_and_folders_of_others_are_refused(agree, tiny, tmp_path, capsys):
    (tmp_path / "en-de.tsv").write_text("one\teins\ntwo\tzwei\nthree\tdrei\n" * 2)
    words = ["--model", str(tiny("minilm")), "--data", str(tmp_path / "en-de.tsv"), "--out"]
    assert agree.main([*words, str(tmp_path / "turned")]) == 2
    assert "too few" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    assert agree.main([*words, str(tmp_path / "mine"), "--overwrite", "true"]) == 2
    assert (tmp_path / "mine/letter.txt").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", "0"], "width must be from 1 to the "),
        (["--width", "9999"], "width must be from 1 to the "),
        (["--pairs", "0"], "pairs must be at least 1"),
        (["--seed", "-1"], "seed at least 0"),
    ],
)
def test_impossible_settings_are_refused_before_the_corpus_is_read(agree, tiny, tmp_path, capsys, words, message):
    given = ["--model", str(tiny("minilm")), "--data", str(tmp_path / "none.tsv"), "--out", str(tmp_path / "turned")]
    assert agree.main([*given, *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_corpus_must_be_named(agree, tiny, tmp_path, capsys):
    assert agree.main(["--model", str(tiny("minilm")), "--out", str(tmp_path / "turned")]) == 2
    assert "no corpus was named" in capsys.readouterr().err
