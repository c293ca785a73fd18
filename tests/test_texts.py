import gzip
import io
import lzma
import sys

import pytest

from compact_labse.errors import UserError
from compact_labse.texts import CHUNK_LINES, chunks, read_lines


def test_every_line_counts_and_only_line_feeds_end_one(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  two \nth\xe2\x80\xa8ree\x0c\n\nlast")
    assert list(read_lines(str(path))) == ["one", "", "  two ", "th\u2028ree\x0c", "", "last"]
    path.write_bytes(b"")
    assert list(read_lines(str(path))) == []


@pytest.mark.parametrize(("name", "compress"), [("t.txt.gz", gzip.compress), ("t.xz", lzma.compress)])
def test_compressed_files_are_read_by_their_names(tmp_path, name, compress):
    (tmp_path / name).write_bytes(compress("één\ntwee\n".encode()))
    assert list(read_lines(str(tmp_path / name))) == ["één", "twee"]


def test_bytes_that_are_not_utf_8_are_replaced_and_counted(tmp_path, capsys):
    path = tmp_path / "t.txt"
    path.write_bytes(b"good\n" + "schön\n".encode("latin-1") * 2)
    assert list(read_lines(str(path))) == ["good", "sch\ufffdn", "sch\ufffdn"]
    assert "2 lines are not UTF-8 (the first is line 2)" in capsys.readouterr().err


def test_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a\nб\n".encode())))
    assert list(read_lines("-")) == ["a", "б"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.txt: No such file or directory"):
        list(read_lines(str(tmp_path / "none.txt")))
    (tmp_path / "t.gz").write_bytes(gzip.compress(b"text\n" * 999)[:20])
    with pytest.raises(UserError, match=r"t\.gz is damaged or not what its name says"):
        list(read_lines(str(tmp_path / "t.gz")))


def test_chunks_are_bounded_in_lines_and_in_characters():
    lines = [f"{n}" for n in range(CHUNK_LINES + 5)]
    found = list(chunks(lines))
    assert [len(chunk) for chunk in found] == [CHUNK_LINES, 5]
    assert sum(found, []) == lines  # noqa: RUF017
    long = ["x" * 3_000_000, "y" * 3_000_000, "z" * 9_000_000, "a", "b"]
    assert [[line[0] for line in chunk] for chunk in chunks(long)] == [["x"], ["y"], ["z"], ["a", "b"]]
    assert list(chunks([])) == []
