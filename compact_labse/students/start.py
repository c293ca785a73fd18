"""First weights of a student: random, from the teacher, or from a trained static student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.students.config import StudentConfig
from compact_labse.students.static import StaticStudent
from compact_labse.students.transformer import TransformerStudent
from compact_labse.vocabulary import PAD, piece_texts

Student = StaticStudent | TransformerStudent


def new_student(config: StudentConfig, tokenizer: Tokenizer, teacher: Encoder | None, seed: int) -> Student:
    """A student with its first weights, as `config.start` says; the same for the same seed."""
    torch.manual_seed(seed)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if config.kind == "static":
        student = StaticStudent(config, size)
        if config.start == "teacher":
            _from_pieces(student, tokenizer, _needed(teacher))
        elif config.start != "random":
            _copy(student.weight, static_table(Path(config.start), size))
        return student
    pad_id = tokenizer.token_to_id(PAD) or 0
    return TransformerStudent(config, size, pad_id)


def static_table(folder: Path, rows: int) -> torch.Tensor:
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


def _from_pieces(student: StaticStudent, tokenizer: Tokenizer, teacher: Encoder) -> None:
    """The teacher's vector of each piece as text, reduced by PCA to the student's width (as model2vec does)."""
    if student.dim > teacher.dim:
        raise UserError(
            f"student.start 'teacher' needs student.dim ({student.dim}) of at most the teacher's {teacher.dim}"
        )
    texts = piece_texts(tokenizer)
    vectors_VE = teacher.encode([text.strip() for text in texts], progress=True)
    rows_VD = reduced(vectors_VE, student.dim)
    rows_VD /= np.sqrt((rows_VD**2).sum(1).mean())
    _copy(student.weight, torch.from_numpy(rows_VD))


def reduced(vectors_VE: np.ndarray, dim: int) -> np.ndarray:
    """Centred vectors on their `dim` directions of largest variance, float32 `[V, dim]`."""
    centred_VE = vectors_VE - vectors_VE.mean(0)
    _, directions_EE = np.linalg.eigh(centred_VE.T.astype(np.float64) @ centred_VE)
    return (centred_VE @ directions_EE[:, ::-1][:, :dim]).astype(np.float32)


def _needed(teacher: Encoder | None) -> Encoder:
    if teacher is None:
        raise UserError("student.start is 'teacher', but no teacher was given")
    return teacher


@torch.no_grad()
def _copy(parameter: nn.Parameter, values: torch.Tensor) -> None:
    if parameter.shape != values.shape:
        raise UserError(f"student.start: shapes differ, {list(values.shape)} there and {list(parameter.shape)} here")
    parameter.copy_(values)
