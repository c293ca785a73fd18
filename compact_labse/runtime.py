"""Opening an encoder to use it: the export where there is one, the way it was measured to be fast, without torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, sha256_file
from compact_labse.formats.artifacts import TOKENIZERS, tokenizer_folder
from compact_labse.locate import EMBEDDED, exports, has_weights, locate, preferred_export
from compact_labse.measure.environment import usable_cores
from compact_labse.measured import threads_for


def open_encoder(
    name: str, *, file: str | None = None, threads: int | None = None, made_with: str | None = None
) -> Encoder:
    """The encoder of a name, folder or file, as its export if it has one; `locate` has the rule.

    `file` picks a file of the folder. `threads` (default: what `measured` says of an export, else all usable cores)
    holds for the tokenizer too, and therefore for the whole process. `made_with` is the `identity` of an earlier
    encoder: if the model's folder holds that one, it is opened, so that vectors can be compared. UserError as `load`.
    """
    if threads is not None and threads < 1:
        raise UserError(f"--threads must be at least 1, got {threads}")
    folder = EMBEDDED[name]() if name in EMBEDDED else Path(name)
    path = locate(name, file or preferred_export(folder))
    if made_with is not None and identity_of(path) != made_with:
        path = next((other for other in artifacts(folder) if identity_of(other) == made_with), path)
    threads = threads or (threads_for(path) if path.is_file() else usable_cores())
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizer's; read when it first runs in parallel
    return load(path, threads=threads)


def artifacts(folder: Path) -> list[Path]:
    """What of a model folder can be opened: its exports, and itself if it has weights; of anything else nothing."""
    return [*exports(folder), *([folder] if has_weights(folder) else [])] if folder.is_dir() else []


def identity(encoder: Encoder) -> str:
    """A hash of what decides an encoder's vectors: its model folder, or its file together with the tokenizer."""
    if encoder.source is None:
        raise UserError(f"{encoder.name} was not read from a folder or file, so that nothing identifies its vectors")
    return identity_of(encoder.source)


def identity_of(path: Path) -> str:
    """The `identity` of the encoder that a folder or file holds."""
    if path.is_dir():
        return model_hash(path)
    folder = tokenizer_folder(path)
    files = [path, *(folder / name for name in TOKENIZERS if (folder / name).is_file())]
    return hashlib.sha256("\n".join(map(sha256_file, files)).encode()).hexdigest()
