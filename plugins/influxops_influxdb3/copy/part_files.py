"""The files of an export: line protocol, compressed, that is read again as it was written."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import re
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from influxops.plugin import ExportError, Part, writing
from influxops_influxdb3.copy.line_protocol import Digest, Parts

#: The module for zstd: that of Python from 3.14 on, or what the extra `zstd` installs.
zstd: Any = None
for _module in ("compression.zstd", "backports.zstd"):
    with contextlib.suppress(ImportError):
        zstd = importlib.import_module(_module)
        break
_BROKEN = (OSError, EOFError, ValueError, zlib.error, *([zstd.ZstdError] if zstd else []))
#: The level of zstd, and that of gzip: about as fast as rows come.
_ZSTD, _GZIP = 9, 6
_BLOCK = 1024 * 1024
#: Bytes of line protocol that are compressed at once.
_JOB = 2 * 1024 * 1024
_NAME = rb"(?:[^\\,= ]|\\.)+"
_VALUE = rb'(?:"(?:[^"\\]|\\.)*"|[^", ]+)'
_KEY = rb"((?:[^\\ ]|\\.)+)"
_FIELDS = b"(" + _NAME + b"=" + _VALUE + b"(?:," + _NAME + b"=" + _VALUE + b")*)"
#: A row as `LineEncoder` writes it: a line break ends it only after its time.
_ROW = re.compile(_KEY + b" " + _FIELDS + rb" (-?\d+)", re.DOTALL)
_FIELD = re.compile(b"(" + _NAME + b"=)" + _VALUE, re.DOTALL)


def time_of(line: bytes) -> int:
    """Return the time of a row."""
    return int(line[line.rindex(b" ") :])


def times_of(lines: list[bytes]) -> tuple[int, int]:
    """Return the first and the last time of some rows."""
    # The times from 2001 to 2286 have as many digits, so that they need not be read one by one.
    texts = [line[-19:] for line in lines]
    # A shorter one may have a space of a field's text just there.
    if {line[-20:-19] for line in lines} == {b" "} and all(map(bytes.isdigit, texts)):
        return int(min(texts)), int(max(texts))
    times = [*map(time_of, lines)]
    return min(times), max(times)


def parts_of(line: bytes) -> Parts:
    """Return the parts of a row, as `LineEncoder.parts` does."""
    match = _ROW.fullmatch(line)
    try:
        if match is not None:
            key, fields, time = match.groups()
            found = {m[1].decode(): m[0].decode() for m in _FIELD.finditer(fields)}
            return key.decode(), found, int(time)
    except ValueError:  # no UTF-8, or a number longer than Python reads
        pass
    raise ExportError(f"a row of an export is no line protocol: {line[:80]!r}")


class PartWriter:
    """Writes one file, which has its name once it is whole and durable."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._name = f"{stem}.lp.{'gz' if zstd is None else 'zst'}"
        self._path = folder / self._name
        self._new = folder / f".{self._name}.new"
        self._times = (2**63, -(2**63))
        self._line_breaks = self.rows = self.size = 0
        self._sum = blake2b(digest_size=16)
        with writing(self._path):
            self._file = self._new.open("wb")
        self._compressor: Any
        if zstd is None:
            self._compressor = gzip.GzipFile("", "wb", _GZIP, _Into(self), mtime=0)
        else:
            options = {
                zstd.CompressionParameter.compression_level: _ZSTD,
                zstd.CompressionParameter.checksum_flag: 1,
            }
            if zstd.CompressionParameter.nb_workers.bounds()[1]:
                # Another thread compresses while the next rows come.
                options[zstd.CompressionParameter.nb_workers] = 1
                options[zstd.CompressionParameter.job_size] = _JOB
            self._compressor = zstd.ZstdCompressor(options=options)

    def add(self, lines: list[bytes]) -> None:
        """Write rows."""
        if not lines:
            return
        text = b"\n".join(lines) + b"\n"
        first, last = times_of(lines)
        self._times = (min(self._times[0], first), max(self._times[1], last))
        self._line_breaks += text.count(b"\n") - len(lines)
        self.rows += len(lines)
        with writing(self._path):
            if zstd is None:
                self._compressor.write(text)
            else:
                self.put(self._compressor.compress(text))

    def put(self, data: bytes) -> int:
        """Write what is compressed."""
        self._sum.update(data)
        self.size += len(data)
        return self._file.write(data)

    def close(self, digest: Digest) -> Part:
        """Make the file durable, and return what the manifest says of it."""
        with writing(self._path):
            if zstd is None:
                self._compressor.close()
            else:
                self.put(self._compressor.flush())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._new.replace(self._path)
        first, last = self._times
        digest_text, checksum = digest.text, self._sum.hexdigest()
        breaks = self._line_breaks
        return Part(self._name, self.rows, first, last, digest_text, self.size, checksum, breaks)

    def abort(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # what was not written yet does not fit
            self._file.close()
        self._new.unlink(missing_ok=True)


class _Into:
    """What gzip writes into."""

    def __init__(self, writer: PartWriter) -> None:
        self.write = writer.put

    def flush(self) -> None:
        """Do nothing."""


def check_part(folder: Path, part: Part) -> None:
    """Raise an ExportError unless a file is as it was written."""
    path, found = folder / part.file, blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
            size = file.tell()
    except OSError as error:
        raise ExportError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="take it from another copy of the export",
        ) from None
    if (size, found.hexdigest()) != (part.size, part.checksum):
        what = f"has {size:,} of {part.size:,} bytes" if size != part.size else "was changed"
        raise ExportError(f"{path} {what}", hint="take it from another copy of the export")


def lines_of(folder: Path, part: Part) -> Iterator[list[bytes]]:
    """Yield the rows of a file, some at a time."""
    path, rest, seen = folder / part.file, b"", 0
    try:
        with _opened(path) as file:
            while block := file.read(_BLOCK):
                lines, rest = _split(rest + block, part.line_breaks)
                seen += len(lines)
                yield lines
    except _BROKEN as error:
        raise ExportError(f"{path} cannot be read: {error}") from None
    if rest or seen != part.rows:
        raise ExportError(f"{path} has {seen:,} rows, not {part.rows:,}")


def _opened(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if zstd is None:
        raise ExportError(
            f"{path} is compressed with zstd, which is not installed",
            hint="pip install 'influxops[zstd]'",
        )
    return zstd.open(path, "rb")


def _split(text: bytes, line_breaks: int) -> tuple[list[bytes], bytes]:
    """Return whole rows, and the beginning of another one."""
    if not line_breaks:
        *lines, rest = text.split(b"\n")
        return lines, rest
    lines, at = [], 0
    while match := _ROW.match(text, at):
        if text[match.end() : match.end() + 1] != b"\n":
            break
        lines.append(match[0])
        at = match.end() + 1
    return lines, text[at:]
