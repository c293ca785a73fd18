"""Encoders that others wrote, behind our interface, to be timed beside ours: peers' programs and bare runtimes.

Each is imported in the process that times it; that of a peer may be another Python, with nothing but this package.
Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.contract import INPUTS
from compact_labse.settings import read_json, token_limit
from compact_labse.tokens import Tokens

Open = Callable[[Path, int, str], Encoder]


class Foreign(Encoder):
    """A model of which only the tokenizer is ours to use; subclasses set what computes."""

    def __init__(self, path: Path) -> None:
        folder = path if path.is_dir() else tokenizer_folder(path)
        self.name, self.source = path.name, path
        self.tokens = Tokens.from_folder(folder, token_limit(folder))
        self.max_tokens = self.tokens.max_tokens
        self.dim = 0

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Vectors of tokens; UserError where the program takes nothing but text."""
        raise UserError(f"not measured: {type(self).__name__} takes texts, not tokens")


class SentenceTransformers(Foreign):
    """sentence-transformers in PyTorch, or in ONNX Runtime if the path is an `.onnx` file."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        super().__init__(path)
        from sentence_transformers import SentenceTransformer

        if path.is_dir():
            import torch

            torch.set_num_threads(threads)
            self.model = SentenceTransformer(str(path), device=device)
        else:
            folder = tokenizer_folder(path)
            options = {"file_name": str(path.relative_to(folder)), "provider": "CPUExecutionProvider"}
            settings = {**options, "session_options": _ort_options(threads)}
            self.model = SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=settings)
        new = getattr(self.model, "get_embedding_dimension", None)  # version 6 warns of the older name
        self.dim = int((new or self.model.get_sentence_embedding_dimension)() or 0)

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Vectors `[B, D]` through all modules of the model."""
        import torch

        tensors = (torch.from_numpy(ids_BT), torch.from_numpy(mask_BT), torch.zeros(ids_BT.shape, dtype=torch.int64))
        with torch.inference_mode():
            return self.model(dict(zip(INPUTS, tensors, strict=True)))["sentence_embedding"].cpu().numpy()

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """Vectors of texts, with the program's own batches."""
        return self.model.encode(list(texts), show_progress_bar=False, normalize_embeddings=True)


class FastEmbed(Foreign):
    """fastembed's custom models, from a local folder."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        super().__init__(path)
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        folder = tokenizer_folder(path)
        self.dim = int(read_json(folder / "config.json").get("hidden_size") or 0)
        pooling = read_json(folder / "1_Pooling" / "config.json") if (folder / "1_Pooling").is_dir() else {}
        TextEmbedding.add_custom_model(
            model="local",
            pooling=PoolingType.CLS if pooling.get("pooling_mode_cls_token") else PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(hf="local/local"),
            dim=self.dim,
            model_file=str(path.relative_to(folder)),
        )
        self.model = TextEmbedding("local", specific_model_path=str(folder), threads=threads)

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """Vectors of texts, with the program's own batches."""
        return np.stack(list(self.model.embed(list(texts))))


class BareOnnx(Foreign):
    """ONNX Runtime called with ready tensors, whatever the file's contract: the floor of what any wrapper costs."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        super().__init__(path)
        import onnxruntime as ort

        provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
        if provider not in ort.get_available_providers():
            raise UserError(f"not measured: this ONNX Runtime has no {provider}")
        self.session = ort.InferenceSession(str(path), _ort_options(threads), providers=[provider])
        self.inputs = [value.name for value in self.session.get_inputs()]
        shapes = {value.name: value.shape for value in self.session.get_outputs()}
        self.output = "sentence_embedding" if "sentence_embedding" in shapes else next(iter(shapes))
        self.pools = len(shapes[self.output]) == 3
        unknown = sorted(set(self.inputs) - set(INPUTS))
        if unknown:
            raise UserError(f"{path} asks for {', '.join(unknown)}, which no tokenizer gives: it is no text encoder")

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Vectors `[B, D]`; the mean over tokens where the file gives only these."""
        tensors = dict(zip(INPUTS, (ids_BT, mask_BT, np.zeros_like(ids_BT)), strict=True))
        found = self.session.run([self.output], {name: tensors[name] for name in self.inputs})[0]
        if self.pools:
            found = (found * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdims=True)
            found = found / np.linalg.norm(found, axis=1, keepdims=True)
        self.dim = found.shape[1]
        return np.asarray(found, dtype=np.float32)

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        """Vectors of texts in our batches."""
        self.dim = self.dim or self.forward(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64)).shape[1]
        return super().encode(texts, **options)


class BareLiteRT(Foreign):
    """LiteRT with its default delegate (XNNPACK on CPUs), called with ready tensors."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        super().__init__(path)
        from compact_labse.formats.tflite.file import read_facts
        from compact_labse.tflite_encoder import open_runner

        self.runner, self.dim = open_runner(path, threads), read_facts(path).dim

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Vectors `[B, D]`; tensors of 32-bit integers are what the file takes."""
        return self.runner(ids_BT.astype(np.int32), mask_BT.astype(np.int32))


def torch_at(precision: str, compiled: bool) -> Open:
    """What opens a model folder in PyTorch at a precision, compiled or not. On "cuda" only where there is one."""

    def open(path: Path, threads: int, device: str) -> Encoder:
        from compact_labse.errors import require
        from compact_labse.torch_encoder import TorchEncoder

        torch = require("torch", "train")
        if device == "cuda" and not torch.cuda.is_available():
            raise UserError("not measured: no GPU")
        encoder = TorchEncoder.open(path, threads=threads, device=device, precision=precision)
        if compiled:
            encoder.module = torch.compile(encoder.module, dynamic=True)
        return encoder

    return open


def _ort_options(threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options
