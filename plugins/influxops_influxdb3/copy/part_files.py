"""The files of an export: line protocol, compressed, that is read again as it was written."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from influxops.plugin import ExportError, Part, in_background, writing
from influxops_influxdb3.copy.line_protocol import Digest, Parts, Table
from influxops_influxdb3.queries import Span

#: The module for zstd: that of Python from 3.14 on, or what the extra `zstd` installs.
zstd: Any = None
for _module in ("compression.zstd", "backports.zstd"):
    with contextlib.suppress(ImportError):
        zstd = importlib.import_module(_module)
        break
_BROKEN = (OSError, EOFError, ValueError, zlib.error, *([zstd.ZstdError] if zstd else []))
#: The level of zstd, and that of gzip: faster than rows come. Fewer searches of longer matches take
#: a third less time, and sorted rows get as small.
_ZSTD, _SEARCH_LOG, _MIN_MATCH, _HASH_LOG, _GZIP = 8, 2, 7, 17, 6
_BLOCK = 1024 * 1024
#: Bytes of rows that are sorted and compressed at once: rows of one series are alike.
_RUN = 8 * 1024 * 1024
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
    texts = [line[-20:] for line in lines]
    first, last, joined = min(texts), max(texts), b"".join(texts)
    # What sorts between two that begin with a space does so, too. A shorter time may have a space
    # of a field's text just there.
    is_usual = first[:1] == last[:1] == b" " and joined.count(b" ") == len(texts)
    if is_usual and joined.replace(b" ", b"").isdigit():
        return int(first), int(last)
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
    """Writes one file, which has its name once it is whole and durable.

    A thread compresses some rows while the next ones come.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._name = f"{stem}.lp.{'gz' if zstd is None else 'zst'}"
        self._path = folder / self._name
        self._new = folder / f".{self._name}.new"
        self._times = (2**63, -(2**63))
        self._line_breaks = self.rows = self.size = 0
        self._sum = blake2b(digest_size=16)
        self._lines: list[bytes] = []
        self._bytes = 0  # of these lines
        self._compressing: Future[None] | None = None
        with writing(self._path):
            self._file = self._new.open("wb")
        self._compressor: Any
        if zstd is None:
            self._compressor = gzip.GzipFile("", "wb", _GZIP, _Into(self), mtime=0)
        else:
            options = {
                zstd.CompressionParameter.compression_level: _ZSTD,
                zstd.CompressionParameter.search_log: _SEARCH_LOG,
                zstd.CompressionParameter.min_match: _MIN_MATCH,
                zstd.CompressionParameter.hash_log: _HASH_LOG,
                zstd.CompressionParameter.checksum_flag: 1,
            }
            self._compressor = zstd.ZstdCompressor(options=options)

    def add(self, lines: list[bytes]) -> None:
        """Write rows, sooner or later."""
        self._lines += lines
        self._bytes += sum(map(len, lines))
        if self._bytes >= _RUN:
            run, self._lines, self._bytes = self._lines, [], 0
            self._wait()
            self._compressing = in_background(partial(self._compress, run))

    def _wait(self) -> None:
        if self._compressing is not None:
            self._compressing.result()

    def _compress(self, lines: list[bytes]) -> None:
        if not lines:
            return
        lines.sort()
        first, last = times_of(lines)
        self._times = (min(self._times[0], first), max(self._times[1], last))
        self.rows += len(lines)
        lines.append(b"")  # a line break at the end
        text = b"\n".join(lines)
        self._line_breaks += text.count(b"\n") - len(lines) + 1
        lines.clear()
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
        self._wait()
        self._compress(self._lines)
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
        with contextlib.suppress(Exception):  # who waits for it gets the error
            self._wait()
        with contextlib.suppress(OSError):  # what was not written yet does not fit
            self._file.close()
        self._new.unlink(missing_ok=True)


class _Into:
    """What gzip writes into."""

    def __init__(self, writer: PartWriter) -> None:
        self.write = writer.put

    def flush(self) -> None:
        """Do nothing."""


class FileWriter:
    """Writes a slice into a file, which takes the place of what was there of it.

    A file is ended while the rows of the next slice are asked for; a look at the files
    waits for that.
    """

    def __init__(
        self,
        new_part: Callable[[str], PartWriter],
        replace: Callable[[Table, Span, Part | None], None],
    ) -> None:
        self._new_part, self._replace = new_part, replace
        self._slice: tuple[Table, Span] | None = None
        self._open: PartWriter | None = None
        self._ending: tuple[Table, Span, PartWriter, Future[Part]] | None = None
        self.rows = self.size = 0

    @property
    def added(self) -> int:
        """How many rows were written."""
        return self.rows

    def begin(self, table: Table, span: Span) -> None:
        """Begin a slice, and leave one that was not ended."""
        self._abort()
        self._slice = table, span

    def add(self, lines: Iterable[bytes]) -> None:
        """Write rows, sooner or later."""
        assert self._slice is not None
        if found := [*lines]:
            if self._open is None:
                self._open = self._new_part(self._slice[0].name)
            self._open.add(found)

    def end(self, digest: Digest) -> None:
        """End the slice: its file will be durable, and is named by the next manifest."""
        assert self._slice is not None
        self.settle()
        part, self._open = self._open, None
        if part is None:
            self._replace(*self._slice, None)
        else:
            self._ending = *self._slice, part, in_background(partial(part.close, digest))

    def settle(self) -> None:
        """Wait until the file of the last slice is durable."""
        if self._ending is None:
            return
        table, span, writer, closing = self._ending
        try:
            part = closing.result()
        except Exception:
            self._ending = None
            writer.abort()
            raise
        self._ending = None
        self.rows += part.rows
        self.size += part.size
        self._replace(table, span, part)

    def barrier(self) -> bool:
        """Wait until all is durable: each file is, and `FileEndpoint.save` names it."""
        self.settle()
        return True

    def reset(self) -> None:
        """Leave a slice that was not ended."""
        with contextlib.suppress(ExportError):
            self.settle()
        self._abort()

    def _abort(self) -> None:
        if self._open is not None:
            self._open.abort()
            self._open = None

    def leave(self) -> bool:
        """Return that nothing is on its way."""
        return False


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
