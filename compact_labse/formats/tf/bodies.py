"""Encoder bodies in TensorFlow: BERT, ELECTRA, XLM-R, RoBERTa, CamemBERT, MPNet, DistilBERT, and bags of tokens.

They differ in the names of their layers, in how positions are counted, and in MPNet's bias by distance; one class reads
them all. Shapes: B batch, T tokens, H hidden size, N attention heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.errors import UserError
from compact_labse.formats.tf.layers import MASKED, Block, Linear, MakeLinear, Norm, Table, array, drop

MakeTable = Callable[[np.ndarray], Any]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where an architecture keeps its parts, as attribute paths."""

    layers: str = "encoder.layer"
    parts: tuple[str, ...] = (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    )  # fmt: skip
    heads: str = "num_attention_heads"
    activation: str = "hidden_act"
    dropout: str = "hidden_dropout_prob"
    attention_dropout: str = "attention_probs_dropout_prob"


PARTS = ("query", "key", "value", "out", "norm", "up", "down", "final_norm")
BERT = Family()
MPNET = Family(
    parts=(
        "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
        "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    )
)  # fmt: skip
DISTILBERT = Family(
    layers="transformer.layer",
    parts=(
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
        "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
    ),
    heads="n_heads", activation="activation", dropout="dropout", attention_dropout="attention_dropout",
)  # fmt: skip
FAMILIES = {
    "bert": BERT,
    "electra": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "mpnet": MPNET,
    "distilbert": DISTILBERT,
}


class StaticLayers(tf.Module):
    """A table alone: its rows are the token vectors."""

    def __init__(self, body: Any, make_table: MakeTable) -> None:
        super().__init__()
        self.words = make_table(array(body.embedding.weight))

    def __call__(self, ids_BT: Any, mask_BT: Any, types_BT: Any, training: bool = False) -> list[tf.Tensor]:
        """The rows of the ids, `[B, T, H]`, as the only layer."""
        return [self.words(ids_BT)]


class TransformerLayers(tf.Module):
    """Embeddings and all layers of a transformer, from a PyTorch `TransformerBody`.

    UserError if the architecture is not one of `FAMILIES`.
    """

    def __init__(
        self, body: Any, make_table: MakeTable, block: type[Block] = Block, linear: MakeLinear = Linear
    ) -> None:
        super().__init__()
        model, config = body.transformer, body.transformer.config
        family = _family(config.model_type)
        source = model.embeddings
        self.dropout = float(getattr(config, family.dropout))
        self.words, self.positions = (
            make_table(array(layer.weight)) for layer in (source.word_embeddings, source.position_embeddings)
        )
        types = getattr(source, "token_type_embeddings", None)
        self.types = None if types is None else Table(array(types.weight))
        self.norm = Norm(source.LayerNorm)
        self.project = linear(model.embeddings_project) if hasattr(model, "embeddings_project") else None
        self.pad_id = source.padding_idx if body.offset_positions else None
        self.distances = Distances(model) if config.model_type == "mpnet" else None
        shared: dict[str, Any] = {
            "heads": getattr(config, family.heads),
            "activation": getattr(config, family.activation),
            "dropout": self.dropout,
            "attention_dropout": float(getattr(config, family.attention_dropout)),
            "linear": linear,
        }
        self.blocks = [block(_parts(layer, family), **shared) for layer in _path(model, family.layers)]

    def __call__(
        self, ids_BT: tf.Tensor, mask_BT: tf.Tensor, types_BT: tf.Tensor, training: bool = False
    ) -> list[tf.Tensor]:
        """Every layer's output `[B, T, H]`, the last one being the body's."""
        x_BTH = self.words(ids_BT) + self.positions(self.position_ids(ids_BT, mask_BT))
        if self.types is not None:
            x_BTH += self.types(types_BT) if self.types.table.shape[0] > 1 else self.types.table[0]
        x_BTH = drop(self.norm(x_BTH), self.dropout, training)
        if self.project is not None:
            x_BTH = self.project(x_BTH)
        # expand_dims and not [:, None, None]: TFLite has no operator for the latter where lengths are unknown
        real_B11T = tf.expand_dims(tf.expand_dims(tf.cast(mask_BT, tf.float32), 1), 1)
        bias_B11T = (1.0 - real_B11T) * MASKED
        bias = bias_B11T if self.distances is None else bias_B11T + self.distances(mask_BT)
        outputs = []
        for block in self.blocks:
            x_BTH = block(x_BTH, bias, training)
            outputs.append(x_BTH)
        return outputs

    def position_ids(self, ids_BT: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
        """0, 1, 2, ... in each row; RoBERTa's and MPNet's families count real tokens, from after their padding id."""
        if self.pad_id is None:
            return counted(mask_BT) - 1
        real_BT = mask_BT * tf.cast(tf.not_equal(ids_BT, self.pad_id), tf.int32)
        return tf.cumsum(real_BT, axis=1) * real_BT + self.pad_id


class Distances(tf.Module):
    """MPNet's bias of attention scores by the distance between two tokens, the same in all layers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        import torch

        self.longest = int(model.config.max_position_embeddings)
        distances = torch.arange(-self.longest, self.longest + 1)
        self.buckets = model.encoder.relative_position_bucket(distances).numpy().astype(np.int32)
        self.bias = tf.Variable(array(model.encoder.relative_attention_bias.weight), name="bias")

    def __call__(self, mask_BT: tf.Tensor) -> tf.Tensor:
        """The bias `[1, N, T, T]`."""
        places_1T = counted(mask_BT[:1])
        distances_1TT = tf.expand_dims(places_1T, 1) - tf.expand_dims(places_1T, 2) + self.longest
        return tf.transpose(tf.gather(self.bias, tf.gather(self.buckets, distances_1TT)), [0, 3, 1, 2])


def counted(mask_BT: tf.Tensor) -> tf.Tensor:
    """1, 2, 3, ... in each row, padding included; made of the mask, because a range of unknown length is not static."""
    return tf.cumsum(tf.maximum(mask_BT, 1), axis=1)


def _family(kind: str) -> Family:
    if kind not in FAMILIES:
        raise UserError(
            f"the architecture {kind!r} has no TensorFlow twin here, expected one of {', '.join(FAMILIES)}; "
            f"export it with --onnx"
        )
    return FAMILIES[kind]


def _parts(layer: Any, family: Family) -> dict[str, Any]:
    return {name: _path(layer, path) for name, path in zip(PARTS, family.parts, strict=True)}


def _path(module: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), module)
