"""Results on disk: append-only JSON lines, each of which says what was measured, on what, with what.

A record has `kind`, `model`, `config`, `values` and, added here, `key`, `schema`, `session`, `date`, `machine`,
`versions` and `command`. The key covers all that can change the values, so that a repeated run measures only what is
missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from compact_labse.errors import UserError
from compact_labse.measure import environment
from compact_labse.progress import say

SCHEMA = 1
_FIELDS = ("key", "kind", "session", "date", "config", "values", "machine", "versions", "command")

Record = dict[str, Any]


def result_key(kind: str, model: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """16 hex digits that identify a measurement on this machine with these versions: what re-runs compare."""
    machine, versions = environment.machine(), environment.versions()
    identity = [SCHEMA, kind, model["hash"], model["tokenizer_hash"], model["runtime"], config, machine, versions]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def record(kind: str, model: Mapping[str, Any], config: Mapping[str, Any], values: Mapping[str, Any]) -> Record:
    """A record that describes itself. `model` is `Artifact.record()`; all must be plain JSON without NaN."""
    return {
        "schema": SCHEMA,
        "key": result_key(kind, model, config),
        "kind": kind,
        "session": environment.session(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": dict(model),
        "config": dict(config),
        "values": dict(values),
        "machine": environment.machine(),
        "versions": environment.versions(),
        "command": command_line(),
    }


def command_line() -> str:
    """The command that runs, as one would type it."""
    script = Path(sys.argv[0])
    if script.stem in {"compact-labse", "__main__"}:
        return shlex.join(["compact-labse", *sys.argv[1:]])
    return shlex.join([*(["python"] if script.suffix == ".py" else []), *sys.argv])


class Results:
    """One JSONL file of records, or memory only without a path. Nothing is rewritten; failures do not count as done."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: list[Record] = [] if path is None else read(path)
        self._done = {found["key"] for found in self.records if found["kind"] != "failure"}

    def find(self, kind: str, model: Mapping[str, Any], config: Mapping[str, Any]) -> Record | None:
        """The newest record of this measurement, or None if it has to be made."""
        key = result_key(kind, model, config)
        if key not in self._done:
            return None
        return next(found for found in reversed(self.records) if found["key"] == key and found["kind"] == kind)

    def add(self, found: Record) -> Record:
        """Append one record and make sure that it is on the disk before returning it."""
        if self.path is not None:
            _append(self.path, json.dumps(found, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self.records.append(found)
        if found["kind"] != "failure":
            self._done.add(found["key"])
        return found


def read(path: Path) -> list[Record]:
    """All records of a file, none if it does not exist. A torn line is skipped with a warning that names it.

    UserError for a file that holds no record at all (a wrong path) or records of a newer version.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    parsed = [_parse(path, number, line) for number, line in enumerate(lines, start=1)]
    found = [each for each in parsed if each is not None]
    if lines and not found:
        raise UserError(f"{path} is not a results file: none of its {len(lines)} lines is a record; give another path")
    for number, each in enumerate(parsed, start=1):
        if each is None:
            say(f"warning: {path}, line {number} is not a whole record (an interrupted run leaves such); skipped")
    return found


def _parse(path: Path, number: int, line: bytes) -> Record | None:
    try:
        found = json.loads(line)
        schema = found["schema"]
        _ = [found[name] for name in _FIELDS], found["model"]["hash"], found["model"]["runtime"]
    except (ValueError, KeyError, TypeError):
        return None
    if schema > SCHEMA:
        raise UserError(f"{path}, line {number} was written by a newer version (schema {schema}); update compact-labse")
    return found


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        # A run that was killed while writing leaves half a line; ours must not become its second half.
        torn = file.seek(0, os.SEEK_END) > 0 and _last_byte(file) != b"\n"
        file.write((b"\n" if torn else b"") + line)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with open(path, "a+b") as file:
        try:
            import fcntl
        except ImportError:  # not on Windows, where one writer at a time is up to the user
            yield file
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
