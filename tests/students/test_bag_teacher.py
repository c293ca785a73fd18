"""A teacher that is a bag of tokens gives a student with the same pieces its own rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compact_labse import load
from compact_labse.students import StaticStudent, StudentConfig
from compact_labse.students.from_teacher import bag_of_tokens, pieces_into


def test_rows_of_a_static_folder_are_its_table(tiny) -> None:
    teacher = load(tiny("static"))
    rows = bag_of_tokens(teacher)
    assert rows is not None and rows.shape == (teacher.tokens.vocab_size, teacher.dim)


def test_rows_of_an_export_are_those_of_its_source(tiny_copy, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from compact_labse import cli

    source = tiny_copy("static")
    assert cli.main(["export", str(source), "--onnx", "--out", str(tmp_path / "out")]) == 0
    exported = bag_of_tokens(load(tmp_path / "out/onnx/model.onnx"))
    assert exported is not None
    np.testing.assert_allclose(exported, bag_of_tokens(load(source)), atol=1e-6)


def test_a_transformer_is_no_bag_of_tokens(tiny) -> None:
    assert bag_of_tokens(load(tiny("minilm"))) is None


def test_a_student_as_wide_as_its_teacher_starts_with_the_teachers_vectors(tiny) -> None:
    teacher = load(tiny("static"))
    student = StaticStudent(StudentConfig(dim=teacher.dim), teacher.tokens.vocab_size)
    pieces_into(student, teacher.tokens.tokenizer, teacher)
    texts = ["a house by the sea", "two dogs", "the sea"]
    ids = teacher.tokenize(texts)
    flat, ends = torch.tensor([i for row in ids for i in row]), np.cumsum([0, *map(len, ids)])
    mine, theirs = student(flat, torch.tensor(ends)).detach().numpy(), teacher.encode(texts)
    np.testing.assert_allclose(mine @ mine.T, theirs @ theirs.T, atol=1e-4)
