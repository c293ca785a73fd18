"""A stage of a pipeline: a folder that is made once, and made again only when what it depends on has changed."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.folder import writing_folder
from compact_labse.progress import say

MANIFEST, LOCK = "manifest.json", ".lock"


def stage(folder: Path, title: str, depends_on: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> dict:
    """Give what `build` reported about `folder`, building it unless it is there for the same `depends_on`.

    `build(temporary)` fills a folder that gets its name only when complete, and returns facts for the manifest
    (`manifest["facts"]`). The manifest also holds `depends_on`, and `key`, its hash. UserError if the folder holds
    something that no stage made: data of the user's, say.
    """
    key = hash_of(depends_on)
    manifest = read_manifest(folder)
    if manifest.get("key") == key:
        say(f"{title}: reusing {folder}")
        return manifest
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} holds files that were not made here, and {title} would replace it: choose another --work"
        )
    say(f"{title}: {'its inputs changed, making it again' if manifest else 'making it'} in {folder}")
    with writing_folder(folder, overwrite=True) as temporary:
        facts = dict(build(temporary))
        manifest = {"title": title, "key": key, "depends_on": json.loads(_canonical(depends_on)), "facts": facts}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
    return manifest


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder` that ends with the process, however it ends; UserError while another one holds it.

    A folder in which nothing was made vanishes: a command that fails at once leaves none behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another run is working in {folder}: wait for it, or choose another --out") from error
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()


def hash_of(value: Any) -> str:
    """A hex digest of anything made of dataclasses, mappings, sequences, paths, strings and numbers."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished stage; empty when there is none or it is unreadable."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
