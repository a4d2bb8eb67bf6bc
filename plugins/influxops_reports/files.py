"""Files that are read while they are written: always whole, old or new."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from influxops import Check, ReporterError

#: Seconds to wait for another run that is writing; each holds the lock for milliseconds.
_PATIENCE = 5.0


def write_whole(path: Path, data: bytes, *, mode: int, what: str) -> None:
    """Replace a file at once, so that a reader sees the old one or the new one.

    What is no regular file (`/dev/stderr`, a pipe) is written to, never replaced.

    Args:
        path: The file; where it is a link, what it points at.
        data: Its new content.
        mode: Its permissions.
        what: What is written, for the error: `the JSON report`.

    Raises:
        ReporterError: When it cannot be written.
    """
    try:
        path = path.expanduser().resolve()
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(data)
            return
        _replace(path, data, mode)
    except OSError as error:
        raise unwritable(path, error, what) from None


def _replace(path: Path, data: bytes, mode: int) -> None:
    # A hidden name of another suffix: node_exporter reads every *.prom in the folder.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def unwritable(path: Path, error: OSError, what: str) -> ReporterError:
    """Say why a file cannot be written, and what to do about it.

    Args:
        path: The file.
        error: What the operating system said.
        what: What was to be written.
    """
    reason = error.strerror or str(error) or type(error).__name__
    if not path.parent.is_dir():
        return ReporterError(
            f"{what} cannot be written to {path}: there is no folder {path.parent}",
            hint=f"mkdir -p {path.parent}, or set another `path`",
        )
    return ReporterError(
        f"{what} cannot be written to {path}: {reason}",
        hint="let this user write there, or set another `path`",
    )


def check_writable(path: Path, what: str, *, replaced: bool) -> Check:
    """Tell whether a file could be written, without writing it.

    Args:
        path: The file.
        what: What is to be written: `the journal`.
        replaced: Whether the file is replaced, which takes a right to its folder.
    """
    path = path.expanduser()
    if os.access(path if path.exists() and not replaced else path.parent, os.W_OK):
        return Check(what, ok=True, message=f"{path} can be written")
    refused = unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), what)
    return Check(what, ok=False, message=refused.message, hint=refused.hint)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Keep other runs from reading a file that this one is about to replace.

    It is the folder that is locked, for as long as the block takes: the file is another one
    after each run, and a file of its own for the lock would be left behind.

    Args:
        path: The file.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # who writes the file says what is wrong
            folder = path.expanduser().resolve().parent
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            lock(handle)
        yield


def lock(handle: int) -> bool:
    """Lock a file or a folder until it is closed.

    Args:
        handle: Its descriptor.

    Returns:
        False where no lock is to be had: a record is worth more than order.
    """
    ends = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= ends:
                return False
            time.sleep(0.02)
        except OSError:  # a file system without locks
            return False
