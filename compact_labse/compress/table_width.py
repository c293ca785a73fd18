"""A narrower table of token vectors and a matrix that brings it back to the model's width.

BERT becomes ELECTRA, which is BERT with such a table; a bag of tokens gets a Dense after its mean, which is the same as
one before it. Rows count by their use in calibration text, so that the width serves what occurs.

Shapes: V pieces, D width of the model, W width of the table, R rows (real tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ElectraConfig, ElectraModel

from compact_labse.bodies import StaticBody
from compact_labse.compress.architecture import Body
from compact_labse.compress.importance import Feed
from compact_labse.errors import UserError
from compact_labse.heads import Dense
from compact_labse.sentence_model import SentenceModel

UNSEEN = 0.1  # weight of all rows alike beside those of calibration text: what occurs later must not be lost
SAME = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "vocab_size",
        "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "hidden_dropout_prob",
        "attention_probs_dropout_prob")  # fmt: skip


@torch.no_grad()
def narrow_static(module: SentenceModel, feeds: Sequence[Feed], width: int) -> None:
    """The table `[V, D]` of a bag of tokens as `[V, W]` and a Dense: the best product for the tokens as they occur."""
    body: Any = module.body
    table_VD = body.embedding.weight
    _check(width, table_VD.shape[1])
    weight_V = _uses(feeds, len(table_VD))
    down_DW = main_directions(table_VD, weight_V, width)
    back = Dense(width, table_VD.shape[1], bias=False, activation="Identity")
    back.linear.weight.copy_(down_DW)
    module.body = StaticBody((table_VD @ down_DW).contiguous())
    module.sentence_heads = nn.ModuleList([back, *module.sentence_heads])


@torch.no_grad()
def narrow_bert(body: Body, feeds: Sequence[Feed], width: int) -> ElectraModel:
    """A BERT as an ELECTRA with a table `width` wide; its projection is fitted to the old normalised embeddings.

    The table's space is turned so that its normalisation, which takes the mean of the W values away, loses nothing.
    """
    old: Any = body.transformer
    if old.config.model_type != "bert":
        raise UserError(
            f"a table narrower than the model is ELECTRA's, which only BERT becomes; this is {old.config.model_type!r}"
        )
    _check(width, old.config.hidden_size)
    embeddings = old.embeddings
    gamma_D, words_VD = embeddings.LayerNorm.weight, embeddings.word_embeddings.weight
    wanted_RD = torch.cat([embeddings(input_ids=ids)[mask.bool()] for _, ids, mask in feeds])
    rows_VD = (words_VD - words_VD.mean(1, keepdim=True)) * gamma_D
    seen_DD, all_DD = (rows.T @ rows / rows.square().sum() for rows in (wanted_RD - embeddings.LayerNorm.bias, rows_VD))
    main_DW = torch.linalg.eigh((seen_DD + UNSEEN * all_DD).double()).eigenvectors.flip(1)[:, : width - 1].float()
    down_DW = main_DW @ _without_mean(width).T
    new = ElectraModel(ElectraConfig(embedding_size=width, **{name: getattr(old.config, name) for name in SAME}))
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        values = getattr(embeddings, name).weight
        centred = (values - values.mean(1, keepdim=True)) * gamma_D
        getattr(new.embeddings, name).weight.copy_(centred @ down_DW)
    new.encoder.load_state_dict(old.encoder.state_dict())
    new.eval()
    narrow_RW = torch.cat([new.embeddings(input_ids=ids)[mask.bool()] for _, ids, mask in feeds]).double()
    ones = torch.ones(len(narrow_RW), 1, dtype=torch.float64)
    inputs = torch.cat([narrow_RW, ones], 1)
    products = inputs.T @ inputs
    ridge = 1e-4 * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
    solved = torch.linalg.solve(products + ridge, inputs.T @ wanted_RD.double()).float()
    new.embeddings_project.weight.copy_(solved[:-1].T)
    new.embeddings_project.bias.copy_(solved[-1])
    return new


def _without_mean(width: int) -> Tensor:
    """Orthonormal columns `[W, W - 1]` whose sums are zero."""
    start = torch.eye(width, width - 1, dtype=torch.float64)
    start = start - start.mean(0)
    return torch.linalg.qr(start).Q.float()


def _uses(feeds: Sequence[Feed], size: int) -> Tensor:
    counts = torch.zeros(size)
    for _, ids_BT, mask_BT in feeds:
        counts += torch.bincount(ids_BT[mask_BT.bool()], minlength=size)
    return counts / counts.sum() + UNSEEN / size


def main_directions(table_VD: Tensor, weight_V: Tensor, width: int) -> Tensor:
    """Orthonormal columns `[D, W]` on which the weighted rows keep most of their squares."""
    moment_DD = (table_VD * weight_V[:, None]).double().T @ table_VD.double()
    return torch.linalg.eigh(moment_DD).eigenvectors.flip(1)[:, :width].float()


def _check(width: int, there: int) -> None:
    if not 2 <= width < there:
        raise UserError(f"--table is {width}; the table is {there} wide, so that 2 to {there - 1} make it narrower")
