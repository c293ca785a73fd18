"""Students that start with the teacher's layers and token vectors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.students import StudentConfig, new_student
from compact_labse.students.from_teacher import chosen_layers
from compact_labse.vocabulary import VocabularyConfig, bare, piece_texts, train_vocabulary
from tests.tiny_models import TEXT


def shape_of(teacher) -> dict:
    config = teacher.module.body.transformer.config
    return {
        "dim": config.hidden_size,
        "heads": config.num_attention_heads,
        "ffn": config.intermediate_size,
        "layers": config.num_hidden_layers,
        "max_tokens": config.max_position_embeddings,
    }


def encode(student, tokens, texts) -> np.ndarray:
    import torch

    rows = tokens.ids(texts)
    ids = torch.tensor([number for row in rows for number in row])
    with torch.no_grad():
        return student.eval()(ids, torch.tensor([0, *map(len, rows)]).cumsum(0)).numpy()


def test_all_layers_and_the_teachers_vocabulary_give_the_teacher_itself(tiny):
    teacher = load(tiny("minilm"))
    tokenizer = bare(teacher.tokens.tokenizer)
    student = new_student(StudentConfig(kind="bert", start="teacher", **shape_of(teacher)), tokenizer, teacher, seed=0)
    np.testing.assert_allclose(encode(student, teacher.tokens, TEXT), teacher.encode(TEXT), atol=1e-5)


def test_pieces_with_a_vocabulary_of_its_own_come_from_the_teacher(tiny):
    teacher = load(tiny("minilm"))
    tokenizer = train_vocabulary(TEXT, VocabularyConfig(kind="wordpiece", size=150, lowercase=False))
    student = new_student(StudentConfig(kind="bert", start="teacher", **shape_of(teacher)), tokenizer, teacher, seed=0)
    table = student.model.get_input_embeddings().weight
    theirs = teacher.module.body.transformer.get_input_embeddings().weight
    known = teacher.tokens.tokenizer.get_vocab()
    shared = [(tokenizer.token_to_id(piece), known[piece]) for piece in tokenizer.get_vocab() if piece in known]
    assert len(shared) > 20
    for mine, other in shared:
        assert (table[mine] == theirs[other]).all()


def test_an_electra_shaped_student_takes_the_layers_and_a_narrower_table(tiny):
    teacher = load(tiny("minilm"))
    shape = shape_of(teacher) | {"embedding": 8}
    tokenizer = bare(teacher.tokens.tokenizer)
    student = new_student(StudentConfig(kind="electra", start="teacher", **shape), tokenizer, teacher, seed=0)
    mine, theirs = student.model.encoder.layer, teacher.module.body.transformer.encoder.layer
    assert (mine[-1].output.dense.weight == theirs[-1].output.dense.weight).all()
    assert np.isfinite(encode(student, teacher.tokens, TEXT)).all()


def test_shapes_that_do_not_fit_are_named(tiny):
    teacher = load(tiny("minilm"))
    tokenizer = bare(teacher.tokens.tokenizer)
    config = StudentConfig(kind="bert", start="teacher", **(shape_of(teacher) | {"dim": 8, "heads": 2}))
    with pytest.raises(UserError, match=r"do not fit the student: student.dim 8 \(teacher 16\)"):
        new_student(config, tokenizer, teacher, seed=0)
    with pytest.raises(UserError, match="copies layers of bert and electra models; .* is 'xlm-roberta'"):
        new_student(StudentConfig(kind="bert", start="teacher"), tokenizer, load(tiny("xlmr")), seed=0)


def test_layers_are_spread_evenly():
    assert chosen_layers(12, 3) == [0, 6, 11]
    assert chosen_layers(6, 1) == [5]
    assert chosen_layers(2, 2) == [0, 1]
    with pytest.raises(UserError, match="the teacher has only 2"):
        chosen_layers(2, 3)


def test_a_static_student_starts_with_the_teachers_vectors_of_its_pieces(tiny):
    teacher = load(tiny("minilm"))
    tokenizer = train_vocabulary(TEXT, VocabularyConfig(size=250))
    student = new_student(StudentConfig(dim=16, start="teacher"), tokenizer, teacher, seed=0)
    vectors = teacher.encode([text.strip() for text in piece_texts(tokenizer)])
    # Turned by PCA and scaled, but not cut: the similarities of the centred vectors stay.
    assert_same_similarities(student.table().numpy()[5:25], (vectors - vectors.mean(0))[5:25])


def assert_same_similarities(one: np.ndarray, other: np.ndarray) -> None:
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-4)
