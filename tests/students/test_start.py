"""What a student that starts from another keeps of it."""

from __future__ import annotations

import pytest
import torch

from compact_labse.errors import UserError
from compact_labse.students import StudentConfig, keep_of_start, new_student, save_student
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary


@pytest.mark.parametrize("compose", [False, True])
@pytest.mark.parametrize("keep", [0.0, 0.25])
def test_the_saved_table_lies_between_the_tables_before_and_after(tmp_path, compose, keep):
    texts = ["one two three twofold", "three two one onefold threefold"] * 9
    tokenizer = train_vocabulary(texts, VocabularyConfig(size=100))
    first = new_student(StudentConfig(dim=6), tokenizer, None, seed=1)
    (tmp_path / "first").mkdir()
    save_student(first, tokenizer, tmp_path / "first")
    config = StudentConfig(dim=6, compose=compose, start=str(tmp_path / "first"), keep=keep)
    student = new_student(config, tokenizer, None, seed=2)
    before = student.table()
    torch.testing.assert_close(before, first.table())
    with torch.no_grad():
        student.weight += torch.randn_like(student.weight)
    after = student.table()
    keep_of_start(student, config)
    torch.testing.assert_close(student.table(), keep * before + (1 - keep) * after)
    assert (after - before).abs().max() > 0.1


@pytest.mark.parametrize("settings", [{"start": "random"}, {"kind": "bert", "dim": 8, "start": "a/folder"}])
def test_only_a_static_student_with_a_predecessor_can_keep_something(settings):
    with pytest.raises(UserError, match=r"student\.keep is for a static student that starts from"):
        StudentConfig(keep=0.5, **settings)
