"""BERT from TensorFlow's files: TF1 and TF2 checkpoints and SavedModel encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.conversion import bert_names
from compact_labse.conversion.bert_names import Weights
from compact_labse.errors import UserError

Source = tuple[list[str], Callable[[str], Any]]  # names of tensors, and what reads one
CONFIG, GRAPH = "bert_config.json", "saved_model.pb"
KEYS = {  # of Model Garden's encoder settings, by those of bert_config.json
    "vocab_size": "vocab_size", "hidden_size": "hidden_size", "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_attention_heads", "intermediate_size": "intermediate_size",
    "hidden_act": "hidden_activation", "hidden_dropout_prob": "dropout_rate",
    "attention_probs_dropout_prob": "attention_dropout_rate", "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size", "initializer_range": "initializer_range",
}  # fmt: skip


OUR_PARTS = {  # of `formats.tf.layers.Block`, under the names of Keras' variables
    "query": "self_attention/query", "key": "self_attention/key", "value": "self_attention/value",
    "out": "self_attention/attention_output", "norm": "self_attention_layer_norm", "up": "intermediate",
    "down": "output", "final_norm": "output_layer_norm",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bert:
    """A BERT in TensorFlow's layout: settings as in `bert_config.json`, weights by plain names (`bert_names`).

    `ignored` are tensors of the file that are no part of it, such as heads of other tasks.
    """

    config: dict[str, Any]
    weights: Weights
    ignored: list[str] = field(default_factory=list)


def read_bert(path: Path, config: Path | None = None) -> Bert:
    """The BERT in a checkpoint (prefix, or folder of one) or SavedModel folder.

    `config` is a `bert_config.json` or a Model Garden YAML; default: the one beside the checkpoint. What neither says
    is taken from the shapes. UserError if a tensor is missing, of another shape, or the file is no BERT.
    """
    prefix = checkpoint_prefix(path)
    names, tensor = _saved_model(path) if (path / GRAPH).is_file() else _checkpoint(prefix)
    plains = {name: bert_names.plain_name(name) for name in sorted(names)}
    found: Weights = {}
    for name, plain in plains.items():
        if plain is not None and plain not in found:
            found[plain] = np.asarray(tensor(name), np.float32)
    layers = bert_names.layer_count(found)
    if not layers:
        some = ", ".join(list(plains)[:3])
        raise UserError(f"{prefix} holds no BERT that is known here: its tensors are called {some}, ...")
    heads = next((a.shape[1] for n, a in found.items() if n.endswith("query.kernel") and a.ndim == 3), None)
    weights = bert_names.merged(found, layers)
    missing = [name for name in bert_names.wanted_names(layers) if name not in weights]
    if missing:
        raise UserError(
            f"{prefix} lacks {len(missing)} of the tensors of a BERT of {layers} layers, {missing[0]!r} first"
        )
    settings = _settings(weights, layers, heads, _read_config(prefix.parent, config))
    _check_shapes(prefix, weights, settings)
    ignored = sorted(name for name, plain in plains.items() if plain is None and not _counts(name))
    return Bert(config=settings, weights=weights, ignored=ignored)


def checkpoint_prefix(path: Path) -> Path:
    """The prefix of the checkpoint at a path: itself, the one in a folder, or a SavedModel's variables."""
    if (path / GRAPH).is_file():
        return path / "variables" / "variables"
    if path.with_name(path.name + ".index").is_file():
        return path
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    latest = tf.train.latest_checkpoint(str(path)) if path.is_dir() else None
    if latest and Path(f"{latest}.index").is_file():
        return Path(latest)
    found = sorted(path.glob("*.index")) if path.is_dir() else []
    if len(found) == 1:
        return found[0].with_suffix("")
    many = f"several checkpoints ({', '.join(f.name for f in found[:3])}): name one" if found else "no checkpoint"
    raise UserError(f"{path} holds {many}; expected NAME.index with NAME.data-*, or a SavedModel's {GRAPH}.")


def _saved_model(path: Path) -> Source:
    """The variables of a SavedModel, those of ours under Keras' names; UserError if it is no BERT's."""
    from compact_labse.saved_model_encoder import load_graph

    loaded = load_graph(path)
    if not hasattr(loaded, "parts"):
        found = {variable.name: variable.numpy() for variable in getattr(loaded, "variables", ())}
        return list(found), found.__getitem__
    body = loaded.parts[0].encoder.body
    if not hasattr(body, "types") or hasattr(body, "distances") or hasattr(getattr(body, "project", None), "kernel"):
        raise UserError(f"{path} is no BERT: convert reads SavedModel encoders of BERT alone")
    tables = {"word_embeddings": body.words, "position_embedding": body.positions, "type_embeddings": body.types}
    found = {f"{name}/embeddings": table.table.numpy() for name, table in tables.items()}
    found |= {f"embeddings/layer_norm/{end}": getattr(body.norm, end).numpy() for end in ("gamma", "beta")}
    for number, block in enumerate(body.blocks):
        for name, part in OUR_PARTS.items():
            ends = ("gamma", "beta") if part.endswith("norm") else ("kernel", "bias")
            at = f"transformer/layer_{number}/{part}"
            found |= {f"{at}/{end}": getattr(getattr(block, name), end).numpy() for end in ends}
    return list(found), found.__getitem__


def _checkpoint(prefix: Path) -> Source:
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{prefix} is not a whole checkpoint: {reason}") from error
    return list(reader.get_variable_to_shape_map()), reader.get_tensor


def _read_config(beside: Path, config: Path | None) -> dict[str, Any]:
    exported = beside.parent.parent.parent / "config.json"  # of the folder that our own SavedModel was written into
    places = (beside / CONFIG, *sorted(beside.glob("*.yaml")), *([exported] if beside.name == "variables" else []))
    place = config or next((file for file in places if file.is_file()), None)
    if place is None:
        return {}
    text = place.read_text(encoding="utf-8")
    if place.suffix == ".json":
        return dict(json.loads(text))
    from compact_labse.errors import require

    content = require("yaml", "train").safe_load(text)
    for key in ("task", "model", "encoder"):
        content = content.get(key, content) if isinstance(content, dict) else {}
    kind = content.get("type", "bert")
    if kind not in ("bert", "any"):
        raise UserError(f"{place} describes the encoder {kind!r}; only BERT's can be converted.")
    inner = content.get(kind, content.get("bert", content))
    return {ours: inner[theirs] for ours, theirs in KEYS.items() if inner.get(theirs) is not None}


def _settings(weights: Weights, layers: int, heads: int | None, given: dict[str, Any]) -> dict[str, Any]:
    """The settings: as given, else from shapes; UserError if they contradict each other or the heads are unknown."""
    rows, size = weights["words"].shape
    seen = {
        "vocab_size": rows,
        "hidden_size": size,
        "num_hidden_layers": layers,
        "intermediate_size": weights["layer.0.up.kernel"].shape[1],
        "max_position_embeddings": weights["positions"].shape[0],
        "type_vocab_size": weights["types"].shape[0],
    }
    if heads is not None:
        seen["num_attention_heads"] = heads
    for name, value in seen.items():
        if given.get(name, value) != value:
            raise UserError(f"the configuration says {name} {given[name]}, but the checkpoint has {value}")
    if heads is None and "num_attention_heads" not in given:
        raise UserError("nothing says how many attention heads the model has: --config bert_config.json")
    defaults = {"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    return {**defaults, "initializer_range": 0.02, **{k: v for k, v in given.items() if k in KEYS}, **seen}


def _check_shapes(prefix: Path, weights: Weights, config: dict[str, Any]) -> None:
    size, inner = config["hidden_size"], config["intermediate_size"]
    for name, array in weights.items():
        if not name.startswith("layer."):
            continue
        end = name.split(".", 2)[2]
        square = (size, size) if end.endswith("kernel") else (size,)
        expected = {"up.kernel": (size, inner), "up.bias": (inner,), "down.kernel": (inner, size)}.get(end, square)
        if array.shape != expected:
            raise UserError(f"{prefix}: {name} is {list(array.shape)}, a BERT of this size has {list(expected)}")


def _counts(name: str) -> bool:
    """Whether a tensor is bookkeeping that every checkpoint has, or a copy."""
    marks = ("adam_", "global_step", "save_counter", "_CHECKPOINTABLE", "OPTIMIZER_SLOT", "optimizer", "variables/")
    return name == "Variable:0" or any(mark in name for mark in marks)
