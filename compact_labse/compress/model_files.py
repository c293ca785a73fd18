"""Which files of a model folder a smaller copy takes over as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from compact_labse.compress.tensors import is_whole
from compact_labse.errors import UserError
from compact_labse.locate import locate
from compact_labse.settings import position_limit, read_json

# Exports and checkpoints of other frameworks hold the old weights; SentencePiece files the old pieces.
OLD_FOLDERS = ("onnx", "tflite", "saved_model", "openvino", "coreml", "original")
OLD_FILES = ("*.bin", "*.pt", "*.ckpt*", "*.h5", "*.msgpack", "*.ot", "*.onnx*", "*.tflite", "*.gguf")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OWN_FILES = ("lineage.json", "manifest.json", "config.yaml")


def model_folder(name: str, max_tokens: int | None = None) -> Path:
    """The folder of a model with weights, by name or path; UserError for an export, or if it has fewer positions."""
    folder = locate(name)
    if not folder.is_dir() or not ((folder / "modules.json").is_file() or (folder / "config.json").is_file()):
        raise UserError(f"{folder} is an export: give the model folder with the weights that it was made from")
    positions = position_limit(folder)
    if max_tokens is not None and positions is not None and positions < max_tokens:
        raise UserError(f"max_tokens is {max_tokens}, but {folder} has {positions} positions: max_tokens={positions}")
    return folder


@contextmanager
def sentence_folder(name: str, pooling: str | None) -> Iterator[Path]:
    """The sentence-transformers folder of a model; of a plain transformers one a temporary copy that pools so.

    UserError if a plain one comes without `pooling`, or one that says itself how it pools comes with it.
    """
    folder = model_folder(name)
    if (folder / "modules.json").is_file():
        if pooling is not None:
            raise UserError(f"{folder / 'modules.json'} says how to pool: leave out --pooling")
        yield folder
        return
    from compact_labse.students.retrained import write_pooled  # needs torch

    with TemporaryDirectory() as place:
        write_pooled(folder, pooling, Path(place))
        yield Path(place)


def body_path(folder: Path) -> PurePosixPath:
    """Where the table and the tokenizer lie in a folder: the path of its first module."""
    file = folder / "modules.json"
    if not file.is_file():
        return PurePosixPath()
    try:
        path = PurePosixPath(json.loads(file.read_text(encoding="utf-8"))[0]["path"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{file} is not a list of modules with 'type' and 'path': {error!r}.") from error
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{file}: the path {str(path)!r} leads out of the folder.")
    return path


def weights_of(body: Path) -> list[Path]:
    """The safetensors files of a body; UserError if there is none, or if one of them is damaged."""
    if (body / WEIGHTS).is_file():
        files = [body / WEIGHTS]
    else:
        files = [body / name for name in sorted(set(read_json(body / INDEX).get("weight_map", {}).values()))]
    if not files or not all(map(is_whole, files)):
        from compact_labse.weights import weight_files  # needs torch, and knows what to say

        return weight_files(body)
    return files


def copy_rest(folder: Path, target: Path, body: PurePosixPath, written: Collection[str]) -> list[str]:
    """Copy all files but weights of the body, what `written` names in it, exports and old formats; gives what is left.

    Files that were left out and matter (a SentencePiece model, say) are named, so that a command can say so.
    """
    left = []
    for path in _files(folder):
        place = PurePosixPath(path.relative_to(folder).as_posix())
        in_body = place.parent == body
        if in_body and (place.name in written or path.suffix == ".safetensors" or place.name == INDEX):
            continue
        if place.parts[0] in OLD_FOLDERS or place.name in OWN_FILES or any(place.match(old) for old in OLD_FILES):
            continue
        if in_body and place.suffix == ".model":
            left.append(str(place))
            continue
        new = target / place
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, new)
    for module in _modules(folder):
        (target / module).mkdir(parents=True, exist_ok=True)
    return left


def write_index(body: Path, target: Path) -> None:
    """The index of sharded weights for the new files: the same names, another size."""
    if (body / WEIGHTS).is_file() or not (body / INDEX).is_file():
        return
    index = read_json(body / INDEX)
    total = sum((target / name).stat().st_size for name in set(index.get("weight_map", {}).values()))
    index["metadata"] = {**index.get("metadata", {}), "total_size": total}
    (target / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _modules(folder: Path) -> list[str]:
    """Folders of modules without files, which version control and hubs leave out."""
    file = folder / "modules.json"
    return [module["path"] for module in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []
