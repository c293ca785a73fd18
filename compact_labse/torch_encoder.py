"""Encoders that run in PyTorch: teachers, students in training, and the source that exports are compared with.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from compact_labse.bodies import StaticBody
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.sentence_model import SentenceModel, read_modules, read_plain
from compact_labse.settings import default_prompt, token_limit
from compact_labse.tokens import Tokens

PRECISIONS = ("fp32", "bf16")
CONVERTIBLE = ("*.model", "vocab.json", "*.bpe", "*.tiktoken")  # what transformers can make a tokenizer of


class TorchEncoder(Encoder):
    """A `SentenceModel` with its tokenizer. `module` is what training updates and exports trace."""

    def __init__(
        self,
        module: SentenceModel,
        tokens: Tokens,
        *,
        name: str = "model",
        source: Path | None = None,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}.")
        if threads is not None:
            if threads < 1:
                raise UserError(f"threads must be at least 1, got {threads}.")
            torch.set_num_threads(threads)  # of the whole process: PyTorch has no other setting
        self.device = _device(device)
        self.module, self.tokens, self.precision = module.to(self.device), tokens, precision
        self.name, self.source = name, source
        self.dim, self.max_tokens = module.dim, tokens.max_tokens
        if self.device.type != "cpu" or isinstance(module.body, StaticBody):  # each call costs more than its tokens
            self.token_budget, self.max_batch = 32_768, 2048

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        pooling: str | None = None,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> TorchEncoder:
        """The encoder in a sentence-transformers folder, or in a plain transformers one with `pooling` named."""
        folder = Path(folder)
        if (folder / "modules.json").is_file():
            module, place = read_modules(folder)
            if pooling is not None and (pooling,) != module.modes:
                raise UserError(
                    f"{folder / 'modules.json'} says pooling {'+'.join(module.modes)}, not {pooling!r}: "
                    f"pass `pooling` only for a folder that does not say it."
                )
        elif pooling is None:
            raise UserError(
                f"{folder} has no modules.json, so it does not say how to pool: pass pooling='cls' or 'mean'."
            )
        else:
            module, place = read_plain(folder, pooling), folder
        tokens = read_tokens(place, module)
        tokens.prefix = default_prompt(folder)
        return cls(module, tokens, name=folder.name, source=folder, device=device, precision=precision, threads=threads)

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 `[B, D]`; UserError if an id lies outside the embedding table."""
        rows = self.module.body.rows
        if ids_BT.size and ids_BT.max() >= rows:
            raise UserError(
                f"{self.name}: the tokenizer gives id {ids_BT.max()}, but the embedding table has {rows} rows; "
                f"are tokenizer and weights of the same model?"
            )
        half = torch.autocast(self.device.type, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.inference_mode(), half:
            ids = torch.from_numpy(ids_BT).to(self.device)
            mask = torch.from_numpy(mask_BT).to(self.device)
            return self.module(ids, mask)[1].float().cpu().numpy()


def read_tokens(folder: Path, module: SentenceModel) -> Tokens:
    """The tokenizer of a model's body, padding with the id that the model counts as padding.

    A folder with neither `tokenizer.json` nor `vocab.txt` is read by transformers (SentencePiece files and the like).
    """
    if isinstance(module.body, StaticBody):
        return Tokens.from_folder(folder, special=False)
    limit = token_limit(folder)
    if (folder / "tokenizer.json").is_file() or (folder / "vocab.txt").is_file():
        tokens = Tokens.from_folder(folder, limit)
    else:
        tokens = Tokens(_converted(folder), max_tokens=limit)
    if module.body.pad_id is not None:
        tokens.pad_id = module.body.pad_id
    return tokens


def _converted(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    if not any(path for pattern in CONVERTIBLE for path in folder.glob(pattern)):  # transformers would make one up
        raise UserError(f"{folder} has no tokenizer that can be read: tokenizer.json is missing.")
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        ).backend_tokenizer
    except Exception as error:  # a missing file and a missing converter raise different things
        raise UserError(f"{folder} has no tokenizer that can be read: tokenizer.json is missing.") from error


def _device(name: str | None) -> torch.device:
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return torch.device(name)
