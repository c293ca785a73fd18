"""Re-check artifacts where they lie: are they the files that were written, and do they still give those vectors?"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError, require
from compact_labse.formats.artifacts import changed_beside, check_hashes, entries
from compact_labse.formats.contract import PARITY
from compact_labse.formats.gates import agreement
from compact_labse.formats.gates.expected import EXPECTED, Expected, held_to, read_expected

OK, MISMATCH, UNCHECKED = "ok", "mismatch", "not checked"
# What opens an artifact, by its suffix ("" is a folder): module, class, the library it needs, the extra that brings it.
OPENERS = {
    ".onnx": ("compact_labse.onnx_encoder", "OnnxEncoder", "onnxruntime", "onnx"),
    ".ort": ("compact_labse.onnx_encoder", "OnnxEncoder", "onnxruntime", "onnx"),
    ".tflite": ("compact_labse.tflite_encoder", "TFLiteEncoder", "ai_edge_litert", "tflite"),
    "": ("compact_labse.saved_model_encoder", "SavedModelEncoder", "tensorflow", "tensorflow"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """What became of one artifact; the cosines are None where none were computed."""

    artifact: str
    status: str
    detail: str = ""
    worst_cosine: float | None = None
    mean_cosine: float | None = None


def verify(folder: Path) -> list[Check]:
    """Check every artifact of an export: hashes, token ids, vectors; UserError if the folder has none.

    Of what lies beside artifacts (expectations, settings, tokenizers) only that which differs is listed.
    """
    folder = Path(folder)
    places = [place for place in (folder, *sorted(folder.glob("*"))) if (place / PARITY).is_file()]
    checks = [check for place in places for check in _folder(folder, place)]
    checks += {check.artifact: check for place in places for check in _beside(folder, place)}.values()
    unlisted = [place for place in (folder, *sorted(folder.glob("*"))) if place.is_dir() and place not in places]
    for path in (path for place in unlisted for path in sorted(place.iterdir())):
        if path.suffix and path.suffix in OPENERS:
            detail = f"no {PARITY} beside it"
            checks.append(Check(artifact=path.relative_to(folder).as_posix(), status=UNCHECKED, detail=detail))
    if not checks:
        raise UserError(f"{folder} has no artifacts: neither it nor a folder in it holds a {PARITY} that lists some.")
    return checks


def _folder(root: Path, place: Path) -> Iterator[Check]:
    listed = entries(place)
    for name, entry in listed.items():
        artifact = (place / name).relative_to(root).as_posix()
        try:
            yield _artifact(place / name, artifact, entry or {})
        except UserError as error:
            yield Check(artifact=artifact, status=MISMATCH, detail=str(error))
    for path in sorted(place.iterdir()):
        if path.suffix in OPENERS and path.suffix and path.name not in listed:
            artifact = path.relative_to(root).as_posix()
            yield Check(artifact=artifact, status=MISMATCH, detail=f"{PARITY} beside it does not list it")


def _beside(root: Path, place: Path) -> Iterator[Check]:
    for file, missing in changed_beside(place):
        inside = file.is_relative_to(root)
        name = file.relative_to(root).as_posix() if inside else f"../{file.relative_to(root.parent).as_posix()}"
        report = f"{place.name}/{PARITY}"
        detail = f"missing, though {report} lists it" if missing else f"not the file that {report} was written for"
        yield Check(artifact=name, status=MISMATCH, detail=detail)


def _artifact(path: Path, artifact: str, entry: Mapping[str, Any]) -> Check:
    check_hashes(path)
    if entry.get("vectors") is False:  # such as a preprocessing model, which gives none
        return Check(artifact=artifact, status=OK, detail=f"hashes only: it {entry.get('instead', 'gives no vectors')}")
    expected = read_expected(path.parent)
    if expected is None:
        return Check(artifact=artifact, status=UNCHECKED, detail=f"hashes only: no {EXPECTED} beside it")
    module, name, library, extra = OPENERS[path.suffix if not path.is_dir() else ""]
    try:
        require(library, extra)
    except UserError:
        return Check(artifact=artifact, status=UNCHECKED, detail=f"hashes only: needs extra {extra} ({library})")
    encoder: Encoder = getattr(importlib.import_module(module), name).open(path)
    return _compare(artifact, encoder, expected, held_to(entry))


def _compare(artifact: str, encoder: Encoder, expected: Expected, limits: Mapping[str, Any]) -> Check:
    ids = encoder.tokenize(expected.texts)
    for text, got, wanted in zip(expected.texts, ids, expected.ids, strict=True):
        if got != wanted:
            detail = f"token ids of {text!r} are {got}, expected {wanted}"
            return Check(artifact=artifact, status=MISMATCH, detail=detail)
    if encoder.dim != expected.vectors_ND.shape[1]:
        detail = f"vectors have {encoder.dim} values, expected {expected.vectors_ND.shape[1]}"
        return Check(artifact=artifact, status=MISMATCH, detail=detail)
    cosines_N = agreement.cosines(expected.vectors_ND, encoder.encode(expected.texts))
    cosines_N[np.linalg.norm(expected.vectors_ND, axis=1) < 1e-6] = 1.0  # a zero vector has no direction to agree about
    worst, mean = int(np.argmin(np.nan_to_num(cosines_N, nan=-2))), float(cosines_N.mean())
    detail = ""
    if not cosines_N[worst] >= limits["worst_cosine"]:
        limit = limits["worst_cosine"]
        detail = f"worst_cosine is {cosines_N[worst]:.6f} on {expected.texts[worst]!r}, the limit is {limit:.6g}"
    elif not mean >= limits["mean_cosine"]:
        detail = f"mean_cosine is {mean:.6f}, the limit is {limits['mean_cosine']:.6g}"
    status = MISMATCH if detail else OK
    least = float(cosines_N[worst])
    return Check(artifact=artifact, status=status, detail=detail, worst_cosine=least, mean_cosine=mean)
