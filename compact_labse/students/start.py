"""First weights of a student: random, from the teacher, from a trained static student, or a whole model."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from compact_labse.compress.fake_quantize import Rounding
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.students.composed import ComposedStudent
from compact_labse.students.config import StudentConfig
from compact_labse.students.from_teacher import layers_into, pieces_into
from compact_labse.students.identity import start_as
from compact_labse.students.static import StaticStudent
from compact_labse.students.transformer import TransformerStudent
from compact_labse.students.whole import FolderStudent
from compact_labse.tokens import PAD_NAMES

Student = StaticStudent | TransformerStudent


def new_student(config: StudentConfig, tokenizer: Tokenizer, teacher: Encoder | None, seed: int) -> Student:
    """A student with its first weights, as `config.start` says; the same for the same seed."""
    if config.start == "teacher" and teacher is None:
        raise UserError("student.start is 'teacher', but no teacher was given")
    torch.manual_seed(seed)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if config.kind == "static":
        return _static(config, tokenizer, teacher, size)
    student = FolderStudent(config, size) if config.kind == "folder" else _deep(config, tokenizer, teacher, size)
    if config.bits:
        student.rounding = Rounding(student.transformer, config.bits, fixed=config.fixed_ranges)
    return student


def static_table(folder: Path, rows: int) -> Tensor:
    """The table `[V, D]` of a static student's folder; UserError if there is none, or not with so many rows."""
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    tensors = load_file(path) if path.is_file() else {}
    if "embedding.weight" not in tensors:
        raise UserError(f"student.start: {folder} is no static student (no embedding.weight in model.safetensors)")
    table_VD = tensors["embedding.weight"].float()
    if len(table_VD) != rows:
        raise UserError(f"student.start: the table in {folder} has {len(table_VD)} rows, the vocabulary {rows} pieces")
    return table_VD


def keep_of_start(student: Student, config: StudentConfig) -> None:
    """Move a static student's table back to the one that it started from, by the share `config.keep`."""
    if not config.keep:
        return
    assert isinstance(student, StaticStudent)
    after_VD = student.table()
    before_VD = static_table(Path(config.start), len(after_VD)).to(after_VD.device)
    student.start_as(torch.lerp(after_VD, before_VD, config.keep))


def _static(config: StudentConfig, tokenizer: Tokenizer, teacher: Encoder | None, size: int) -> StaticStudent:
    student = ComposedStudent(config, tokenizer) if config.compose else StaticStudent(config, size)
    if config.start == "teacher":
        assert teacher is not None
        pieces_into(student, tokenizer, teacher)
    elif config.start != "random":
        table_VD = static_table(Path(config.start), size)
        if table_VD.shape[1] != config.dim:
            raise UserError(f"student.dim is {config.dim}, but the table in {config.start} is {table_VD.shape[1]} wide")
        student.start_as(table_VD)
    return student


def _deep(config: StudentConfig, tokenizer: Tokenizer, teacher: Encoder | None, size: int) -> TransformerStudent:
    pad_id = next((number for name in PAD_NAMES if (number := tokenizer.token_to_id(name)) is not None), 0)
    student = TransformerStudent(config, size, pad_id)
    if config.start == "teacher":
        assert teacher is not None
        layers_into(student, tokenizer, teacher)
    elif config.start != "random":
        # What the tokenizer puts around a text and what the static student therefore never saw.
        around = tokenizer.encode("", add_special_tokens=True).ids
        start_as(student, static_table(Path(config.start), size), around)
    return student
