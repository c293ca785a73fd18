"""Compressed streams, whole and damaged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compact_labse.corpus.streams import compressing, opened
from compact_labse.errors import UserError

LINES = b"".join(b"line %d \xc3\xa4\n" % number for number in range(50_000))
SUFFIXES = ("", ".gz", ".zst", ".xz", ".bz2")


def written(path: Path, data: bytes = LINES) -> Path:
    with open(path, "ab") as raw, compressing(path.name, raw) as packed:
        packed.write(data)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a.txt{suffix}")
    assert (path.stat().st_size < len(LINES) / 3) == bool(suffix)
    with opened(str(path)) as stream:
        assert list(stream) == LINES.splitlines(keepends=True)
    with opened(str(path)) as stream:
        assert stream.read(12) == LINES[:12]
        assert stream.read() == LINES[12:]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_one_after_the_other_are_one_stream(tmp_path: Path, suffix: str) -> None:
    """`cat a.gz b.gz > c.gz` is how shards are often joined."""
    path = written(tmp_path / f"a{suffix}", b"one\n")
    written(path, b"two\n")
    with opened(str(path)) as stream:
        assert stream.read() == b"one\ntwo\n"


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_truncated_archive_is_an_error_and_not_a_short_corpus(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a.tsv{suffix}")
    path.write_bytes(path.read_bytes()[:-20])
    with (
        pytest.raises(UserError, match=rf"a\.tsv\{suffix} is damaged or not what its name says"),
        opened(str(path)) as it,
    ):
        assert it.read() != LINES


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_plain_file_with_an_archive_name_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.tsv{suffix}"
    path.write_bytes(b"a\tb\n" * 100)
    with pytest.raises(UserError, match=r"a\.tsv.* is damaged or not what its name says"), opened(str(path)) as it:
        it.read()


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*a\.tsv: No such file"), opened(str(tmp_path / "a.tsv")):
        pass


def test_zstandard_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.tsv.zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UserError, match=r"compact-labse\[train\]"), opened(str(path)) as stream:
        stream.read()


def test_the_same_text_gives_the_same_gzip_file(tmp_path: Path) -> None:
    assert written(tmp_path / "a.gz").read_bytes() == written(tmp_path / "b.gz").read_bytes()
