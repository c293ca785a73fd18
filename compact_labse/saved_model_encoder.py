"""Encoders that run a SavedModel in TensorFlow: ours, and those of TF Hub that keep the same interface.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError, require
from compact_labse.formats.artifacts import check_hashes, tokenizer_folder
from compact_labse.formats.contract import Facts
from compact_labse.tokens import Tokens
from compact_labse.unigram_tokens import open_tokens

GRAPH, FACTS = "saved_model.pb", Path("assets.extra/compact_labse.json")
INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
SIGNATURES = {"serving_default": "default", "ids": "sentence_embedding"}  # which output is the sentence's vector


class SavedModelEncoder(Encoder):
    """`saved_model/encoder` or `saved_model/serving` as written by `compact-labse export`, with its tokenizer."""

    def __init__(self, loaded: Any, tokens: Tokens, facts: Facts, source: Path) -> None:
        self.loaded, self.tokens, self.facts = loaded, tokens, facts
        self.name, self.source = source.name, source
        self.dim, self.max_tokens = facts.dim, facts.max_tokens or None
        self._run, self._output = _signature(loaded, source)

    @classmethod
    def open(cls, path: Path | str, threads: int = 1) -> SavedModelEncoder:
        """Open an exported folder, on `threads` CPU threads if TensorFlow has not started yet.

        UserError if the folder or its tokenizer is missing or damaged, or is not the one that `parity.json` beside it
        was written for.
        """
        path = Path(path)
        if not (path / GRAPH).is_file():
            raise UserError(f"{path} has no {GRAPH}: expected a SavedModel written by `compact-labse export`.")
        check_hashes(path)
        facts = read_facts(path)
        loaded = load_graph(path, threads)
        tokens = open_tokens(tokenizer_folder(path), facts.max_tokens or None, facts.special_tokens)
        tokens.pad_id, tokens.prefix = facts.pad_id, facts.prompt
        return cls(loaded, tokens, facts, path)

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 `[B, D]`; UserError if the tokenizer gives an id that the model does not know."""
        import tensorflow as tf

        feed = dict(zip(INPUTS, (ids_BT, mask_BT, np.zeros_like(ids_BT)), strict=True))
        try:
            found = self._run(**{name: tf.constant(array, tf.int32) for name, array in feed.items()})
        except tf.errors.InvalidArgumentError as error:
            raise UserError(
                f"{self.source}: TensorFlow refuses ids up to {ids_BT.max()}; is the tokenizer of the same export?"
            ) from error
        vectors_BD = found[self._output].numpy()
        if self.facts.normalized:
            return vectors_BD
        return vectors_BD / np.maximum(np.linalg.norm(vectors_BD, axis=1, keepdims=True), 1e-12)


def read_facts(path: Path) -> Facts:
    """What an exported SavedModel says about itself; UserError if it is not one of ours."""
    file = path / FACTS
    try:
        return Facts.read(json.loads(file.read_text(encoding="utf-8")), file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} was not written by `compact-labse export` ({FACTS} is missing or damaged): "
            f"`compact-labse convert` reads SavedModels of others."
        ) from error


def load_graph(path: Path, threads: int = 1) -> Any:
    """The object in a SavedModel; UserError if it is damaged or needs operators that are not installed."""
    tf = require("tensorflow", "tensorflow")
    require("tensorflow_text", "tensorflow")  # registers the operators of tokenizers
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow runs already, and keeps the threads that it has
        pass
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # every kind of damage has a class of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is not a whole SavedModel: {reason}") from error


def _signature(loaded: Any, path: Path) -> tuple[Any, str]:
    for name, output in SIGNATURES.items():
        found = getattr(loaded, "signatures", {}).get(name)
        if found is not None and output in found.structured_outputs:
            return found, output
    raise UserError(f"{path} has none of the signatures of an encoder: export it with --export-type model.")
