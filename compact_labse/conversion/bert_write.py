"""BERT as a TF2 object checkpoint, laid out as TensorFlow Model Garden's encoder and pretrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.conversion import bert_names
from compact_labse.conversion.bert_checkpoint import Bert


def write_tf2(bert: Bert, prefix: Path) -> None:
    """A TF2 object checkpoint that Model Garden restores with `tf.train.Checkpoint(encoder=...)`, and as pretrainer."""
    heads, weights = bert.config["num_attention_heads"], bert.weights
    layers = bert.config["num_hidden_layers"]
    encoder = tf.train.Checkpoint()
    for number, name in enumerate(("words", "positions", "types")):
        _put(encoder, f"layer_with_weights-{number}/embeddings", weights[name])
    for end in ("gamma", "beta"):
        _put(encoder, f"layer_with_weights-3/{end}", weights[f"norm.{end}"])
    for number in range(layers):
        for name, place in _layer_places().items():
            array = _with_heads(name, weights[f"layer.{number}.{name}"], heads)
            _put(encoder, f"layer_with_weights-{number + bert_names.FIRST}/{place}", array)
    for end in ("kernel", "bias"):
        _put(encoder, f"layer_with_weights-{layers + bert_names.FIRST}/{end}", weights[f"pooler.{end}"])
    parts: dict[str, Any] = {"encoder": encoder}
    if "mlm.output_bias" in weights:
        head = parts["masked_lm"] = tf.train.Checkpoint()
        for name, place in (("dense.kernel", "dense/kernel"), ("dense.bias", "dense/bias")):
            _put(head, place, weights[f"mlm.{name}"])
        for end in ("gamma", "beta"):
            _put(head, f"layer_norm/{end}", weights[f"mlm.norm.{end}"])
        setattr(head, "output_bias/bias", tf.Variable(weights["mlm.output_bias"]))  # Keras names it so, slash and all
        head.embedding_table = getattr(encoder, "layer_with_weights-0").embeddings
    checkpoint = tf.train.Checkpoint(**parts)
    _ = checkpoint.save_counter  # made when first read; Model Garden's tools refuse a checkpoint without it
    checkpoint.write(str(prefix))


def _put(root: Any, path: str, array: np.ndarray) -> None:
    *inner, last = path.split("/")
    for name in inner:
        if not hasattr(root, name):
            setattr(root, name, tf.train.Checkpoint())
        root = getattr(root, name)
    setattr(root, last, tf.Variable(array))


def _layer_places() -> dict[str, str]:
    attention = {
        f"{p}.{e}": f"_attention_layer/_{p}_dense/{e}" for p in bert_names.PARTS[:3] for e in ("kernel", "bias")
    }
    dense = {"out": "_attention_layer/_output_dense", "up": "_intermediate_dense", "down": "_output_dense"}
    norms = {"attention_norm": "_attention_layer_norm", "norm": "_output_layer_norm"}
    return {
        **attention,
        **{f"{name}.{end}": f"{place}/{end}" for name, place in dense.items() for end in ("kernel", "bias")},
        **{f"{name}.{end}": f"{place}/{end}" for name, place in norms.items() for end in ("gamma", "beta")},
    }


def _with_heads(name: str, array: np.ndarray, heads: int) -> np.ndarray:
    part, end = name.rsplit(".", 1)
    if part in ("query", "key", "value"):
        return array.reshape(array.shape[0], heads, -1) if end == "kernel" else array.reshape(heads, -1)
    return array.reshape(heads, -1, array.shape[-1]) if name == "out.kernel" else array
