"""A tenant's data as files: what the manifest beside them says.

    DIR/TENANT/manifest.json
    DIR/TENANT/TABLE-1.lp.zst, TABLE-2.lp.zst, …

Names are written into file names so that none leads out of the directory, and no two are one.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b
from typing import Final, Self
from urllib.parse import quote as percent_encoded

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from influxops.errors import ExportError

#: The name of the manifest, and the version of what is in it.
MANIFEST: Final = "manifest.json"
_VERSION = 1
#: How many characters of a name its file name keeps; that of a longer one ends in a hash.
_LONGEST = 100
_PLAIN = re.compile(r"[A-Za-z0-9%_~-][A-Za-z0-9%_.~-]*\Z")


def file_name(name: str) -> str:
    """Return a tenant's id or a table's name as part of a file name."""
    text = percent_encoded(name, safe="")
    if text.startswith("."):
        text = f"%2E{text[1:]}"
    if len(text) > _LONGEST or not text:
        text = f"{text[:_LONGEST]}~{blake2b(name.encode(), digest_size=8).hexdigest()}"
    return text


class Part(Struct, frozen=True):
    """One file with rows of one table; no other file has rows of these times."""

    file: str  # its name, without a folder
    rows: int
    first: int  # the time of its first row, in nanoseconds since 1970
    last: int  # the time of its last row
    digest: str  # of the rows, in hexadecimal, whatever their order; the target's own
    size: int  # its bytes
    checksum: str  # BLAKE2b of these bytes, 16 of its own, in hexadecimal
    line_breaks: int = 0  # that are in rows, and end none


class TableFiles(Struct, frozen=True):
    """What there is of one table."""

    name: str
    tags: tuple[str, ...] = ()  # in the order that the server had them in
    fields: dict[str, str] = field(default_factory=dict)  # the types, by name; the target's own
    parts: tuple[Part, ...] = ()  # by time
    order_is_known: bool = True  # whether that of the tags is

    @property
    def rows(self) -> int:
        """How many rows the files have."""
        return sum(part.rows for part in self.parts)


class Manifest(Struct, frozen=True):
    """What the files of one tenant hold."""

    tenant: str  # its id
    database: str  # the name of its database
    kind: str  # of the target that it was on, which alone reads the files again
    id: str  # of this export
    server: str | None = None  # the identity of the target's server
    retention: int | None = None  # the database's retention period, in seconds; None: for ever
    started: datetime | None = None
    ended: datetime | None = None  # when it was whole, all written and compared; None: never
    tables: tuple[TableFiles, ...] = ()  # by name
    late: int = 0  # how many of the rows were written since it began
    unread: dict[str, str] = field(default_factory=dict)  # why tables are not in it, by name
    progress: str = ""  # from where to go on; the target's own text
    version: int = _VERSION
    digest: str = ""  # of all else in the manifest

    @property
    def rows(self) -> int:
        """How many rows the files have."""
        return sum(table.rows for table in self.tables)

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(part.size for table in self.tables for part in table.parts)

    def encode(self) -> bytes:
        """Return it as text, with its digest."""
        signed = replace(self, digest=self._digest())
        return msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n"

    def _digest(self) -> str:
        text = msgspec.json.encode(replace(self, digest=""), order="sorted")
        return blake2b(text, digest_size=16).hexdigest()

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """Read it; raise an ExportError where it is not as it was written."""
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version != _VERSION:
                raise ExportError(
                    f"{where} has version {version}, and this release reads {_VERSION}",
                    hint="import it with the release that wrote it",
                )
            found = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ExportError(
                f"{where} cannot be read: {error}", hint="take it from another copy of the export"
            ) from None
        if found.digest != found._digest():
            raise ExportError(
                f"{where} was changed since it was written",
                hint="take it from another copy of the export",
            )
        names = [part.file for table in found.tables for part in table.parts]
        bad = next((name for name in names if not _PLAIN.match(name)), None)
        if bad is not None or len({*names}) < len(names):
            raise ExportError(f"{where} names a file twice, or one that is in no export: {bad!r}")
        return found


class _Version(Struct):
    version: int
