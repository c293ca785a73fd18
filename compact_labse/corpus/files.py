"""Which files a user means: names, folders, globs and `hf:` names become a list of sources of known format."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compact_labse.errors import UserError
from compact_labse.folder import sha256_file

FORMATS = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".txt": "text",
}
COMPRESSIONS = (".gz", ".zst", ".xz", ".bz2")
HUB = "hf:"
PAIR_KINDS = ("tsv", "jsonl", "parquet", "tfrecord")
TEXT_KINDS = (*PAIR_KINDS, "text")
KNOWN = ", ".join(sorted(FORMATS)) + ", each also with " + ", ".join(COMPRESSIONS)

_SHARD = re.compile(r"-\d+-of-\d+$")
_LANGUAGES = re.compile(r"([a-z]{2,3}(?:-[A-Z][a-z]{3})?)-([a-z]{2,3}(?:-(?:[A-Z][a-z]{3}|[A-Z]{2}))?)")


@dataclass(frozen=True)
class Source:
    """One file, or one `hf:` name, and the format it is read as. `named` says that the user wrote it out."""

    name: str
    kind: str
    named: bool = True

    @property
    def languages(self) -> tuple[str, str] | None:
        """`("en", "zh-Hant")` for `en-zh-Hant.tsv.gz`, `Books.en-zh-Hant.tsv` and `hf:opus_books:en-zh-Hant`."""
        last = self.name.removeprefix(HUB) if self.kind == "hub" else Path(self.name).name
        for part in re.split(r"[.:/]", last):
            if match := _LANGUAGES.fullmatch(part):
                return match[1], match[2]
        return None


def find_sources(paths: str | Path | Sequence[str | Path], kind: str | None, kinds: Sequence[str]) -> list[Source]:
    """The sources behind `paths`, in the order given; folders recursively and sorted, hidden files left out.

    `kind` names the format of files whose names do not; `kinds` are the formats that the caller can use. In folders
    and globs, files of other formats are passed over. A path that is not there, is empty (0 bytes), is of an unknown
    format, or has no usable file below it raises UserError.
    """
    if kind is not None and kind not in kinds:
        raise UserError(f"unknown kind of corpus file {kind!r}; known here: {', '.join(kinds)}")
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise UserError("no corpus was named: give at least one file, folder, glob or hf: name")
    return [source for path in paths for source in _expand(str(path), kind, kinds)]


def content_hashes(paths: Sequence[str]) -> dict[str, str]:
    """The text files behind names, folders and globs with what is in them; a hub's data sets by their name alone."""
    sources = find_sources(list(paths), None, TEXT_KINDS) if paths else []
    return {one.name: one.name if one.kind == "hub" else sha256_file(Path(one.name)) for one in sources}


def format_of(path: str) -> str | None:
    """The format that a file's name tells, compression aside: "tsv" for `a.tsv.gz`; None when it does not tell."""
    name = Path(path).name.lower()
    if name.endswith(COMPRESSIONS):
        name = name[: name.rindex(".")]
    return FORMATS.get(Path(_SHARD.sub("", name)).suffix)


def _expand(path: str, kind: str | None, kinds: Sequence[str]) -> Iterator[Source]:
    if path.startswith(HUB):
        yield Source(path, "hub")
    elif os.path.isdir(path):
        yield from _usable(list(_below(path)), path, kind, kinds)
    elif os.path.exists(path):
        yield _named(path, kind, kinds)
    elif glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise UserError(f"no file matches {path!r}")
        files = [file for place in found for file in (_below(place) if os.path.isdir(place) else [place])]
        yield from _usable(files, path, kind, kinds)
    else:
        raise UserError(f"no such file or folder: {path}")


def _named(path: str, kind: str | None, kinds: Sequence[str]) -> Source:
    found = kind or format_of(path)
    if found is None:
        raise UserError(f"the name of {path} does not tell its format: end it in one of {KNOWN}, or name its kind")
    if found not in kinds:
        raise UserError(f"{path} is plain text, which has one side; pairs need one of {', '.join(kinds)}")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise UserError(f"{path} is empty (0 bytes)")
    return Source(path, found)


def _usable(files: Sequence[str], where: str, kind: str | None, kinds: Sequence[str]) -> list[Source]:
    known = [(file, kind or format_of(file)) for file in files]
    sources = [Source(file, found, named=False) for file, found in known if found is not None and found in kinds]
    if not sources:
        raise UserError(f"{where} has no corpus file in it; a corpus file ends in one of {KNOWN}")
    return sources


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(place, name) for name in sorted(files) if not name.startswith("."))
