"""The plugin `file`: tenants from a CSV, JSON or YAML file, or from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Literal

from pydantic import ValidationInfo, field_validator

from influxops import (
    Check,
    Finding,
    Location,
    Run,
    SourceError,
    SourceSettings,
    Tenant,
    hookimpl,
    setting,
)
from influxops_files import formats
from influxops_files.entries import tenants

Format = Literal["csv", "json", "yaml"]

_STDIN = "-"
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
}
_READERS = {
    "csv": formats.read_csv,
    "json": formats.read_json,
    "yaml": formats.read_yaml,
}


class FileSettings(SourceSettings):
    """A file with tenants.

    CSV names its columns in the first line; JSON and YAML hold a list of ids or of objects, also
    under the key `tenants`. The id is `tenant_id` or `id`; whatever else there is becomes the
    tenant's attributes (`database`, `retention`, `target`), and what is empty is left out.
    """

    path: str = setting(
        description="The file, from the folder that influxops is started in; `-` is standard "
        "input, and then `format` is needed.",
        min_length=1,
    )
    format: Format | None = setting(
        None,
        description="`csv`, `json` or `yaml`; left out: what the file's name ends with.",
        validate_default=True,
    )

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, value: Format | None, info: ValidationInfo) -> Format | None:
        path = info.data.get("path")
        if value is None and path is not None and _guess(path) is None:
            raise ValueError(
                "the path does not tell it: write csv, json or yaml",
            )
        return value

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return "standard input" if self.path == _STDIN else self.path

    @property
    def read_as(self) -> Format:
        """The format that counts."""
        known = self.format or _guess(self.path)
        assert known is not None, "the validator has seen to it"
        return known

    def location(self) -> Location:
        """Say which file it is."""
        return Location(text=self.name)


def _guess(path: str) -> Format | None:
    return _SUFFIXES.get(PurePath(path).suffix.lower())


class FileSource:
    """Reads tenants from a file.

    Args:
        section: The name of its section, `source:customers`.
        settings: What the section says.
    """

    Settings = FileSettings

    def __init__(self, section: str, settings: FileSettings) -> None:
        self._section = section
        self._settings = settings
        self._input: bytes | None = None

    @hookimpl
    def influxops_tenants(self, run: Run) -> Iterable[Tenant | Finding]:
        """Read the whole file before any tenant is given.

        Raises:
            SourceError: When it cannot be read; the message names the line.
        """
        run.check()
        settings = self._settings
        text = formats.decode(self._read(), settings.name)
        return list(tenants(_READERS[settings.read_as](text, settings.name), settings.name))

    @hookimpl
    def influxops_check(self, run: Run) -> Iterator[Check]:
        """Read the file; standard input is left for the run."""
        if self._settings.path == _STDIN:
            yield Check("file", None, "standard input is read when a run starts")
            return
        try:
            items = list(self.influxops_tenants(run))
        except SourceError as error:
            yield Check("file", False, error.message, error.hint)
            return
        count = sum(isinstance(item, Tenant) for item in items)
        plural = "" if count == 1 else "s"
        yield Check("file", True, f"{self._settings.name} has {count:,} tenant{plural}")
        for item in items:
            if isinstance(item, Finding):
                yield Check("tenant ids", False, item.message, item.hint)

    def _read(self) -> bytes:
        if self._settings.path == _STDIN:
            return self._read_input()
        path = Path(self._settings.path).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror or error}",
                hint="check the path and that this user may read it",
            ) from None

    def _read_input(self) -> bytes:
        if self._input is None:  # it can be read only once, but the hook may be called again
            if sys.stdin is None or sys.stdin.isatty():
                raise SourceError(
                    "standard input is a terminal",
                    hint="pipe the tenants in: influxops … < tenants.csv",
                )
            self._input = sys.stdin.buffer.read()
        return self._input
