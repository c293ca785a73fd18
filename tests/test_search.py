import json
import shutil

import numpy as np
import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.neighbours import BACKENDS, EXACT_UP_TO, choose
from compact_labse.search import Index, build, read_about, text_digest
from tests.tiny_models import TEXT

LINES = ["", *TEXT, "   ", *reversed(TEXT), "tab\there"]


@pytest.fixture(scope="module")
def encoder(tiny):
    return load(tiny("static"))


@pytest.fixture
def index_folder(encoder, tmp_path):
    build(encoder, LINES, tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_line_finds_itself_and_its_number_in_the_file(encoder, tmp_path, backend):
    if backend != "exact":
        pytest.importorskip(backend)
    about = build(encoder, LINES, tmp_path / "index", backend=backend)
    assert (about.count, about.backend) == (2 * len(TEXT) + 1, backend)
    answers = Index(tmp_path / "index").search(encoder.encode(TEXT), top_k=2)
    for number, (text, hits) in enumerate(zip(TEXT, answers, strict=True), 2):
        assert [hit.text for hit in hits] == [text, text]
        assert {hit.line for hit in hits} == {number, 3 + 2 * len(TEXT) + 1 - number}
        assert hits[0].score == pytest.approx(1, abs=2e-3)
        assert all(LINES[hit.line - 1] == hit.text for hit in hits)


def test_the_exact_backend_equals_sorting_everything_and_others_agree_on_the_best(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(700, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, chunks = vectors[:20] + 0.1, [vectors[:300], vectors[300:]]
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :7]
    for name, backend in BACKENDS.items():
        if name != "exact":
            pytest.importorskip(name)
        backend.build(iter(chunks), tmp_path / name, 24)
        scores, rows = backend.open(tmp_path / name, 24)(queries, 7)
        assert (np.diff(scores, axis=1) <= 0).all()
        np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, rows, 1), atol=5e-3)
        same = np.mean([len(set(a) & set(b)) / 7 for a, b in zip(rows, expected, strict=True)])
        assert same == 1 if name == "exact" else same > 0.9


def test_blocks_of_the_exact_backend_are_merged(tmp_path, monkeypatch):
    from compact_labse import neighbours

    monkeypatch.setattr(neighbours, "BLOCK", 16)
    vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    BACKENDS["exact"].build(iter([vectors]), tmp_path / "v", 8)
    scores, rows = BACKENDS["exact"].open(tmp_path / "v", 8)(vectors[:3], 20)
    assert np.array_equal(rows, np.argsort(-(vectors[:3] @ vectors.T), axis=1)[:, :20])
    assert scores.shape == (3, 20)


def test_scores_below_the_threshold_are_rejected(encoder, index_folder):
    index = Index(index_folder)
    queries = encoder.encode([TEXT[0]])
    every = index.search(queries, top_k=50)[0]
    assert len(every) == 2 * len(TEXT) + 1
    assert [hit for hit in every if hit.score >= 0.9] == index.search(queries, 50, 0.9)[0]
    assert index.search(queries, 5, 1.5) == [[]]


def test_auto_is_exact_until_comparing_with_everything_takes_long():
    pytest.importorskip("usearch")
    assert choose("auto", EXACT_UP_TO) == "exact"
    assert choose("auto", EXACT_UP_TO + 1) == "usearch"
    with pytest.raises(UserError, match="unknown kind of index 'magic', expected auto or one of exact, usearch, faiss"):
        choose("magic", 5)


def test_without_an_index_library_search_is_exact(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose("auto", 10**9) == "exact"


def test_the_hash_of_a_text_is_that_of_its_lines(encoder, index_folder):
    assert read_about(index_folder).text == text_digest(LINES)
    assert text_digest([*LINES, ""]) != text_digest(LINES) != text_digest(LINES[:-1])


def test_blank_text_is_an_error_and_leaves_no_index(encoder, tmp_path):
    with pytest.raises(UserError, match="the text has no line to search: all are blank"):
        build(encoder, ["", "  \t"], tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_queries_of_another_dimension_are_refused(index_folder):
    with pytest.raises(UserError, match="the queries have 3 values, the index 16: another model?"):
        Index(index_folder).search(np.ones((1, 3), np.float32))


def test_a_folder_that_is_no_index_is_named(tmp_path):
    with pytest.raises(UserError, match=r"is not a search index: it has no index\.json"):
        Index(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "is an index of version 99, this release reads 1: make it again, --rebuild"),
        ({"backend": "magic"}, "is an index of the unknown kind 'magic', expected one of exact, usearch, faiss"),
        ({"surprise": 1}, r"index\.json is damaged .*make the index again with --rebuild"),
    ],
)
def test_an_index_of_another_kind_is_named(index_folder, change, message):
    about = json.loads((index_folder / "index.json").read_text())
    (index_folder / "index.json").write_text(json.dumps(about | change))
    with pytest.raises(UserError, match=message):
        Index(index_folder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_damaged_vectors_are_named(encoder, tmp_path, backend):
    if backend != "exact":
        pytest.importorskip(backend)
    folder = tmp_path / "index"
    build(encoder, LINES, folder, backend=backend)
    (folder / "vectors").write_bytes(b"not vectors at all" * 9)
    with pytest.raises(UserError, match="the index .* is damaged .*make it again with --rebuild"):
        Index(folder)
    (folder / "vectors").unlink()
    with pytest.raises(UserError, match="the index .* is damaged"):
        Index(folder)


def test_an_index_may_be_moved(encoder, index_folder, tmp_path):
    moved = shutil.move(index_folder, tmp_path / "elsewhere")
    assert Index(moved).search(encoder.encode([TEXT[3]]), 1)[0][0].text == TEXT[3]
