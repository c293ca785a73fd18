import io
import json

import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.vectors import write_jsonl, write_vectors

VECTORS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
TEXTS = ["one", "zwei", "três", "", "пять"]
CHUNKS = [(TEXTS[:2], VECTORS[:2]), (TEXTS[2:], VECTORS[2:])]


def test_npy_is_what_numpy_writes_whatever_the_chunks(tmp_path):
    assert write_vectors(tmp_path / "v.npy", 4, iter(CHUNKS)) == 5
    assert np.array_equal(np.load(tmp_path / "v.npy"), VECTORS)
    assert np.load(tmp_path / "v.npy", mmap_mode="r").dtype == np.float32
    write_vectors(tmp_path / "none.npy", 4, [])
    assert np.load(tmp_path / "none.npy").shape == (0, 4)


def test_parquet_holds_text_and_vector(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_vectors(tmp_path / "v.parquet", 4, iter(CHUNKS))
    table = parquet.read_table(tmp_path / "v.parquet")
    assert table["text"].to_pylist() == TEXTS
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float32), VECTORS)
    assert table.schema.field("vector").type.list_size == 4
    assert parquet.ParquetFile(tmp_path / "v.parquet").num_row_groups == 2


def test_jsonl_holds_text_and_vector(tmp_path):
    write_vectors(tmp_path / "v.jsonl", 4, iter(CHUNKS))
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text("utf-8").splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    np.testing.assert_allclose([line["vector"] for line in lines], VECTORS, atol=1e-6)


def test_a_lone_surrogate_does_not_stop_the_output(tmp_path):
    stream = io.BytesIO()
    write_jsonl(stream, ["a\udcff"], VECTORS[:1])
    assert json.loads(stream.getvalue())["text"] == "a?"
    pytest.importorskip("pyarrow")
    write_vectors(tmp_path / "v.parquet", 4, [(["a\ud800"], VECTORS[:1])])


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path, name):
    def broken():
        yield CHUNKS[0]
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_vectors(tmp_path / name, 4, broken())
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(
        UserError, match=r"v\.csv has no ending of a known format: expected one of \.npy, \.parquet, \.j"
    ):
        write_vectors(tmp_path / "v.csv", 4, [])
