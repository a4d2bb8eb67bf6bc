"""The base classes of the settings of sources, targets, reporters and ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from influxops.config.settings import PluginSettings, SettingSpec, checked, setting
from influxops.domain.durations import parse_duration

#: The key of the configuration that names files of plugins.
PLUGIN_FILES = SettingSpec(
    "plugins",
    list[str],
    [],
    "Files of plugins that are not installed, relative to the folder of this file. The name of a "
    "file is the kind: `./crm.py` has the kind `crm`.",
)


def plugin_paths(given: object, base: Path) -> tuple[Path, ...]:
    """Return the files that this key names; raise ValueError where it names none."""
    files = tuple(base / each for each in PLUGIN_FILES.read(given))
    if not all(each.is_absolute() for each in files):
        raise ValueError("expected absolute paths, as no file names them")
    return files


class SourceSettings(PluginSettings):
    """The base of a tenant source's settings."""

    @property
    def gives_ids_only(self) -> bool:
        """Whether a tenant of it has no attributes, so that its id alone names its database."""
        return False


class TargetSettings(PluginSettings):
    """The base of a target's settings: what the engine itself needs to know of it."""

    capacity: int | Literal["unlimited"] | None = setting(
        None,
        description="How many databases the server holds, or `unlimited`; left out: what the "
        "target estimates, and the server decides.",
        ge=0,
    )
    state: Literal["active", "draining"] = setting(
        "active", description="`draining` keeps what it has and gets nothing new."
    )

    @property
    def expected_identity(self) -> str | None:
        """The identity of the only server that this target may be; None for any."""
        return None


class ReporterSettings(PluginSettings):
    """The base of a reporter's settings."""

    renamed: ClassVar[Mapping[str, str]] = {"budget": "`timeout`"}

    timeout: float = setting(
        10.0, description="Seconds that telling may take, all waiting included.", gt=0, le=300
    )

    @property
    def file(self) -> str | None:
        """The file that a reporter keeps, which must be its own; None where others may write it."""
        return None


class LedgerSettings(PluginSettings):
    """The base of a ledger's settings: what the engine reads of them."""

    #: The settings that say where the ledger is. Where a section gives none of them, it takes
    #: those that it shares with the first source of the same kind from there.
    place: ClassVar[tuple[str, ...]] = ()

    namespace: str = setting(
        "default",
        description="Whose tenants these are. Configurations that share a ledger and have nothing "
        "to do with each other have different ones.",
        min_length=1,
    )
    mass_change: float = setting(
        0.2,
        description="The share of the recorded tenants that one run may create again, drop or find "
        "gone from the sources, before the guard `mass-change` asks.",
        gt=0,
        le=1,
    )
    retire_after: str = setting(
        "7d",
        description="How long a retired tenant's database is kept, and the one that a moved "
        "tenant left behind.",
        parse=checked(parse_duration),
    )
    export_before_drop: str | None = setting(
        None,
        description="A directory to which the database of a retired tenant is exported before it "
        "is dropped, by `influxops retire --due` and by workers: each row is compared, and nothing "
        "is dropped that could not be exported.",
        min_length=1,
    )
    cache_ttl: str = setting(
        "60s",
        description="How long an application may use the target of a database that it "
        "looked up, the time of a write included; a move waits so long for those that still write "
        "to the old one.",
        parse=checked(parse_duration),
    )
    last_pass: str = setting(
        "10s",
        description="How long the last pass over a tenant's rows may take before a move cuts it "
        "over: what is written during that pass is on its new target only after the next one.",
        parse=checked(parse_duration),
    )
