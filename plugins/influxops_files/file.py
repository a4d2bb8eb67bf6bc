"""The plugin `file`: tenants from a CSV, JSON or YAML file, or from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Literal

from influxops.plugin import (
    Check,
    Finding,
    HealthChecks,
    Hint,
    Location,
    RunContext,
    SettingError,
    Severity,
    Source,
    SourceError,
    SourceSettings,
    Tenant,
    TenantLookup,
    hookimpl,
    pluralize,
    setting,
)
from influxops_files import formats
from influxops_files.entries import tenants, with_ids

Format = Literal["csv", "json", "yaml"]

_STDIN = "-"
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_READERS = {"csv": formats.read_csv, "json": formats.read_json, "yaml": formats.read_yaml}
#: Bytes that are read at once, and in all: a million tenants have about a tenth of that.
_CHUNK, _LARGEST = 1 << 20, 1 << 28


class FileSettings(SourceSettings):
    """A file with tenants.

    CSV names its columns in the first line; JSON and YAML hold a list of ids or of objects, also
    under the key `tenants`. The id is `tenant_id` or `id`; `database`, `retention` and `target` are
    the tenant's attributes, and what is empty means the default.
    """

    path: str = setting(
        description="The file, from the folder that influxops is started in; `-` is standard "
        "input, and then `format` is needed.",
        min_length=1,
    )
    format: Format | None = setting(
        None,
        description="`csv`, `json` or `yaml`; left out: what the file's name ends with.",
    )

    def check(self) -> None:
        """Raise SettingError for a path whose format is unknown."""
        if self.format is None and _guess(self.path) is None:
            raise SettingError("the path does not tell it: write csv, json or yaml", "format")

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return "standard input" if self.path == _STDIN else self.path

    @property
    def read_as(self) -> Format:
        """The format that is set, else the one of the path's suffix."""
        known = self.format or _guess(self.path)
        assert known is not None, "`check` refuses a path without a format"
        return known

    def location(self) -> Location:
        """Return which file it is."""
        return Location(text=self.name)


def _guess(path: str) -> Format | None:
    return _SUFFIXES.get(PurePath(path).suffix.lower())


class FileSource(Source, TenantLookup, HealthChecks):
    """Reads tenants from a file."""

    Settings = FileSettings
    settings: FileSettings
    _input: bytes | None = None  # what standard input held: it can be read only once

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant | Finding]:
        """Read the whole file, then return its tenants; an error has a mistake's position."""
        settings = self.settings
        data = self._read_input(context) if settings.path == _STDIN else self._read_file(context)
        text = formats.decode(data, settings.name)
        noun = "column" if settings.read_as == "csv" else "key"
        return list(tenants(_READERS[settings.read_as](text, settings.name), settings.name, noun))

    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        """Return the tenants with these ids; the file is read as a whole."""
        return with_ids(self.influxops_tenants(context), ids)

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Read the file; standard input is left for the run."""
        if self.settings.path == _STDIN:
            yield Check("file", None, "standard input is read when a run starts")
            return
        try:
            items = list(self.influxops_tenants(context))
        except SourceError as error:
            yield Check("file", False, error.message, error.remedy)
            return
        found = sum(isinstance(item, Tenant) for item in items)
        yield Check("file", True, f"{self.settings.name} has {pluralize(found, 'tenant')}")
        for item in items:
            if isinstance(item, Finding):
                ok = False if item.severity is Severity.ERROR else None
                yield Check("tenants", ok, item.message, item.remedy)

    def _read_file(self, context: RunContext) -> bytes:
        path = Path(self.settings.path).expanduser()

        def read() -> bytes:
            with path.open("rb", buffering=0) as file:
                return _read_all(file.fileno(), str(path))

        try:
            return context.run_abandonable(read)
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror or error}",
                hint=Hint.setting("path", "check {}, and that this user may read it"),
            ) from None

    def _read_input(self, context: RunContext) -> bytes:
        if self._input is None:
            if sys.stdin is None or sys.stdin.isatty():
                raise SourceError(
                    "standard input is a terminal",
                    hint="pipe the tenants in: influxops … < tenants.csv",
                )
            number, name = sys.stdin.fileno(), self.settings.name
            self._input = context.run_abandonable(lambda: _read_all(number, name))
        return self._input


def _read_all(number: int, name: str) -> bytes:
    """Read a file descriptor to its end, unless it has none.

    Python's file object is not used: a thread that is left behind in it would hold its lock, and
    the interpreter could not end.
    """
    data = bytearray()
    while chunk := os.read(number, _CHUNK):
        data += chunk
        if len(data) > _LARGEST:
            raise SourceError(
                f"{name} has more than {_LARGEST >> 20} MiB",
                hint="is it a list of tenants? Cut it into several files, each a source",
            )
    return bytes(data)
