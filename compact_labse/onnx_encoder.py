"""Encoders that run an exported file in ONNX Runtime: no torch, no onnx, about 80 MB of memory beside the file.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.formats.artifacts import check_hashes, tokenizer_folder
from compact_labse.formats.contract import INPUTS, OUTPUTS, Facts
from compact_labse.tokens import Tokens
from compact_labse.unigram_tokens import open_tokens

HIDDEN, SENTENCE = [OUTPUTS[0]], [OUTPUTS[1]]


class OnnxEncoder(Encoder):
    """A file written by `compact-labse export`, with the tokenizer that lies beside it or one folder up."""

    def __init__(self, session: ort.InferenceSession, tokens: Tokens, facts: Facts, source: Path) -> None:
        self.session, self.tokens, self.facts = session, tokens, facts
        self.name, self.source = source.name, source
        self.dim, self.max_tokens = facts.dim, facts.max_tokens or None

    @classmethod
    def open(cls, path: Path | str, threads: int = 1) -> OnnxEncoder:
        """Open an exported `.onnx` file, to run on `threads` CPU threads.

        UserError if the file or its tokenizer is missing or damaged, if either is not the one that `parity.json` beside
        it was written for, or if its inputs and outputs are not ours.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} is not a file: expected an .onnx file written by `compact-labse export`.")
        if threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}.")
        check_hashes(path)
        session = open_session(path, threads)
        facts = Facts.read(session.get_modelmeta().custom_metadata_map, path)
        tokens = open_tokens(tokenizer_folder(path), facts.max_tokens or None, facts.special_tokens)
        tokens.pad_id, tokens.prefix = facts.pad_id, facts.prompt
        return cls(session, tokens, facts, path)

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 `[B, D]`; UserError if the tokenizer gives an id that the model does not know."""
        return self._run(SENTENCE, ids_BT, mask_BT)

    def hidden(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """The last layer's vectors of all tokens, float32 `[B, T, D]`."""
        return self._run(HIDDEN, ids_BT, mask_BT)

    def _run(self, outputs: list[str], ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        feed = dict(zip(INPUTS, (ids_BT, mask_BT, np.zeros_like(ids_BT)), strict=True))
        try:
            return self.session.run(outputs, feed)[0]
        except Exception as error:  # ONNX Runtime has no class of its own for an index out of bounds
            if "out of data bounds" not in str(error):
                raise
            raise UserError(
                f"{self.source}: the tokenizer gives ids up to {ids_BT.max()}, which is more than the model's table "
                f"has rows; are tokenizer and model of the same export?"
            ) from error


def open_session(path: Path, threads: int) -> ort.InferenceSession:
    """A session with the contract's inputs and outputs; UserError if the file is damaged or of another kind."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A pattern is kept for every shape of batch that was ever seen: a third more memory, for no time.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # every kind of damage has a class of its own
        raise UserError(f"{path} ({path.stat().st_size:,} bytes) is not a whole ONNX model: {_first(error)}") from error
    inputs = tuple(value.name for value in session.get_inputs())
    outputs = tuple(value.name for value in session.get_outputs())
    if inputs != INPUTS or outputs != OUTPUTS:
        raise UserError(
            f"{path} has inputs {list(inputs)} and outputs {list(outputs)}, expected {list(INPUTS)} and "
            f"{list(OUTPUTS)}: export the model with `compact-labse export`."
        )
    return session


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
