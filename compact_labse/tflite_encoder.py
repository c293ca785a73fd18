"""Encoders that run an exported file in LiteRT: needs ai_edge_litert, numpy and tokenizers, no TensorFlow, no torch.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError, require
from compact_labse.formats.artifacts import check_hashes, tokenizer_folder
from compact_labse.formats.contract import INPUTS, OUTPUTS, Facts
from compact_labse.formats.tflite.file import read_facts
from compact_labse.tokens import Tokens
from compact_labse.unigram_tokens import open_tokens

SENTENCE = OUTPUTS[1]


class TFLiteEncoder(Encoder):
    """A `.tflite` file written by `compact-labse export`, with the tokenizer that lies beside it or one folder up."""

    def __init__(self, runner: DynamicRunner | FixedRunner, tokens: Tokens, facts: Facts, source: Path) -> None:
        self.runner, self.tokens, self.facts = runner, tokens, facts
        self.name, self.source = source.name, source
        self.dim, self.max_tokens = facts.dim, facts.max_tokens or None
        if isinstance(runner, FixedRunner) and runner.batch:
            self.max_batch = runner.batch
        self._lock = threading.Lock()  # an interpreter has one set of tensors

    @classmethod
    def open(cls, path: Path | str, threads: int = 1) -> TFLiteEncoder:
        """Open an exported `.tflite` file, to run on `threads` CPU threads.

        UserError if the file or its tokenizer is missing or damaged, if either is not the one that `parity.json` beside
        it was written for, or if its inputs and outputs are not ours.
        """
        path = Path(path)
        require("ai_edge_litert", "tflite")
        if not path.is_file():
            raise UserError(f"{path} is not a file: expected a .tflite file written by `compact-labse export`.")
        if threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}.")
        check_hashes(path)
        facts = read_facts(path)
        tokens = open_tokens(tokenizer_folder(path), facts.max_tokens or None, facts.special_tokens)
        tokens.pad_id, tokens.prefix = facts.pad_id, facts.prompt
        return cls(open_runner(path, threads), tokens, facts, path)

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 `[B, D]`; UserError if the tokenizer gives an id that the model does not know."""
        try:
            with self._lock:
                return self.runner(ids_BT.astype(np.int32), mask_BT.astype(np.int32))
        except (RuntimeError, ValueError) as error:  # LiteRT says "gather index out of bounds", without the id
            if "out of bounds" not in str(error):
                raise
            raise UserError(
                f"{self.source}: the tokenizer gives ids up to {ids_BT.max()}, which is more than the model's table "
                f"has rows; are tokenizer and model of the same export?"
            ) from error


class DynamicRunner:
    """A file that takes any batch and length; tensors are allocated anew only when the shape changes."""

    def __init__(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        (signature,) = interpreter._get_full_signature_list().values()
        self.inputs = [signature["inputs"][name] for name in INPUTS]
        self.output: int = signature["outputs"][SENTENCE]
        self.shape: tuple[int, ...] = ()

    def __call__(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Sentence vectors `[B, D]` of int32 ids and mask."""
        if ids_BT.shape != self.shape:
            self.shape = ()  # should allocation fail half way
            for index in self.inputs:
                self.interpreter.resize_tensor_input(index, ids_BT.shape)
            self.interpreter.allocate_tensors()
            self.interpreter.set_tensor(self.inputs[2], np.zeros_like(ids_BT))
            self.shape = ids_BT.shape
        self.interpreter.set_tensor(self.inputs[0], ids_BT)
        self.interpreter.set_tensor(self.inputs[1], mask_BT)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


class FixedRunner:
    """A file with a signature for each of a few lengths: the shortest that fits is taken, and filled up.

    `batch` is the number of texts that every call takes.
    """

    def __init__(self, interpreter: Any, lengths: dict[int, str], batch: int) -> None:
        self.batch = batch
        self.lengths = {length: interpreter.get_signature_runner(name) for length, name in sorted(lengths.items())}

    def __call__(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Sentence vectors `[B, D]`; UserError if a text is longer than every signature."""
        length = next((length for length in self.lengths if length >= ids_BT.shape[1]), None)
        if length is None:
            raise UserError(f"a text has {ids_BT.shape[1]} tokens, and the file takes {max(self.lengths)} at most")
        parts = []
        for start in range(0, len(ids_BT), self.batch):
            ids, mask = (rows[start : start + self.batch] for rows in (ids_BT, mask_BT))
            room = ((0, self.batch - len(ids)), (0, length - ids.shape[1]))
            ids_BT_full, mask_BT_full = np.pad(ids, room), np.pad(mask, room)
            feed = dict(zip(INPUTS, (ids_BT_full, mask_BT_full, np.zeros_like(ids_BT_full)), strict=True))
            parts.append(self.lengths[length](**feed)[SENTENCE][: len(ids)])
        return np.concatenate(parts)


def open_runner(path: Path, threads: int) -> DynamicRunner | FixedRunner:
    """What runs a file; UserError if it is damaged, or if its signatures are not ours."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        signatures = interpreter._get_full_signature_list()
    except (ValueError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise UserError(f"{path} ({path.stat().st_size:,} bytes) is not a whole TFLite model: {first}") from error
    for name, signature in signatures.items():
        inputs, outputs = sorted(signature["inputs"]), sorted(signature["outputs"])
        if inputs != sorted(INPUTS) or outputs != [SENTENCE]:
            raise UserError(
                f"{path}: the signature {name!r} has inputs {inputs} and outputs {outputs}, expected {sorted(INPUTS)} "
                f"and {[SENTENCE]}: export the model with `compact-labse export`."
            )
    if not signatures:
        raise UserError(f"{path} has no signature: export the model with `compact-labse export`.")
    shapes = {name: _shape(interpreter, name) for name in signatures}
    if len(signatures) == 1 and -1 in next(iter(shapes.values())):
        return DynamicRunner(interpreter)
    return FixedRunner(
        interpreter, {shape[1]: name for name, shape in shapes.items()}, max(s[0] for s in shapes.values())
    )


def _shape(interpreter: Any, signature: str) -> list[int]:
    """Batch and length that a signature takes, -1 where any."""
    details = interpreter.get_signature_runner(signature).get_input_details()[INPUTS[0]]
    return [int(size) for size in details["shape_signature"]]
