"""Weights from safetensors files, with errors that name the file, the tensor and both shapes. Never a pickle."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from compact_labse.errors import UserError
from compact_labse.settings import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PREFIXES = ("", "bert.", "roberta.", "mpnet.")  # of the body's tensors, where a head stands beside it


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a folder's weights: one, or the shards of an index.

    UserError if there is none (naming a pickle that should be converted), or if one of them is missing or damaged.
    """
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map", {})
        files = [folder / name for name in sorted(set(shards.values()))]
    else:
        raise _no_weights(folder)
    for file in files:
        _check_readable(file)
    return files


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, on the CPU; half-precision ones as float32."""
    found: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            found |= {name: _float32(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
    return found


def fill(module: nn.Module, folder: Path) -> None:
    """Copy a folder's weights into a module; UserError if a tensor is missing, unknown or of another shape."""
    found, wanted = read_weights(folder), module.state_dict()
    file = folder / WEIGHTS
    complain_missing(file, [name for name in wanted if name not in found])
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise UserError(f"{file} holds the tensor {unknown[0]!r}, which a {type(module).__name__} does not have.")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise wrong_shape(file, name, found[name].shape, tensor.shape)
    module.load_state_dict(found)


def has_pooler(folder: Path) -> bool:
    """Whether a folder's weights have BERT's pooler; by their names, whatever the config says."""
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            if not {f"{prefix}pooler.dense.weight" for prefix in PREFIXES}.isdisjoint(opened.keys()):
                return True
    return False


def dense_pooler(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The kernel `[H, H]` (from, to) and bias of BERT's pooler in a folder's weights; UserError if it has none."""
    found = read_weights(folder)
    for prefix in PREFIXES:
        weight = found.get(f"{prefix}pooler.dense.weight")
        if weight is not None:
            return weight.numpy().T, found[f"{prefix}pooler.dense.bias"].numpy()
    raise UserError(f"{folder / WEIGHTS} has no pooler.dense: there is no pooler to copy from this model.")


def complain_missing(file: Path, names: Collection[str]) -> None:
    """UserError if `names`, tensors that the model needs and the file lacks, is not empty."""
    if names:
        first = sorted(names)[0]
        raise UserError(f"{file} lacks {len(names)} of the tensors that its config asks for, {first!r} among them.")


def wrong_shape(file: Path, name: str, got: Collection[int], expected: Collection[int]) -> UserError:
    """The error for a tensor that does not fit the config."""
    return UserError(f"{file}: the tensor {name!r} is {list(got)}, but the config asks for {list(expected)}.")


def _check_readable(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"{file} is missing, though the index beside it names it: download the folder again.")
    try:
        with safe_open(file, framework="pt") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        size = file.stat().st_size
        raise UserError(
            f"{file} ({size:,} bytes) is not a whole safetensors file: {error}. Copy or download it again."
        ) from error


def _no_weights(folder: Path) -> UserError:
    pickles = sorted(path.name for path in [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")])
    if pickles:
        return UserError(
            f"{folder} has its weights only as a pickle ({pickles[0]}), which could run any code; convert it to "
            f"safetensors first, where you trust it: SentenceTransformer(folder).save(other_folder)."
        )
    return UserError(f"{folder} has no weights: {WEIGHTS} is missing.")


def _float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
