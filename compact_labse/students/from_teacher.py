"""First weights from the teacher: its layers where shapes allow, its token vectors for pieces that it knows.

Shapes: V pieces of the student, E teacher dimension, D student dimension, P pieces of the teacher.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from compact_labse.bodies import StaticBody
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.students.config import StudentConfig
from compact_labse.students.identity import reduced_content
from compact_labse.students.static import StaticStudent
from compact_labse.students.transformer import TransformerStudent
from compact_labse.vocabulary import piece_texts

FAMILIES = ("bert", "electra")
ROWS_AT_ONCE = 16_384
ONE = np.ones((1, 1), np.int64)


def pieces_into(student: StaticStudent, tokenizer: Tokenizer, teacher: Encoder) -> None:
    """Fill a static student's table with the teacher's vector of each piece as text, reduced by PCA (as model2vec).

    A teacher that is a bag of the same pieces gives its own rows, whose lengths say how much each piece weighs.
    """
    if student.dim > teacher.dim:
        raise UserError(
            f"student.start 'teacher' needs student.dim ({student.dim}) of at most the teacher's {teacher.dim}"
        )
    own_VE = bag_of_tokens(teacher) if tokenizer.get_vocab() == teacher.tokens.tokenizer.get_vocab() else None
    if own_VE is not None:
        rows_VD = reduced_content(torch.from_numpy(own_VE), student.dim).numpy()
    else:
        texts = [text.strip() for text in piece_texts(tokenizer)]
        rows_VD = reduced(teacher.encode(texts, progress=True), student.dim)
    rows_VD /= np.sqrt((rows_VD**2).sum(1).mean())
    student.start_as(torch.from_numpy(rows_VD))


def bag_of_tokens(teacher: Encoder) -> np.ndarray | None:
    """The rows `[V, E]` whose mean is the vector of a text, or None if the teacher is no bag of tokens."""
    body = getattr(getattr(teacher, "module", None), "body", None)
    if isinstance(body, StaticBody):
        return body.embedding.weight.detach().float().cpu().numpy()
    if not isinstance(teacher, OnnxEncoder) or teacher.facts.special_tokens or teacher.facts.pooling != "mean":
        return None
    ids_V = np.arange(teacher.tokens.vocab_size)
    alone, together = (
        teacher.hidden(ids_V[:2, None], ONE.repeat(2, 0)),
        teacher.hidden(ids_V[None, :2], ONE.repeat(2, 1)),
    )
    if not np.array_equal(alone.reshape(2, -1), together.reshape(2, -1)):
        return None
    slices = np.split(ids_V, range(ROWS_AT_ONCE, len(ids_V), ROWS_AT_ONCE))
    return np.concatenate([teacher.hidden(ids[:, None], ONE.repeat(len(ids), 0))[:, 0] for ids in slices])


def layers_into(student: TransformerStudent, tokenizer: Tokenizer, teacher: Encoder) -> None:
    """Copy evenly chosen layers of the teacher, its positions and its token vectors.

    A piece that the teacher does not have gets the mean of the teacher's pieces for its text. An ELECTRA-shaped student
    gets the table reduced by PCA, and the way back as its projection. Raises UserError when hidden size, heads or FFN
    differ, or the teacher is no BERT.
    """
    source = _transformer(teacher)
    _check(student.config, source.config)
    chosen = chosen_layers(source.config.num_hidden_layers, student.config.layers)
    own, theirs = student.model, source
    for layer, number in zip(own.encoder.layer, chosen, strict=True):
        layer.load_state_dict(theirs.encoder.layer[number].state_dict())
    table_VE = _token_vectors(tokenizer, teacher, theirs.get_input_embeddings().weight.detach())
    with torch.no_grad():
        for name in ("position_embeddings", "token_type_embeddings"):
            mine, given = getattr(own.embeddings, name).weight, getattr(theirs.embeddings, name).weight
            if mine.shape[1] == given.shape[1]:
                rows = min(len(mine), len(given))
                mine[:rows] = given[:rows]
        if own.get_input_embeddings().weight.shape[1] == table_VE.shape[1]:
            own.get_input_embeddings().weight.copy_(table_VE)
            own.embeddings.LayerNorm.load_state_dict(theirs.embeddings.LayerNorm.state_dict())
        else:
            _factorise(own, table_VE)


def chosen_layers(there: int, wanted: int) -> list[int]:
    """Which layers of the teacher a student takes: evenly spread, first and last included when there are several."""
    if wanted > there:
        raise UserError(f"student.layers is {wanted}, but the teacher has only {there} to start from")
    if wanted == 1:
        return [there - 1]
    return [round(k * (there - 1) / (wanted - 1)) for k in range(wanted)]


def reduced(vectors_VE: np.ndarray, dim: int) -> np.ndarray:
    """Centred vectors on their `dim` directions of largest variance, float32 `[V, dim]`."""
    centred_VE = vectors_VE - vectors_VE.mean(0)
    _, directions_EE = np.linalg.eigh(centred_VE.T.astype(np.float64) @ centred_VE)
    return (centred_VE @ directions_EE[:, ::-1][:, :dim]).astype(np.float32)


def _transformer(teacher: Encoder) -> Any:
    body = getattr(getattr(teacher, "module", None), "body", None)
    transformer = getattr(body, "transformer", None)
    kind = transformer.config.model_type if transformer is not None else "static"
    if kind not in FAMILIES:
        raise UserError(
            f"student.start 'teacher' copies layers of {' and '.join(FAMILIES)} models; {teacher.name} is {kind!r}: "
            "use student.start random, or the folder of a static student"
        )
    return transformer


def _check(mine: StudentConfig, theirs: Any) -> None:
    pairs = {
        "dim": (mine.dim, theirs.hidden_size),
        "heads": (mine.heads, theirs.num_attention_heads),
        "ffn": (mine.ffn_width, theirs.intermediate_size),
    }
    wrong = [f"student.{name} {ours} (teacher {there})" for name, (ours, there) in pairs.items() if ours != there]
    if wrong:
        raise UserError(f"layers of the teacher do not fit the student: {', '.join(wrong)}; make these equal")


def _token_vectors(tokenizer: Tokenizer, teacher: Encoder, table_PE: Tensor) -> Tensor:
    """A row per piece of the student: the teacher's for the same piece, else the mean of its pieces for that text."""
    known = teacher.tokens.tokenizer.get_vocab()
    texts = piece_texts(tokenizer)
    rows = []
    for number, text in enumerate(texts):
        same = known.get(tokenizer.id_to_token(number) or "")
        ids = [same] if same is not None else _ids(teacher, text)
        rows.append(table_PE[ids].mean(0) if ids else table_PE.mean(0))
    return torch.stack(rows)


def _ids(teacher: Encoder, text: str) -> list[int]:
    ids = teacher.tokens.tokenizer.encode(text.strip(), add_special_tokens=False).ids
    return [number for number in ids if number != teacher.tokens.unk_id]


def _factorise(model: Any, table_VE: Tensor) -> None:
    """The table of an ELECTRA-shaped student and its projection: the best product of the two for `table_VE`."""
    table = model.get_input_embeddings().weight
    width = table.shape[1]
    _, directions_EE = torch.linalg.eigh((table_VE.T @ table_VE).double())
    down_EW = directions_EE.flip(1)[:, :width].float()
    table.copy_(table_VE @ down_EW)
    # The LayerNorm in between brings every row to length sqrt(width); the teacher's own brings it to sqrt(E).
    project: nn.Linear = model.embeddings_project
    project.weight.copy_(down_EW * (table_VE.shape[1] / width) ** 0.5)
    project.bias.zero_()
