"""The plugin `static`: tenants that the configuration lists itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import field_validator

from influxops import (
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
from influxops_files.entries import Entry, tenants

_NAME = "tenants"


class StaticSettings(SourceSettings):
    """A list of tenants."""

    tenants: tuple[str | dict[str, Any], ...] = setting(
        description="The ids, or tables with an id and attributes: "
        '`["acme", {id = "globex", retention = "90d"}]`.',
    )

    @field_validator("tenants", mode="before")
    @classmethod
    def _each_has_an_id(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError('write a list: ["acme", {id = "globex", retention = "90d"}]')
        try:
            list(tenants(_entries(value), _NAME))
        except SourceError as error:
            raise ValueError(str(error)) from None
        return value

    def location(self) -> Location:
        """Say that they are in the configuration."""
        return Location(text="the configuration")


def _entries(items: Iterable[object]) -> Iterable[Entry]:
    for number, item in enumerate(items, 1):
        place = f"item {number}"
        # TOML has no null and no scalars but these; a table without an id is a slip of the pen.
        entry = formats.entry(item, place, _NAME)
        if isinstance(item, Mapping) and not {"id", "tenant_id"} & item.keys():
            raise SourceError(f"{_NAME}, {place}: a table without `id`")
        yield entry


class StaticSource:
    """Gives the tenants of the configuration.

    Args:
        section: The name of its section, `source:internal`.
        settings: What the section says.
    """

    Settings = StaticSettings

    def __init__(self, section: str, settings: StaticSettings) -> None:
        self._section = section
        self._settings = settings

    @hookimpl
    def influxops_tenants(self, run: Run) -> Iterable[Tenant | Finding]:
        """Give every tenant of the list."""
        run.check()
        return list(tenants(_entries(self._settings.tenants), _NAME))
