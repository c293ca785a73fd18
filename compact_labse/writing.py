"""Folders and files that appear whole or not at all, also when the disk fills up or the process dies."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compact_labse.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing_folder(final: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `final` that becomes `final` when the block ends well, and vanishes otherwise.

    Everything in it is synced to disk before the rename. Raises UserError when `final` is a file, or is a folder with
    something in it and `overwrite` is false, and when the disk is full.
    """
    final = Path(final)
    check_free(final, overwrite)
    temporary = _beside(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _share(path)
            _sync(path)
        check_free(final, overwrite)
        _put_in_place(temporary, final)
    except BaseException as error:
        full = is_disk_full(error, final.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        if full:
            raise _disk_full(final) from error
        raise


@contextmanager
def writing_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`, with the same suffix, that replaces `final` when the block ends well.

    Devices and pipes such as /dev/stdout are written directly. Raises UserError when `final` is a folder, when the
    block wrote nothing, and when the disk is full.
    """
    final = Path(final)
    if final.is_dir():
        raise UserError(f"{final} is a folder, a file name is needed")
    if final.exists() and not final.is_file():
        yield final
        return
    temporary = _beside(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.is_file():
            raise RuntimeError(f"nothing was written to {temporary}")
        _share(temporary)
        _sync(temporary)
        os.replace(temporary, final)
        _sync(final.parent)
    except BaseException as error:
        full = is_disk_full(error, final.parent)
        temporary.unlink(missing_ok=True)
        if full:
            raise _disk_full(final) from error
        raise


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether `error` came from a full disk, also when a library reports it in words of its own."""
    if isinstance(error, UserError | KeyboardInterrupt | GeneratorExit):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if (isinstance(cause, OSError) and cause.errno in _FULL) or "No space left on device" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    # torch.save raises a RuntimeError that does not say why the write failed.
    return isinstance(error, RuntimeError) and folder.is_dir() and shutil.disk_usage(folder).free < 65536


def _share(path: Path) -> None:
    """Give a file that only its owner may read the permissions of any other new file.

    safetensors and onnx write through private temporary files; a model folder made so is unreadable to a server's user.
    """
    if path.is_file() and path.stat().st_mode & 0o077 == 0:
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def check_free(final: Path, overwrite: bool) -> None:
    if final.exists() and not final.is_dir():
        raise UserError(f"{final} is a file, a folder name is needed")
    if not overwrite and final.is_dir() and any(final.iterdir()):
        raise UserError(f"{final} exists and is not empty; choose another folder or allow overwriting it (--overwrite)")


def check_new(final: Path, overwrite: bool) -> None:
    """UserError, before any work, if there is a file of that name; devices and pipes are written to."""
    if not overwrite and final.is_file():
        raise UserError(f"{final} exists; choose another name or allow overwriting it (--overwrite)")


def _beside(final: Path) -> Path:
    return final.parent / f".{secrets.token_hex(4)}.{final.name}"


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename `temporary` to `final`; a folder in the way is moved aside first and comes back if the rename fails."""
    old = _beside(final)
    if final.is_dir():
        os.rename(final, old)
    try:
        os.rename(temporary, final)
    except BaseException:
        if old.exists():
            os.rename(old, final)
        raise
    _sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_full(final: Path) -> UserError:
    return UserError(f"the disk is full: {final} was not written and nothing was left behind; free some space there")


def link(path: str, target: str) -> str:
    """A hard link where the disk has them, else a copy: a model may be gigabytes, and is never written to in place."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)
    return target
