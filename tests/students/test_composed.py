"""Composed rows: parts by Viterbi, shared learning, and a plain table at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from compact_labse.errors import UserError
from compact_labse.students import StudentConfig
from compact_labse.students.composed import ComposedStudent, parts_of

PIECES = [("[UNK]", 0.0), ("▁", -1.0), ("▁house", -4.0), ("▁houses", -6.0), ("s", -2.0), ("h", -5.0), ("▁hou", -9.0)]


def vocabulary() -> Tokenizer:
    return Tokenizer(models.Unigram(PIECES, unk_id=0))


def test_parts_are_the_most_probable_other_segmentation() -> None:
    parts = parts_of(vocabulary())
    names = [[PIECES[number][0] for number in part] for part in parts]
    assert names[3] == ["▁house", "s"]
    assert names[2] == [] and names[4] == [] and names[6] == []


def test_a_row_is_its_own_vector_and_the_mean_of_its_parts() -> None:
    student = ComposedStudent(StudentConfig(dim=8, compose=True), vocabulary())
    own = student.weight.detach()
    table = student.table()
    torch.testing.assert_close(table[3], own[3] + (own[2] + own[4]) / 2)
    torch.testing.assert_close(table[2], own[2])


def test_a_table_to_start_from_is_the_table_afterwards() -> None:
    student = ComposedStudent(StudentConfig(dim=8, compose=True), vocabulary())
    wanted = torch.randn(len(PIECES), 8)
    student.start_as(wanted)
    torch.testing.assert_close(student.table(), wanted)
    assert not torch.allclose(student.weight[3], wanted[3])


def test_learning_a_piece_changes_the_vectors_of_its_parts() -> None:
    student = ComposedStudent(StudentConfig(dim=8, compose=True), vocabulary())
    student(torch.tensor([3]), torch.tensor([0, 1])).sum().backward()
    touched = student.weight.grad.to_dense().abs().sum(1) > 0
    assert touched.tolist() == [False, False, True, True, True, False, False]


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(UserError, match="needs a Unigram vocabulary, got WordPiece"):
        parts_of(Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")))


def test_only_static_students_compose() -> None:
    with pytest.raises(UserError, match="compose is for static students"):
        StudentConfig(kind="bert", compose=True)


def test_dropout_takes_tokens_but_leaves_every_text_one() -> None:
    student = ComposedStudent(StudentConfig(dim=8, compose=True, dropout=0.9), vocabulary())
    ids, starts = np.tile(np.arange(7), 50), np.array([0, 7, 7, *range(14, 351, 7)])
    left, ends = student.augment(ids, starts, np.random.default_rng(0))
    lengths = np.diff(ends)
    assert len(left) == ends[-1] < 0.6 * len(ids)
    assert lengths[1] == 0 and (np.delete(lengths, 1) >= 1).all()


def test_without_dropout_nothing_is_taken() -> None:
    student = ComposedStudent(StudentConfig(dim=8, compose=True), vocabulary())
    ids, starts = np.arange(5), np.array([0, 2, 5])
    assert student.augment(ids, starts, np.random.default_rng(0)) == (ids, starts)
