"""Encoders: text in, unit vectors out; and `load`, which finds one by name, folder or file.

Shapes: N texts, B batch, T tokens, D dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compact_labse.errors import UserError
from compact_labse.progress import track
from compact_labse.tokens import Tokens, batches, check_texts, pad

WINDOW = 16_384  # texts tokenized and sorted at a time: enough for full batches, little enough to bound memory


class Encoder(ABC):
    """A sentence encoder: `encode` gives one unit vector of `dim` float32 per text.

    Subclasses set the attributes and define `forward`. `max_tokens` is None where texts are not cut; `source` is the
    folder or file that the encoder was read from.
    """

    name: str
    dim: int
    max_tokens: int | None
    tokens: Tokens
    source: Path | None = None
    token_budget: int = 512  # on a CPU, larger batches leave its caches and take more memory: bench/token_budget.py
    max_batch: int = 256

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source or self.name}, dim={self.dim}, max_tokens={self.max_tokens})"

    @abstractmethod
    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 `[B, D]`, of int64 token ids and mask (1 token, 0 padding), both `[B, T]`."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at least one: a text without any token becomes the unknown token."""
        stand_in = self.tokens.pad_id if self.tokens.unk_id is None else self.tokens.unk_id
        return [row or [stand_in] for row in self.tokens.ids(check_texts(texts))]

    def encode(
        self,
        texts: Sequence[str],
        *,
        token_budget: int | None = None,
        max_batch: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Unit vectors of texts, float32 `[N, D]`, in the order of the texts.

        Texts of similar length run together, at most `token_budget` tokens (padding included) and `max_batch` texts at
        a time; the defaults suit the encoder and its device. Any text is taken: empty, with NUL bytes or lone
        surrogates, of any length (cut at `max_tokens`). UserError if `texts` is one string or holds anything
        but strings.
        """
        found = check_texts(texts)
        vectors_ND = np.empty((len(found), self.dim), dtype=np.float32)
        budget = self.token_budget if token_budget is None else token_budget
        encoded = self._rows(found, budget, self.max_batch if max_batch is None else max_batch)
        for row, vector_D in track(encoded, "encoding", total=len(found)) if progress else encoded:
            vectors_ND[row] = vector_D
        return vectors_ND

    def _rows(self, texts: list[str], token_budget: int, max_batch: int) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(texts), WINDOW):
            ids = self.tokenize(texts[start : start + WINDOW])
            for rows_B in batches([len(row) for row in ids], token_budget, max_batch):
                vectors_BD = self.forward(*pad([ids[row] for row in rows_B], self.tokens.pad_id))
                yield from zip((rows_B + start).tolist(), vectors_BD, strict=True)


def load(
    name_or_folder: str | Path,
    *,
    pooling: str | None = None,
    file: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Encoder:
    """The encoder of that name, folder or file.

    `name_or_folder` is a sentence-transformers folder, a transformers folder (then `pooling`, "cls" or "mean", is
    needed), a folder or file exported by this package (`*.onnx`; `file="onnx/model_int8.onnx"` picks one of a folder;
    `saved_model/encoder`),
    an embedded encoder ("default", shipped with this package; "minilm", of the extra `minilm`) or a Hugging Face name.
    `threads` limits the CPU threads (default: of an export those that were measured to be fast, in PyTorch all);
    `device` ("cpu", "cuda", ...; default the best there is) and `precision` ("fp32", or "bf16" for up to three times
    the speed at a cosine of 0.9999) are for encoders that run in PyTorch.

    Raises UserError that names the file and the values if anything about the model is missing, damaged or unknown.
    """
    from compact_labse.locate import SAVED_MODEL, locate

    path = locate(str(name_or_folder), file)
    if path.is_file():
        return _open_export(path, pooling, threads, device, precision)
    if (path / SAVED_MODEL).is_file():
        from compact_labse.saved_model_encoder import SavedModelEncoder

        return SavedModelEncoder.open(path, threads=1 if threads is None else threads)
    from compact_labse.errors import require

    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    from compact_labse.torch_encoder import TorchEncoder

    encoder = TorchEncoder.open(path, pooling=pooling, threads=threads, device=device, precision=precision)
    encoder.name = str(name_or_folder)
    return encoder


def _open_export(path: Path, pooling: str | None, threads: int | None, device: str | None, precision: str) -> Encoder:
    if pooling is not None or device not in (None, "cpu") or precision != "fp32":
        raise UserError(f"{path} holds its own pooling and precision and runs on the CPU: pass only `threads`.")
    from compact_labse.measured import threads_for

    threads = threads_for(path) if threads is None else threads
    if path.suffix == ".tflite":
        from compact_labse.tflite_encoder import TFLiteEncoder

        return TFLiteEncoder.open(path, threads=threads)
    from compact_labse.onnx_encoder import OnnxEncoder

    return OnnxEncoder.open(path, threads=threads)
