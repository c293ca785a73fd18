"""The folder that an export is written to: temporary until its gates have passed, complete enough to be used alone.

An artifact lies in `onnx/` of its model's folder, or of a folder of its own that gets tokenizer and settings too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.folder import (
    LINEAGE,
    check_out,
    model_hash,
    read_lineage,
    sha256_file,
    weights_in,
    writing_file,
    writing_folder,
)
from compact_labse.formats.artifacts import BESIDE, parts
from compact_labse.formats.contract import PARITY
from compact_labse.formats.peer_files import write_peer_files
from compact_labse.writing import link

# What readers of exported folders look at: tokenizers, settings of the model and its modules; weights stay behind.
SIDE_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "config.json", "config_sentence_transformers.json", "sentence_*config.json", "modules.json", "README.md",
    "[0-9]*_*/config.json",
)  # fmt: skip


# What `verify` hashes beside artifacts: all of these but the model card, which people edit.
HASHED = tuple(name for name in SIDE_FILES if name != "README.md")


@contextmanager
def export_folder(source: Encoder, out: Path | None, kind: str, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder for artifacts of one kind ("onnx"), which gets its name if the block succeeds, or vanishes.

    Without `out` it becomes `<kind>/` in the source's own folder, keeping the artifacts of earlier exports. With `out`
    a new folder is made around it; one that holds an export of the same model gets `<kind>/` added, or with `overwrite`
    replaced, and keeps those for other runtimes. With `overwrite` an export of another model is replaced whole.
    UserError if the source has no folder of its own, or `out` is taken, or holds what is no export.
    """
    folder = source.source
    if folder is None or not folder.is_dir():
        raise UserError(f"{source.name} has no model folder to export from")
    if out is None:
        if _installed(folder):
            raise UserError(
                f"{source.name} lies among installed packages ({folder}): name a folder to write, --out DIR"
            )
        with writing_folder(folder / kind, overwrite=True) as temporary:
            if (folder / kind).is_dir():
                _keep(folder / kind, temporary)
            _write_tokenizer(source, folder, temporary)
            yield temporary
        return
    if out.resolve() == folder.resolve():
        raise UserError(f"--out is the model's own folder {folder}; leave it out to export into {folder / kind}")
    joins = (overwrite or not (out / kind).exists()) and _exported_from(folder, out)
    if not joins:
        check_out(out, overwrite)
        if out.is_dir() and weights_in(out):
            raise UserError(f"{out} holds a model's weights, and is not overwritten by an export: choose another --out")
    with writing_folder(out, overwrite=overwrite or joins) as temporary:
        if joins:
            _keep(out, temporary)
            shutil.rmtree(temporary / kind, ignore_errors=True)
        else:
            _copy_side_files(folder, temporary)
            _write_tokenizer(source, temporary, temporary)
            write_peer_files(temporary, source)
        (temporary / kind).mkdir()
        yield temporary / kind
        if joins:
            _append_lineage(out, temporary)


def add_entry(folder: Path, artifact: str, entry: Mapping[str, Any], tokenizer: Path) -> None:
    """Note an artifact in the folder's `parity.json`: what was measured, its size and the hashes that openers check.

    An artifact may be a folder; then every file in it is hashed.
    """
    content = _read(folder)
    files = parts(folder / artifact)
    hashes = {file.relative_to(folder).as_posix(): sha256_file(file) for file in files}
    content["artifacts"][artifact] = {
        **entry,
        "bytes": sum(file.stat().st_size for file in files),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sha256": {**hashes, tokenizer.name: sha256_file(tokenizer)},
    }
    _write(folder, content)


def note_beside(folder: Path, *names: str) -> None:
    """Note the hashes of what lies beside the artifacts: files of that folder by name, settings and tokenizers above.

    Openers need none of them, but readers of other people do; `verify` compares them.
    """
    files = [folder / name for name in names]
    files += [file for pattern in HASHED for file in sorted(folder.parent.glob(pattern))]
    content = _read(folder)
    content[BESIDE] = {_from(folder, file): sha256_file(file) for file in files}
    _write(folder, content)


def remove(folder: Path, artifact: str) -> None:
    """Delete an artifact of an earlier export and its entry; nothing if there is none."""
    if (folder / artifact).is_dir():
        shutil.rmtree(folder / artifact)
    operators = (folder / artifact).with_suffix(".required_operators.config")
    for file in (folder / artifact, folder / f"{artifact}_data", *([operators] if artifact.endswith(".ort") else [])):
        file.unlink(missing_ok=True)
    content = _read(folder)
    if content["artifacts"].pop(artifact, None) is not None:
        _write(folder, content)


def _from(folder: Path, file: Path) -> str:
    """A file's path from a folder that it lies in or beside."""
    inside = file.is_relative_to(folder)
    return file.relative_to(folder).as_posix() if inside else f"../{file.relative_to(folder.parent).as_posix()}"


def _read(folder: Path) -> dict[str, Any]:
    path = folder / PARITY
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"artifacts": {}}
        return content | {"artifacts": dict(content["artifacts"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.name} of the earlier export is damaged ({error!r}): delete that folder") from error


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    path = folder / PARITY
    path.unlink(missing_ok=True)  # it may be a hard link to the file of the earlier export
    path.write_bytes(text + b"\n")


def _write_tokenizer(source: Encoder, model: Path, place: Path) -> None:
    """Give a model without `tokenizer.json` at its top the one that the source works with."""
    if not (model / "tokenizer.json").is_file():
        source.tokens.tokenizer.save(str(place / "tokenizer.json"), pretty=False)


def _copy_side_files(folder: Path, target: Path) -> None:
    for pattern in SIDE_FILES:
        for path in folder.glob(pattern):
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    if (target / "tokenizer.json").is_file():
        _compact(target / "tokenizer.json")


def _compact(path: Path) -> None:
    """Write JSON without white space: of a tokenizer with a line a piece, less than half is left to ship and parse."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _keep(earlier: Path, temporary: Path) -> None:
    """Take an earlier export over; what is written anew must replace its files, never write into them."""
    shutil.copytree(earlier, temporary, copy_function=link, dirs_exist_ok=True)


def _exported_from(folder: Path, out: Path) -> bool:
    """Whether `out` is an export of the model in `folder`, as it is now."""
    inputs = read_lineage(out).get("inputs") if out.is_dir() else None
    return isinstance(inputs, dict) and model_hash(folder) in inputs.values()


def _append_lineage(out: Path, temporary: Path) -> None:
    """Keep, of a folder that several exports wrote, the lineage of all: the earlier ones under `earlier`."""
    first, last = read_lineage(out), read_lineage(temporary)
    if last != first:
        earlier = [*first.pop("earlier", []), first]
        text = json.dumps({**last, "earlier": earlier}, indent=2, ensure_ascii=False)
        with writing_file(temporary / LINEAGE) as file:
            file.write_text(text + "\n", encoding="utf-8")


def _installed(folder: Path) -> bool:
    return "site-packages" in folder.resolve().parts
