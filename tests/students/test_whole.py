"""A model folder as a student: its own vectors, each text once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="students need the extra 'train'")

import torch

from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.students import StudentConfig, new_student
from tests.tiny_models import TEXT


def ragged(rows):
    offsets = np.cumsum([0, *map(len, rows)])
    return torch.tensor(np.concatenate(rows)), torch.from_numpy(offsets)


@pytest.mark.parametrize("name", ["labse", "xlmr", "mpnet", "electra"])
def test_the_students_vectors_are_the_folders(tiny, name):
    encoder = load(str(tiny(name)))
    student = new_student(
        StudentConfig(kind="folder", start=str(tiny(name))), encoder.tokens.tokenizer, None, 0
    ).train()
    assert student.config.max_tokens == 32
    vectors = student(*ragged(encoder.tokenize(TEXT))).detach().numpy()
    np.testing.assert_allclose(vectors, encoder.encode(TEXT), atol=2e-6)


def test_texts_that_stand_on_both_sides_are_computed_once(tiny, monkeypatch):
    encoder = load(str(tiny("minilm")))
    student = new_student(StudentConfig(kind="folder", start=str(tiny("minilm"))), encoder.tokens.tokenizer, None, 0)
    rows, seen = encoder.tokenize(TEXT[:4]), []
    whole = student.pooled
    monkeypatch.setattr(student, "pooled", lambda ids, mask: seen.append(len(ids)) or whole(ids, mask))
    twice = student(*ragged(rows + rows))
    assert sum(seen) == 4
    assert torch.equal(twice[:4], twice[4:])
    seen.clear()
    other = student(*ragged([*rows, *rows[:3], rows[0]]))
    assert sum(seen) == 8
    torch.testing.assert_close(other[:7], twice[:7], atol=1e-6, rtol=0)
    student(*ragged(rows[:3]))
    assert sum(seen) == 11


def test_a_bag_of_tokens_is_refused(tiny):
    encoder = load(str(tiny("static")))
    with pytest.raises(UserError, match="start it with student.kind static"):
        new_student(StudentConfig(kind="folder", start=str(tiny("static"))), encoder.tokens.tokenizer, None, 0)
