"""Opening an encoder to use it: the export where there is one, on all cores, without importing torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, sha256_file
from compact_labse.formats.artifacts import TOKENIZERS, tokenizer_folder
from compact_labse.locate import preferred_export
from compact_labse.measure.environment import usable_cores


def open_encoder(name: str, *, file: str | None = None, threads: int | None = None) -> Encoder:
    """The encoder of a name, folder or file, as its export if it has one; `locate` has the rule.

    `file` picks a file of the folder. `threads` (default: all usable cores) holds for the tokenizer too, and therefore
    for the whole process. UserError as from `load`.
    """
    if threads is not None and threads < 1:
        raise UserError(f"--threads must be at least 1, got {threads}")
    threads = threads or usable_cores()
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizer's; read when it first runs in parallel
    file = file or preferred_export(Path(name))
    return load(name, file=file, threads=threads)


def identity(encoder: Encoder) -> str:
    """A hash of what decides an encoder's vectors: its model folder, or its file together with the tokenizer."""
    if encoder.source is None:
        raise UserError(f"{encoder.name} was not read from a folder or file, so that nothing identifies its vectors")
    if encoder.source.is_dir():
        return model_hash(encoder.source)
    folder = tokenizer_folder(encoder.source)
    files = [encoder.source, *(folder / name for name in TOKENIZERS if (folder / name).is_file())]
    return hashlib.sha256("\n".join(map(sha256_file, files)).encode()).hexdigest()
