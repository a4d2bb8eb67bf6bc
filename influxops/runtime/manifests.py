"""Reads and writes the manifest of an export: whole, old or new, and durable."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from influxops.domain.export import MANIFEST, Manifest
from influxops.errors import ExportError

#: What to do about errors of the file system, by their numbers.
_HINTS = {
    errno.ENOSPC: "make room there, or choose another folder; it goes on where it was",
    errno.EDQUOT: "raise the quota, or choose another folder; it goes on where it was",
    errno.EACCES: "let the user that runs influxops write there, or choose another folder",
    errno.EPERM: "let the user that runs influxops write there, or choose another folder",
    errno.EROFS: "choose another folder: that file system is mounted read-only",
    errno.ENOTDIR: "choose another folder: a file is in its place",
    errno.EEXIST: "choose another folder: a file is in its place",
    errno.ENAMETOOLONG: "choose a folder with a shorter path",
    errno.EIO: "look at that disk (dmesg); choose another folder",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in an ExportError why a file cannot be written, or read again."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ExportError(
            f"{path} cannot be written: {reason}",
            hint=_HINTS.get(error.errno or 0, "choose another folder"),
        ) from None


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of an export; None where there is none."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from None
    return Manifest.decode(data, str(path))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of an export, once all files that it names are durable."""
    path, new = folder / MANIFEST, folder / f".{MANIFEST}.new"
    with writing(path):
        with new.open("wb") as file:
            file.write(manifest.encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(folder)
