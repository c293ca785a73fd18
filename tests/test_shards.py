"""Ragged arrays on disk equal the lists that were written."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compact_labse.errors import UserError
from compact_labse.shards import Ragged, RaggedWriter, Texts, joined, read_array, write_array

ROWS = [[5, 6, 7], [], [8], [9, 10, 11, 12], [13]]


def written(tmp_path, rows=ROWS, name="ids"):
    with RaggedWriter(tmp_path, name, "uint32") as writer:
        writer.extend(rows[:2])
        writer.extend([])
        writer.extend(rows[2:])
    return Ragged(tmp_path, name, "uint32")


def rows_of(values, offsets):
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def test_rows_come_back_in_any_order_and_cut(tmp_path):
    store = written(tmp_path)
    assert len(store) == 5
    order = np.array([3, 1, 0, 3])
    assert rows_of(*store.take(order)) == [ROWS[i] for i in order]
    assert rows_of(*store.take(order, longest=2)) == [ROWS[i][:2] for i in order]
    assert rows_of(*store.take(np.array([1, 1]))) == [[], []]


def test_two_batches_are_joined_into_one(tmp_path):
    store = written(tmp_path)
    one, other = np.array([0, 1]), np.array([4, 3])
    assert rows_of(*joined([store.take(one), store.take(other)])) == [ROWS[i] for i in (0, 1, 4, 3)]


def test_texts_of_any_script_come_back(tmp_path):
    texts = ["Zug", "", "ที่", "去柏林", "🚆"]
    with RaggedWriter(tmp_path, "source", "uint8") as writer:
        writer.extend([text.encode() for text in texts])
    store = Texts(tmp_path, "source")
    assert store.texts(np.array([4, 1, 2])) == ["🚆", "", "ที่"]
    assert store[3] == texts[3]


def test_a_store_that_ends_early_or_is_missing_is_a_user_error(tmp_path):
    written(tmp_path)
    path = tmp_path / "ids.bin"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="is damaged: it ends early"):
        Ragged(tmp_path, "ids", "uint32")
    path.unlink()
    with pytest.raises(UserError, match="ids.bin is missing"):
        Ragged(tmp_path, "ids", "uint32")


def test_plain_arrays_come_back_even_empty(tmp_path):
    for values in (np.arange(5, dtype=np.uint16), np.empty(0, np.uint16)):
        write_array(tmp_path / "a", values)
        assert read_array(tmp_path / "a", "uint16").tolist() == values.tolist()
