"""Cut a transformer in memory: fewer layers, heads, feed-forward columns, a narrower hidden width.

Shapes: K inputs, N outputs, D hidden width, F columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compact_labse.compress.architecture import Body
from compact_labse.compress.importance import Statistics, largest, with_stand_ins
from compact_labse.errors import UserError
from compact_labse.heads import Dense, Normalize
from compact_labse.sentence_model import SentenceModel


def keep_layers(body: Body, kept: Sequence[int]) -> None:
    """Only the layers of these numbers."""
    layers = list(body.stack.layer)
    body.stack.layer = nn.ModuleList([layers[number] for number in kept])
    setattr(body.transformer.config, body.family.layers, len(kept))


@torch.no_grad()
def cut_ffn(body: Body, found: Statistics, width: int) -> None:
    """The `width` most important columns of every layer.

    No stand-ins here: measured on all-MiniLM-L6-v2 with half the columns, least squares on the sum that a layer adds
    moved the vectors by 0.154, leaving the weights alone by 0.110, since the sum's largest values are not what matters.
    """
    for place, layer in enumerate(body.layers):
        name = f"{place}.second"
        kept = largest(found.importance[name], width)
        first, second = layer.part("first"), layer.part("second")
        layer.put("first", linear(first.weight[kept], first.bias[kept]))
        layer.put("second", linear(second.weight[:, kept], second.bias))
    setattr(body.transformer.config, body.family.ffn, width)


@torch.no_grad()
def cut_heads(body: Body, found: Statistics, heads: int) -> None:
    """The `heads` most important heads of every layer; the matrix after them stands in for the others.

    The config then says as many heads; the hidden width that makes it a stock model again is cut by `cut_dim`.
    """
    width, there = body.head_dim, body.size("heads")
    by_layer = [_of_heads(found.importance[f"{place}.attended"], there) for place in range(len(body.layers))]
    if body.family.shares_heads:
        by_layer = [torch.stack([row / row.sum() for row in by_layer]).sum(0)] * len(by_layer)
    for place, (layer, importance) in enumerate(zip(body.layers, by_layer, strict=True)):
        chosen = largest(importance, heads)
        kept = (chosen[:, None] * width + torch.arange(width)).flatten()
        for name in ("query", "key", "value"):
            old = layer.part(name)
            layer.put(name, linear(old.weight[kept], old.bias[kept]))
        old = layer.part("attended")
        layer.put("attended", linear(with_stand_ins(old.weight, found.products[f"{place}.attended"], kept), old.bias))
        if body.family.shares_heads and place == 0:
            bias = body.stack.relative_attention_bias
            body.stack.relative_attention_bias = table(bias.weight[:, chosen])
    setattr(body.transformer.config, body.family.heads, heads)


@torch.no_grad()
def cut_dim(module: SentenceModel, body: Body, found: Statistics, width: int) -> Tensor:
    """Keep the `width` most important dimensions of the hidden state, the same in all layers; gives their numbers."""
    total = torch.stack([found.importance[name] / found.importance[name].sum() for name, _ in body.states()])
    kept = largest(total.sum(0), width)
    sources = _readers(body)
    for place, layer in enumerate(body.layers):
        for name in ("query", "key", "value", "first"):
            old = layer.part(name)
            layer.put(name, linear(with_stand_ins(old.weight, found.products[sources[place, name]], kept), old.bias))
        for name in ("attended", "second"):
            old = layer.part(name)
            layer.put(name, linear(old.weight[kept], old.bias[kept]))
        for name in ("attention_norm", "norm"):
            layer.put(name, norm(layer.part(name), kept))
    _cut_embeddings(body, kept)
    _cut_heads_after(module, found.products[list(dict(body.states()))[-1]], kept)
    setattr(body.transformer.config, body.family.dim, width)
    return kept


def linear(weight_NK: Tensor, bias_N: Tensor) -> nn.Linear:
    """A linear layer with these weights."""
    new = nn.Linear(weight_NK.shape[1], weight_NK.shape[0])
    new.weight, new.bias = nn.Parameter(weight_NK.contiguous().clone()), nn.Parameter(bias_N.clone())
    return new


def table(weight_VD: Tensor) -> nn.Embedding:
    """An embedding with these rows."""
    return nn.Embedding.from_pretrained(weight_VD.contiguous().clone(), freeze=False)


def norm(old: nn.LayerNorm, kept: Tensor) -> nn.LayerNorm:
    """A normalisation over the dimensions kept."""
    new = nn.LayerNorm(len(kept), eps=old.eps)
    new.weight, new.bias = nn.Parameter(old.weight[kept].clone()), nn.Parameter(old.bias[kept].clone())
    return new


def _of_heads(importance_K: Tensor, heads: int) -> Tensor:
    return importance_K.reshape(heads, -1).sum(1)


def _readers(body: Body) -> dict[tuple[int, str], str]:
    """Which normalisation's output each matrix reads."""
    names: dict[tuple[int, str], str] = {}
    for place in range(len(body.layers)):
        before = "embeddings" if place == 0 else f"{place - 1}.norm"
        names |= {(place, name): before for name in ("query", "key", "value")}
        names[place, "first"] = f"{place}.attention_norm"
    return names


def _cut_embeddings(body: Body, kept: Tensor) -> None:
    model: Any = body.transformer
    if body.has_projection:
        old = model.embeddings_project
        model.embeddings_project = linear(old.weight[kept], old.bias[kept])
        return
    embeddings = model.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        if hasattr(embeddings, name):
            setattr(embeddings, name, table(getattr(embeddings, name).weight[:, kept]))
    embeddings.LayerNorm = norm(embeddings.LayerNorm, kept)
    if hasattr(model.config, "embedding_size"):
        model.config.embedding_size = len(kept)


def _cut_heads_after(module: SentenceModel, halves: Sequence[Tensor], kept: Tensor) -> None:
    """What follows the body: the first Dense gives what it gave; without one the vectors themselves get shorter."""
    for heads in (module.token_heads, module.sentence_heads):
        for head in heads:
            if isinstance(head, Dense) and not head.add_input and module.modes in (("mean",), ("cls",)):
                old = head.linear
                bias = old.bias if old.bias is not None else torch.zeros(old.out_features)
                head.linear = linear(with_stand_ins(old.weight, halves, kept), bias)
                return
            if not isinstance(head, Normalize | nn.Identity):
                raise UserError(
                    f"a {type(head).__name__} after the body cannot be narrowed: prune without --heads, --dim"
                )
