"""The steps from a model to a candidate, each a folder whose name is the hash of what it depends on.

What a killed run left whole is found again by that name; training goes on from its last checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from compact_labse.compress.candidates import FEWER_PIECES, TABLE_BITS, Candidate
from compact_labse.compress.coverage import known_languages
from compact_labse.compress.model_files import body_path
from compact_labse.compress.structure import Prune, prune
from compact_labse.compress.table_width import main_directions
from compact_labse.compress.trim import TOKENIZER, Trim, trim
from compact_labse.encoder import Encoder, load
from compact_labse.errors import GateError, UserError
from compact_labse.folder import model_hash, write_lineage
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.stages import hash_of, stage
from compact_labse.students import StaticStudent, StudentConfig, save_student
from compact_labse.tokens import pad
from compact_labse.torch_encoder import TorchEncoder

MODEL, ROWS_AT_ONCE = "model", 4096
SAME = 0.9999  # cosine of an unpacked table's vectors with those of the file that it came from
CALIBRATION = 128  # texts


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that is done: the model folder that it made, and what it reported (`failed` where a gate refused it)."""

    model: Path
    facts: dict[str, Any]


def step(work: Path, name: str, depends: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Step:
    """The step of that name for these inputs, done now unless it is there; `build` writes the model folder it is given.

    A gate that refuses the model is a fact as well (`failed`), and no reason to try again.
    """
    folder = work / f"{name}-{hash_of([name, depends])[:16]}"

    def attempt(temporary: Path) -> Mapping[str, Any]:
        try:
            return build(temporary / MODEL)
        except GateError as error:
            shutil.rmtree(temporary / MODEL, ignore_errors=True)
            return {"failed": str(error)}

    return Step(model=folder / MODEL, facts=stage(folder, name, depends, attempt)["facts"])


def original(work: Path, name: str, encoder: Encoder) -> Path:
    """The original as a model folder with weights: itself, or unpacked from the file of a bag of tokens."""
    if isinstance(encoder, TorchEncoder):
        assert encoder.source is not None
        return encoder.source
    if not isinstance(encoder, OnnxEncoder):
        raise UserError(
            f"{name} cannot be compressed: give a model folder with weights, or the ONNX file of a static model"
        )

    def build(folder: Path) -> Mapping[str, Any]:
        folder.mkdir()
        student = StaticStudent(StudentConfig(dim=encoder.dim), encoder.tokens.tokenizer.get_vocab_size())
        student.start_as(torch.from_numpy(unpacked(encoder, name)))
        save_student(student, encoder.tokens.tokenizer, folder)
        assert encoder.source is not None
        write_lineage(folder, command="compress: unpack", config={}, inputs={name: model_hash(encoder.source)})
        return {}

    assert encoder.source is not None
    return step(work, "unpacked", {"model": model_hash(encoder.source)}, build).model


def unpacked(encoder: OnnxEncoder, name: str) -> np.ndarray:
    """The table `[V, D]` of a bag of tokens from its ONNX file; UserError for any other model."""
    size = encoder.tokens.tokenizer.get_vocab_size()
    ids_V = np.arange(size, dtype=np.int64)
    parts = [ids_V[start : start + ROWS_AT_ONCE, None] for start in range(0, size, ROWS_AT_ONCE)]
    table_VD = np.concatenate([encoder.hidden(part, np.ones_like(part))[:, 0] for part in parts])
    ids_BT, mask_BT = pad([[5, 7, 11, 6], [9, 5]], encoder.tokens.pad_id)
    sums_BD = (table_VD[ids_BT] * mask_BT[..., None]).sum(1)
    sums_BD /= np.maximum(np.linalg.norm(sums_BD, axis=1, keepdims=True), 1e-12)
    if (encoder.forward(ids_BT, mask_BT) * sums_BD).sum(1).min() < SAME:
        raise UserError(f"{name} is an export of a transformer: give the model folder with the weights instead")
    return table_VD


def trimmed(
    work: Path, model: Path, languages: Sequence[str], corpus: Sequence[Path], data: str, most: int | None
) -> Step:
    """The model with the pieces that the text uses, at most so many; facts are those of `trim`."""
    depends = {"model": model_hash(model), "languages": languages, "text": data, "most": most}

    def build(folder: Path) -> Mapping[str, Any]:
        files = tuple(map(str, corpus))
        done = trim(Trim(model=str(model), out=folder, languages=tuple(languages), corpus=files, max_tokens=most))
        changed = {language: cut.changed for language, cut in done.languages.items()}
        fixed = done.reasons["special"] + done.reasons["characters"]
        return {"pieces": done.pieces_after, "fixed": fixed, "changed": changed}

    return step(work, "trimmed", depends, build)


def vocabularies(
    work: Path, model: Path, languages: Sequence[str], corpus: Sequence[Path], data: str
) -> dict[int, Step]:
    """Trimmed models by their number of pieces: all that the text uses, then fewer.

    Text whose file does not tell its language is taken to be in the `languages`, and decides alone.
    """
    languages = languages if known_languages(list(map(str, corpus)))[1] else ()
    whole = trimmed(work, model, languages, corpus, data, None)
    pieces, fixed = whole.facts["pieces"], whole.facts["fixed"]
    found = {pieces: whole}
    for share in FEWER_PIECES:
        most = fixed + round(share * (pieces - fixed))
        if most < min(found):
            found[most] = trimmed(work, model, languages, corpus, data, most)
    return {level.facts["pieces"]: level for level in found.values()}


def pruned(work: Path, trimmed: Path, before: Candidate, one: Candidate, texts: Sequence[Path], data: str) -> Step:
    """The model with fewer layers, heads and columns, or a narrower table; the trimmed one if nothing of it is cut."""
    sizes = {
        name: getattr(one, name)
        for name in ("layers", "heads", "ffn", "table")
        if getattr(one, name) and getattr(one, name) != getattr(before, name)
    }
    if not sizes:
        return Step(model=trimmed, facts={})
    depends = {"model": model_hash(trimmed), "sizes": sizes, "text": data, "texts": CALIBRATION}

    def build(folder: Path) -> Mapping[str, Any]:
        if not before.layers:
            return narrowed(trimmed, folder, one.table)
        files = tuple(map(str, texts))
        done = prune(Prune(model=str(trimmed), data=files, out=folder, texts=CALIBRATION, **sizes))
        return {"parameters": done.parameters_after, "damage": done.damage, "kept_layers": done.kept_layers}

    return step(work, "pruned", depends, build)


def narrowed(model: Path, folder: Path, width: int) -> dict[str, Any]:
    """A bag of tokens with a narrower table, turned so that its cosines change least; every piece counts alike."""
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("lineage.json", "onnx"))
    path = folder / body_path(folder) / "model.safetensors"
    table_VD = load_file(path)["embedding.weight"].float()
    down_DW = main_directions(table_VD, torch.ones(len(table_VD)), width)
    save_file({"embedding.weight": (table_VD @ down_DW).contiguous()}, path, metadata={"format": "pt"})
    write_lineage(folder, command="compress: narrow", config={"width": width}, inputs={str(model): model_hash(model)})
    return {"parameters": len(table_VD) * width}


def healed(
    work: Path, pruned: Path, one: Candidate, settings: Mapping[str, Any], heal: Callable[[Path, Path], None]
) -> Step:
    """The model after distillation from the original by `heal(folder, work)`, which goes on where it was killed."""
    bits = one.bits if not one.layers and TABLE_BITS[one.bits] < 8 else ""
    depends = {"model": model_hash(pruned), "bits": bits, **settings}
    training = work / "training" / hash_of(depends)[:16]

    def build(folder: Path) -> Mapping[str, Any]:
        heal(folder, training)
        if (pruned / TOKENIZER).is_file():  # the same one, as other programs wrote it
            shutil.copyfile(pruned / TOKENIZER, folder / TOKENIZER)
        return {}

    found = step(work, "healed", depends, build)
    shutil.rmtree(training, ignore_errors=True)
    return found


def exported(work: Path, model: Path, one: Candidate, languages: Sequence[str], export: Callable[[Path], None]) -> Step:
    """The ONNX artifact of a model in the candidate's bits, by `export(out)`, which holds it to its gates."""
    depends = {"model": model_hash(model), "bits": one.bits, "languages": languages}

    def build(folder: Path) -> Mapping[str, Any]:
        export(folder)
        return {}

    return step(work, "exported", depends, build)


def opened(model: Path, threads: int = 1) -> Encoder:
    """The encoder in a step's model folder, on the CPU."""
    return (
        load(model, threads=threads, device="cpu") if any(model.glob("*.safetensors")) else load(model, threads=threads)
    )
