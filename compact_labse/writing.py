"""Folders and files that appear whole or not at all, also when the disk fills up or the process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compact_labse.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NEW, _OLD = "new", "old"
_own: set[str] = set()  # what this process writes: some network disks give it a lock that it has already
_HIDDEN = re.compile(rf"\.[0-9a-f]{{8}}-(?P<kind>{_NEW}|{_OLD})\.(?P<name>.+)", re.DOTALL)


@contextmanager
def writing_folder(final: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `final` that becomes `final` when the block ends well, and vanishes otherwise.

    Everything in it is synced to disk before the rename. What a killed writer of `final` left is cleared away. Raises
    UserError when `final` is a file, or is a folder with something in it and `overwrite` is false, and when the disk
    is full.
    """
    final = Path(final)
    check_free(final, overwrite)
    with _temporary(final) as temporary:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _share(path)
            _sync(path)
        check_free(final, overwrite)
        _put_in_place(temporary, final)


@contextmanager
def writing_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path, with the same name in a folder beside `final`, that replaces it when the block ends well.

    Devices and pipes such as /dev/stdout are written directly. Raises UserError when `final` is a folder, when the
    block wrote nothing, and when the disk is full.
    """
    final = Path(final)
    if final.is_dir():
        raise UserError(f"{final} is a folder, a file name is needed")
    if final.exists() and not final.is_file():
        yield final
        return
    with _temporary(final) as folder:
        temporary = folder / final.name
        yield temporary
        if not temporary.is_file():
            raise RuntimeError(f"nothing was written to {temporary}")
        _share(temporary)
        _sync(temporary)
        os.replace(temporary, final)
        _sync(final.parent)


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Clear away what killed writers left in `folder`, of the final name `name` or of all.

    What they had moved aside is put back if nothing has its name. What a living process writes stays: it holds a lock,
    as every writer here does; on a disk without locks nothing is cleared.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for path in list(folder.iterdir()):
            found = _HIDDEN.fullmatch(path.name)
            if found is None or name not in (None, found["name"]) or path.name in _own:
                continue
            with _holding(path) as held:
                if held and found["kind"] == _OLD and not (folder / found["name"]).exists():
                    os.rename(path, folder / found["name"])
                elif held:
                    shutil.rmtree(path, ignore_errors=True)


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
    """UserError if a folder may not be written there; what a killed writer had moved aside is put back first."""
    clear_leftovers(final.parent, final.name)
    if final.exists() and not final.is_dir():
        raise UserError(f"{final} is a file, a folder name is needed")
    if not overwrite and final.is_dir() and any(final.iterdir()):
        raise UserError(f"{final} exists and is not empty; choose another folder or allow overwriting it (--overwrite)")


def check_new(final: Path, overwrite: bool) -> None:
    """UserError, before any work, if there is a file of that name; devices and pipes are written to."""
    if not overwrite and final.is_file():
        raise UserError(f"{final} exists; choose another name or allow overwriting it (--overwrite)")


@contextmanager
def _temporary(final: Path) -> Iterator[Path]:
    """A new folder beside `final`, locked until it is renamed, or deleted when the block ends."""
    folder, unlocked = _beside(final, _NEW), _beside(final, "start")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(final.parent, final.name)
        _own.add(folder.name)
        unlocked.mkdir()
        with _holding(unlocked):
            os.rename(unlocked, folder)  # no leftover has this name without a lock on it while its writer lives
            yield folder
    except BaseException as error:
        if is_disk_full(error, final.parent):
            raise _disk_full(final) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder.name)


@contextmanager
def _holding(folder: Path) -> Iterator[bool]:
    """Hold a lock on `folder` that ends with the process; False where another one does, or the disk has no locks."""
    handle, held = None, False
    try:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(handle), os.stat(folder))  # else its writer has renamed it meanwhile
        yield held
    finally:
        if handle is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough if a child process has the handle, too
            os.close(handle)


def _beside(final: Path, kind: str) -> Path:
    return final.parent / f".{secrets.token_hex(4)}-{kind}.{final.name}"


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename `temporary` to `final`; a folder in the way is moved aside first and comes back if the rename fails."""
    old, dropped = _beside(final, _OLD), _beside(final, _NEW)
    with _holding(final):
        if final.is_dir():
            os.rename(final, old)
        try:
            os.rename(temporary, final)
        except BaseException:
            if old.exists():
                os.rename(old, final)
            raise
        _sync(final.parent)
        if old.exists():
            os.rename(old, dropped)  # half deleted, it must not be put back
            shutil.rmtree(dropped, ignore_errors=True)


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
