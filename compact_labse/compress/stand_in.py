"""Untrained models of a candidate's shape, which weigh and take as much as its artifact will."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoModel, ElectraConfig

from compact_labse.bodies import StaticBody, TransformerBody
from compact_labse.compress.architecture import FAMILIES, Body
from compact_labse.compress.candidates import Candidate
from compact_labse.compress.table_width import SAME
from compact_labse.heads import Dense
from compact_labse.sentence_model import SentenceModel


def table_of(module: SentenceModel) -> torch.Tensor:
    body: Any = module.body
    table = body.embedding if isinstance(body, StaticBody) else body.transformer.get_input_embeddings()
    found: torch.Tensor = table.weight.detach()
    return found


def stand_in(module: SentenceModel, one: Candidate, rows: int) -> SentenceModel:
    """A model of a candidate's shape with random weights and `rows` pieces, and the modules of `module` around it."""
    torch.manual_seed(0)
    body: Any = module.body
    if isinstance(body, StaticBody):
        new: Any = StaticBody(torch.randn(rows, one.table or body.dim))
        return SentenceModel(
            new, module.modes, token_heads=tuple(module.token_heads), sentence_heads=tuple(module.sentence_heads)
        )
    config = config_of(body.transformer.config, one, rows, str(body.transformer))
    transformer = AutoModel.from_config(config)
    if getattr(transformer, "pooler", None) is not None:
        setattr(transformer, "pooler", None)  # noqa: B010  no sentence vector uses it
    new = TransformerBody(transformer.eval())
    with torch.no_grad():  # constants that are equal, such as new biases, would be stored once
        for weight in transformer.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    groups = [[copy.deepcopy(head) for head in group] for group in (module.token_heads, module.sentence_heads)]
    if new.dim != body.dim:
        for head in next(([head] for head in [*groups[0], *groups[1]] if isinstance(head, Dense)), []):
            head.linear = torch.nn.Linear(new.dim, head.linear.out_features)
    return SentenceModel(new, module.modes, token_heads=tuple(groups[0]), sentence_heads=tuple(groups[1])).eval()


def config_of(old: Any, one: Candidate, rows: int, where: str) -> Any:
    """The configuration of a stock model of a candidate's shape."""
    config = copy.deepcopy(old)
    config.vocab_size = rows
    if config.model_type not in FAMILIES:
        return config
    family = FAMILIES[config.model_type]
    dim = one.heads * getattr(old, family.dim) // getattr(old, family.heads)
    for name, size in (("layers", one.layers), ("heads", one.heads), ("ffn", one.ffn), ("dim", dim)):
        setattr(config, getattr(family, name), size)
    if getattr(old, "embedding_size", None) == getattr(old, family.dim):
        config.embedding_size = dim
    if one.table:
        return ElectraConfig(embedding_size=one.table, **{name: getattr(config, name) for name in SAME})
    return config


def stand_in_dim(module: SentenceModel, one: Candidate) -> int:
    """The width of a candidate's vectors."""
    body: Any = module.body
    if isinstance(body, StaticBody):
        return one.table or module.dim
    dense = any(isinstance(head, Dense) for head in [*module.token_heads, *module.sentence_heads])
    if dense or body.transformer.config.model_type not in FAMILIES:
        return module.dim
    return module.dim * one.heads // Body(body.transformer, "").size("heads")
