"""A bag of tokens made narrower for finding translations: its vectors on the directions in which translations agree.

Shapes: N pairs, D dimension, W width, V pieces.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.compress.model_files import INDEX, body_path, copy_rest
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, write_lineage, writing_folder

RIDGE = 0.02  # of the mean squared difference, so that directions in which pairs hardly differ do not decide alone
WHITENING = 0.25  # 0: principal components; 1: discriminants, which forget what tells similar sentences apart
TABLE, WEIGHTS = "embedding.weight", "model.safetensors"


def shared_directions(x_ND: np.ndarray, y_ND: np.ndarray, width: int) -> np.ndarray:
    """The map `[D, W]` to the directions in which translations (the rows of x and y) agree most.

    A part of the way from principal components to Fisher's linear discriminants: the differences of translations are
    whitened by the share `WHITENING` of the exponent, then the strongest directions of what both sides have in common
    are kept.
    """
    if not 1 <= width <= x_ND.shape[1]:
        raise UserError(f"the width must be from 1 to the {x_ND.shape[1]} of the vectors, got {width}")
    difference_ND = (x_ND - y_ND).astype(np.float64)
    noise_DD = difference_ND.T @ difference_ND / len(x_ND)
    common_DD = x_ND.T.astype(np.float64) @ y_ND / len(x_ND)
    noise_DD += max(RIDGE * np.trace(noise_DD) / len(noise_DD), 1e-12) * np.eye(len(noise_DD))
    power_D, basis_DD = np.linalg.eigh(noise_DD)
    whiten_DD = basis_DD @ np.diag(power_D ** (-WHITENING / 2)) @ basis_DD.T
    _, found_DD = np.linalg.eigh(whiten_DD @ (common_DD + common_DD.T) @ whiten_DD)
    return np.asarray(whiten_DD @ found_DD[:, ::-1][:, :width])


def spread(map_DW: np.ndarray, seed: int = 0) -> np.ndarray:
    """The map with a random rotation behind it, which changes no cosine.

    Strong directions come first in a map; rotated, they are spread over all values, which share one scale a row when a
    table is rounded. In 3 bits that is worth a point of accuracy.
    """
    normal_WW = np.random.default_rng(seed).normal(size=(map_DW.shape[1], map_DW.shape[1]))
    return np.asarray(map_DW @ np.linalg.qr(normal_WW)[0])


def write_narrow(
    model: Path, map_DW: np.ndarray, out: Path, *, overwrite: bool = False, made: Mapping[str, Any] | None = None
) -> None:
    """A copy of a static model's folder whose table is mapped, its values as large on average as they were.

    `made` is what its lineage says instead of the width: command, config, inputs.
    """
    from safetensors.numpy import load_file, save_file

    path = body_path(model)
    tensors = load_file(model / path / WEIGHTS)
    if set(tensors) != {TABLE}:
        raise UserError(f"{model} is no bag of tokens: its weights are {', '.join(sorted(tensors)[:4])}, ...")
    table_VD = tensors[TABLE]
    table_VW = (table_VD @ map_DW.astype(np.float32)).astype(np.float32)
    table_VW *= np.sqrt(np.square(table_VD).mean() / np.square(table_VW).mean())
    with writing_folder(out, overwrite=overwrite) as folder:
        copy_rest(model, folder, path, written=())
        (folder / path).mkdir(parents=True, exist_ok=True)
        save_file({TABLE: table_VW}, folder / path / WEIGHTS, metadata={"format": "pt"})
        inputs = {str(model): model_hash(model)}
        write_lineage(folder, **(made or {"command": "narrow", "config": {"width": map_DW.shape[1]}, "inputs": inputs}))


def write_turned(
    model: Path,
    map_DW: np.ndarray,
    out: Path,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    overwrite: bool = False,
) -> None:
    """A copy of a sentence-transformers folder with the map behind its pooling, before vectors are normalised.

    A bag of tokens takes it into its table; other models get a Dense without bias and activation. `config` and `inputs`
    (hashes of the text) are for its lineage.
    """
    import torch
    from safetensors.numpy import load_file

    from compact_labse.compress.saving import insert_dense

    path = body_path(model)
    made: dict[str, Any] = {"command": "agree", "config": dict(config)}
    made["inputs"] = {str(model): model_hash(model), **inputs}
    if not (model / "modules.json").is_file():
        raise UserError(f"{model} does not say how it pools: give a sentence-transformers folder")
    files = [file for file in (model / path).iterdir() if file.suffix == ".safetensors" or file.name == INDEX]
    if [file.name for file in files] == [WEIGHTS] and set(load_file(files[0])) == {TABLE}:
        write_narrow(model, map_DW, out, overwrite=overwrite, made=made)
        return
    kinds = [entry["type"].rpartition(".")[2] for entry in json.loads((model / "modules.json").read_text("utf-8"))]
    with writing_folder(out, overwrite=overwrite) as folder:
        copy_rest(model, folder, path, written=())
        for file in files:
            shutil.copyfile(file, folder / path / file.name)
        place = len(kinds) - (kinds[-1] == "Normalize")
        insert_dense(folder, place, torch.from_numpy(np.ascontiguousarray(map_DW.T, np.float32)))
        write_lineage(folder, **made)
