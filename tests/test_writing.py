"""Folders and files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.writing import clear_leftovers, is_disk_full, writing_file, writing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_the_block_ends(tmp_path: Path):
    final = tmp_path / "new/model"
    with writing_folder(final) as temporary:
        (temporary / "onnx").mkdir()
        (temporary / "onnx/model.onnx").write_bytes(b"weights")
        assert not final.exists()
    assert (final / "onnx/model.onnx").read_bytes() == b"weights"
    assert names(final.parent) == ["model"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failure_leaves_nothing(tmp_path: Path, failure: BaseException):
    with pytest.raises(type(failure)), writing_folder(tmp_path / "model") as temporary:
        (temporary / "half").touch()
        raise failure
    with pytest.raises(type(failure)), writing_file(tmp_path / "vectors.npy") as path:
        path.touch()
        raise failure
    assert names(tmp_path) == []


def test_a_folder_with_something_in_it_is_not_overwritten_unasked(tmp_path: Path):
    final = tmp_path / "model"
    final.mkdir()
    with writing_folder(final) as temporary:
        (temporary / "old").touch()
    with pytest.raises(UserError, match="model exists and is not empty"), writing_folder(final):
        pytest.fail("the work must not begin")
    with writing_folder(final, overwrite=True) as temporary:
        (temporary / "new").touch()
    assert names(final) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_failed_overwrite_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    rename = os.rename
    with pytest.raises(RuntimeError), writing_folder(final, overwrite=True):
        raise RuntimeError("gate failed")
    monkeypatch.setattr(os, "rename", lambda a, b: rename(a, b) if b != final or "old" in names(a) else _deny(b))
    with pytest.raises(PermissionError), writing_folder(final, overwrite=True) as temporary:
        (temporary / "new").touch()
    assert names(final) == ["old"]
    assert names(tmp_path) == ["model"]


def _deny(path: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_folder_that_fills_up_meanwhile_is_kept(tmp_path: Path):
    final = tmp_path / "model"
    with pytest.raises(UserError, match="exists and is not empty"), writing_folder(final):
        final.mkdir()
        (final / "theirs").touch()
    assert names(final) == ["theirs"]
    assert names(tmp_path) == ["model"]


def test_a_file_in_the_place_of_a_folder_and_the_reverse(tmp_path: Path):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="taken is a file, a folder name is needed"), writing_folder(tmp_path / "taken"):
        pass
    with pytest.raises(UserError, match="is a folder, a file name is needed"), writing_file(tmp_path):
        pass


def test_a_file_keeps_its_suffix_while_it_is_written(tmp_path: Path):
    with writing_file(tmp_path / "corpus.tsv.gz") as path:
        assert path.name.endswith("corpus.tsv.gz")
        path.write_bytes(b"new")
    assert (tmp_path / "corpus.tsv.gz").read_bytes() == b"new"
    with pytest.raises(RuntimeError, match="nothing was written"), writing_file(tmp_path / "none"):
        pass
    assert names(tmp_path) == ["corpus.tsv.gz"]


def test_new_files_and_folders_have_ordinary_permissions(tmp_path: Path):
    """A folder made by tempfile.mkdtemp would stay readable by its owner alone."""
    (tmp_path / "plain").mkdir()
    with writing_folder(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_device_is_written_directly():
    with writing_file(Path(os.devnull)) as path:
        path.write_bytes(b"gone")
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path):
    final = tmp_path / "model"
    with (
        pytest.raises(UserError, match="the disk is full: .*model was not written"),
        writing_folder(final) as temporary,
    ):
        (temporary / "full").symlink_to("/dev/full")
        (temporary / "full").write_bytes(b"x")
    assert names(tmp_path) == []


def test_a_full_disk_is_seen_through_a_librarys_own_words(tmp_path: Path):
    assert is_disk_full(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path)
    assert is_disk_full(Exception("I/O error: No space left on device (os error 28)"), tmp_path)
    wrapped = RuntimeError("PytorchStreamWriter failed writing file data/0")
    assert not is_disk_full(wrapped, tmp_path)
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_disk_full(wrapped, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where mounting one is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_torch_on_a_full_disk(small_disk: Path):
    """torch.save reports a RuntimeError that does not say that the disk is full."""
    torch = pytest.importorskip("torch")
    with pytest.raises(UserError, match="the disk is full"), writing_folder(small_disk / "model") as temporary:
        torch.save(torch.zeros(1_000_000), temporary / "weights.pt")
    assert names(small_disk) == []


HALF = """
import sys, time; from pathlib import Path; from compact_labse.writing import writing_file, writing_folder
final = Path(sys.argv[1])
with (writing_file(final) if final.suffix else writing_folder(final, overwrite=True)) as t:
    (t if final.suffix else t / "half").write_text("half"); print("ready", flush=True); time.sleep(60)
"""
SWAPPED = """
import os, signal, sys; from pathlib import Path; from compact_labse.writing import writing_folder
rename, stop = os.rename, sys.argv[2]
def rename_and_die(old, new):
    rename(old, new)
    if str(old) == sys.argv[1] if stop == "aside" else str(new) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename_and_die
with writing_folder(Path(sys.argv[1]), overwrite=True) as t:
    (t / "new").touch()
"""


def start_half(final: Path) -> subprocess.Popen:
    """A process that has written one half of `final` and waits."""
    process = subprocess.Popen([sys.executable, "-c", HALF, str(final)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("name", ["model", "vectors.npy"])
def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path: Path, name: str):
    final = tmp_path / name
    writing = (lambda: writing_file(final)) if final.suffix else (lambda: writing_folder(final, overwrite=True))
    with start_half(final) as process:
        (left,) = names(tmp_path)
        with writing_folder(tmp_path / "other"):
            pass
        for _ in range(2):  # the writer lives, and may end yet
            with writing() as path:
                (path if final.suffix else path / "whole").write_text("whole")
            assert names(tmp_path) == sorted([left, name, "other"])
        process.send_signal(signal.SIGKILL)
    with writing_folder(tmp_path / "other", overwrite=True):
        pass
    assert names(tmp_path) == sorted([left, name, "other"]), "it has another name"
    with writing() as path:
        (path if final.suffix else path / "whole").write_text("whole")
    assert names(tmp_path) == sorted([name, "other"])
    assert (final if final.suffix else final / "whole").read_text() == "whole"


def test_a_disk_that_gives_a_lock_twice_does_not_cost_a_process_its_own_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda handle, kind: None)
    with writing_folder(tmp_path / "model") as temporary:
        (temporary / "whole").touch()
        clear_leftovers(tmp_path)
    assert names(tmp_path / "model") == ["whole"]


def test_a_folder_that_was_moved_aside_by_a_killed_writer_comes_back(tmp_path: Path):
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    done = subprocess.run([sys.executable, "-c", SWAPPED, str(final), "aside"])
    assert done.returncode == -signal.SIGKILL
    assert not final.exists() and len(names(tmp_path)) == 2
    with pytest.raises(UserError, match="model exists and is not empty"), writing_folder(final):
        pytest.fail("the work must not begin")
    assert names(final) == ["old"]
    assert names(tmp_path) == ["model"]


def test_a_new_folder_stays_when_its_writer_dies_before_the_old_one_is_deleted(tmp_path: Path):
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    assert subprocess.run([sys.executable, "-c", SWAPPED, str(final), "placed"]).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["model"]
    assert names(final) == ["new"]


def test_other_hidden_names_are_not_touched(tmp_path: Path):
    strangers = [".model", ".0123abcd.model", ".0123abcd-new", ".0123abcdef-new.model", "0123abcd-new.model"]
    for name in strangers:
        (tmp_path / name).mkdir()
    (tmp_path / ".0123abcd-new.model").touch()  # a file, which no writer makes
    clear_leftovers(tmp_path)
    clear_leftovers(tmp_path / "none")
    assert names(tmp_path) == sorted([*strangers, ".0123abcd-new.model"])


def test_files_that_a_library_made_private_become_readable_like_any_other(tmp_path):
    with writing_folder(tmp_path / "model") as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "model.safetensors").chmod(0o600)
        (folder / "plain").write_bytes(b"")
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert modes["model.safetensors"] == modes["plain"]
    assert modes["plain"] & 0o077
