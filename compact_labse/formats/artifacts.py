"""What lies beside an artifact that a runtime loads: its tokenizer, and the hashes it was written with.

An artifact is a file (`onnx/model.onnx`) or a folder (`saved_model/encoder`) with a `parity.json` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.folder import sha256_file
from compact_labse.formats.contract import PARITY

TOKENIZERS = ("tokenizer.json", "vocab.txt")
BESIDE = "beside"  # in `parity.json`: hashes of the files that belong to no single artifact, by path from its folder


def tokenizer_folder(path: Path) -> Path:
    """The folder of an artifact's tokenizer: its own, else the one above."""
    for folder in (path.parent, path.parent.parent):
        if any((folder / name).is_file() for name in TOKENIZERS):
            return folder
    raise UserError(f"There is no tokenizer.json beside {path} nor in the folder above: copy the whole export.")


def parts(path: Path) -> list[Path]:
    """The files of an artifact: itself and its external data, or all files of its folder."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, *sorted(path.parent.glob(f"{path.name}_data"))]


def entries(folder: Path) -> dict[str, Any]:
    """The artifacts of a folder's `parity.json`, {} without one; UserError if it is damaged."""
    return _report(folder)[0]


def changed_beside(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The files beside artifacts that are others than when these were written, and whether they are missing."""
    for name, digest in _report(folder)[1].items():
        file = folder.parent / name[3:] if name.startswith("../") else folder / name
        if not file.is_file():
            yield file, True
        elif sha256_file(file) != digest:
            yield file, False


def _report(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    report = folder / PARITY
    if not report.is_file():
        return {}, {}
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        return dict(content["artifacts"]), dict(content.get(BESIDE, {}))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{report} is damaged ({error!r}); export the model again.") from error


def check_hashes(path: Path) -> None:
    """UserError if `parity.json` beside an artifact was written for another file, or for another tokenizer."""
    entry = entries(path.parent).get(path.name) or {}
    for name, digest in entry.get("sha256", {}).items():
        place = (tokenizer_folder(path) if name in TOKENIZERS else path.parent) / name
        if not place.is_file() or sha256_file(place) != digest:
            raise UserError(
                f"{place} is {'missing' if not place.is_file() else 'not the file'} that {path.parent / PARITY} was "
                f"written for: copy the whole export again, or make it anew with `compact-labse export`."
            )
