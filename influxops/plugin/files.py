"""Files that are read while they are written: always whole, old or new."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from influxops.plugin.base import Check, Hint, Interrupted, RunContext
from influxops.plugin.reporter import ReporterError

__all__ = ["check_writable", "is_special", "lock", "lock_folder", "replace_file", "unwritable"]

#: Seconds to wait for another run that is writing; each holds the lock for milliseconds.
_PATIENCE = 5.0


def is_special(path: Path) -> bool:
    """Return whether a path is a device or a named pipe, which may block for ever when opened."""
    return path.exists() and not path.is_file()


def replace_file(
    path: Path, data: bytes | Iterable[bytes], context: RunContext, *, what: str, mode: int = 0o640
) -> None:
    """Replace a file at once, so that a reader sees the old one or the new one.

    Its owner may write it and its group read it, unless `mode` says otherwise. A device or a pipe
    (`/dev/stderr`) is written to, never replaced; the target of a link is replaced, not the link.
    `what` names the file in an error: `the JSON report`.
    """
    parts = (data,) if isinstance(data, bytes) else data

    def write(into: Path) -> None:
        with into.open("wb") as file:
            file.writelines(parts)

    try:
        path = path.expanduser().resolve()
        if is_special(path):
            context.run_abandonable(partial(write, path))
            return
        _replace(path, parts, mode)
    except OSError as error:
        raise unwritable(path, error, what) from None


def _replace(path: Path, parts: Iterable[bytes], mode: int) -> None:
    # A hidden name of another suffix: node_exporter reads every *.prom in the folder.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fchmod(file.fileno(), mode)  # whatever the umask
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def unwritable(path: Path, error: OSError, what: str) -> ReporterError:
    """Return the error that says why a file cannot be written, and what to do about it."""
    reason = error.strerror or str(error) or type(error).__name__
    if not path.parent.is_dir():
        return ReporterError(
            f"{what} cannot be written to {path}: there is no folder {path.parent}",
            hint=Hint.setting("path", f"mkdir -p {path.parent}, or change {{}}"),
        )
    return ReporterError(
        f"{what} cannot be written to {path}: {reason}",
        hint=Hint.setting("path", "let this user write there, or change {}"),
    )


def check_writable(path: Path, what: str, *, replaced: bool) -> Check:
    """Return whether a file could be written, or `replaced`, without writing it."""
    path = path.expanduser()
    written = path if path.exists() and (not replaced or is_special(path)) else path.parent
    if os.access(written, os.W_OK):
        return Check(what, ok=True, message=f"{path} can be written")
    refused = unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), what)
    return Check(what, ok=False, message=refused.message, hint=refused.remedy)


@contextlib.contextmanager
def lock_folder(path: Path, context: RunContext) -> Iterator[None]:
    """Keep other runs from reading a file that this one is about to replace.

    The folder is locked: the file is another one after each run, and a lock file would be left
    behind.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # writing the file reports what is wrong
            folder = path.expanduser().resolve().parent
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            lock(handle, context)
        yield


def lock(handle: int, context: RunContext) -> bool:
    """Lock a file or folder until closed, or return False: an entry is worth more than order."""
    waiting = context.with_timeout(_PATIENCE)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            try:
                waiting.sleep(0.02)
            except Interrupted:
                return False
        except OSError:  # a file system without locks
            return False
