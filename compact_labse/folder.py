"""The model folder: atomic writes, the hash of what decides its vectors, and the lineage that says how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.writing import check_free, writing_file, writing_folder

__all__ = [
    "file_hashes",
    "model_hash",
    "read_lineage",
    "sha256_file",
    "write_lineage",
    "writing_file",
    "writing_folder",
]

LINEAGE = "lineage.json"

# What decides a model's vectors: structure, weights, tokenizer. Cards, logs, lineage and exports do not.
_DECIDING = (
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_*config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_CHECKOUT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "compact-labse",
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_hashes(names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of those names that are files: what a lineage says of a corpus."""
    return {name: sha256_file(Path(name)) for name in names if Path(name).is_file()}


def model_hash(folder: Path) -> str:
    """One hex digest over the files that decide a model's vectors: modules, configurations, weights, tokenizer.

    Cards, logs, lineage and exports do not count, except that the ONNX files count in a folder without other weights.
    A single file (an .onnx, say) is hashed as it is. Raises UserError when there is nothing to hash.
    """
    folder = Path(folder)
    if folder.is_file():
        return sha256_file(folder)
    files = _deciding_files(folder)
    if not files:
        raise UserError(f"{folder} is not a model folder: it has neither weights nor a configuration")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def check_out(out: Path, overwrite: bool, *sources: str | Path | None) -> None:
    """UserError, before any work, if a model folder may not be written there.

    What overwriting deletes must be a model folder, and none of the `sources` that the new one is made from.
    """
    check_free(out, overwrite)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not any((out / name).is_file() for name in ("modules.json", "config.json", "lineage.json")):
        raise UserError(f"{out} is no model folder, and is not overwritten by one: choose another --out")
    if any(source and Path(source).resolve() == out.resolve() for source in sources):
        raise UserError(f"{out} is a model that the new one is made from: choose another --out")


def write_lineage(folder: Path, *, command: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Write `lineage.json`: the command, its resolved configuration, the hashes of its inputs, versions and date (UTC).

    `inputs` maps a name or path to a hash. Values that JSON does not know (paths, dataclasses, sets) become what they
    look like.
    """
    lineage = {
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": config,
        "inputs": inputs,
        "versions": _versions(),
        "git": _git_state(),
        "machine": platform.platform(),
    }
    text = json.dumps(lineage, indent=2, ensure_ascii=False, default=_plain)
    with writing_file(Path(folder) / LINEAGE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_lineage(folder: Path) -> dict[str, Any]:
    """What `write_lineage` wrote; empty for a model that was made elsewhere. Damaged JSON raises UserError."""
    path = Path(folder) / LINEAGE
    if not path.exists():
        return {}
    lineage = _read_json(path)
    if not isinstance(lineage, dict):
        raise UserError(f"{path} should hold a JSON object, got {type(lineage).__name__}")
    return lineage


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); restore it") from error


def _deciding_files(folder: Path) -> list[Path]:
    places = [folder]
    if (folder / "modules.json").is_file():
        modules = _read_json(folder / "modules.json")
        places += [folder / module["path"] for module in modules if module.get("path")]
    files = {path for place in places for pattern in _DECIDING for path in place.glob(pattern)}
    weights = {path for place in places for path in weights_in(place)}
    return sorted(files | (weights or set(folder.glob("onnx/*.onnx"))))


def weights_in(place: Path) -> list[Path]:
    """A folder's weights in the first format it has: hubs carry the same weights several times."""
    return next((found for pattern in _WEIGHTS if (found := list(place.glob(pattern)))), [])


def _versions() -> dict[str, str]:
    from importlib import metadata  # five megabytes and milliseconds that opening an export can do without

    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that runs, and whether tracked files differ from it; None for an installed wheel."""
    import subprocess

    if not (_CHECKOUT / ".git").exists():
        return None
    try:
        commit = _git(_CHECKOUT, "rev-parse", "HEAD").strip()
        dirty = bool(_git(_CHECKOUT, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _git(checkout: Path, *words: str) -> str:
    import subprocess

    command = ["git", "-C", str(checkout), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)
