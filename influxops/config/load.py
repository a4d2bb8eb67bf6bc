"""The configuration: `influxops.toml`, the environment, and what each section comes to."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from influxops.durations import parse_duration, parse_retention
from influxops.errors import ConfigError
from influxops.model import UNMANAGED, Retention, Unmanaged
from influxops.naming import Template, nearest
from influxops.placement import Policy
from influxops.tomlfile import TomlFile

DEFAULT_FILE = "influxops.toml"

Role = Literal["sources", "targets", "reporters"]
ROLE_NAMES: Mapping[Role, str] = {
    "sources": "source",
    "targets": "target",
    "reporters": "reporter",
}

#: What stands in for a role that no file configures: the environment's source and target.
_FROM_ENVIRONMENT: Mapping[Role, tuple[str, str]] = {
    "sources": ("registry", "postgres"),
    "targets": ("default", "influxdb3"),
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NamingTable(_Table):
    """The table `[naming]`."""

    database: str = Field("telemetry_{tenant_id}", description="The name of a tenant's database.")
    acknowledged: tuple[str, ...] = Field(
        (), description="Ids of tenants whose being held is known, and no error."
    )

    @field_validator("database")
    @classmethod
    def _check(cls, value: str) -> str:
        Template(value)
        return value


class DatabaseTable(_Table):
    """The table `[database]`."""

    retention: str | None = Field(
        None,
        description="The retention period (`30d`), `none` to clear it; left out: unmanaged.",
    )

    @field_validator("retention")
    @classmethod
    def _check(cls, value: str | None) -> str | None:
        if value is not None:
            parse_retention(value)
        return value


class PlacementTable(_Table):
    """The table `[placement]`."""

    policy: Policy = Field(
        "fill", description="`fill`: the first target with room; `spread`: the emptiest one."
    )
    pins: dict[str, str] = Field({}, description="The target of a tenant, by the tenant's id.")


class RunTable(_Table):
    """The table `[run]`."""

    timeout: str = Field("15m", description="How long a run may take.")

    @field_validator("timeout")
    @classmethod
    def _check(cls, value: str) -> str:
        if parse_duration(value) < 1:
            raise ValueError("a run needs a second at least")
        return value


TABLES: Mapping[str, type[_Table]] = {
    "naming": NamingTable,
    "database": DatabaseTable,
    "placement": PlacementTable,
    "run": RunTable,
}


@dataclass(frozen=True, slots=True)
class Section:
    """A configured source, target or reporter, before its plugin has looked at it.

    Args:
        role: What it is.
        name: Its name.
        kind: Its plugin's kind.
        values: What the file says, `kind` left out.
        where: Gives `file:line` of one of its keys, or of the section.
        outranks_environment: Whether its values win over environment variables. What a program
            passes does, as a flag would; what a file says does not.
        supplements: Whether a source only adds tenants that no other source knows, and its
            attributes win for those that another one knows, instead of conflicting.
    """

    role: Role
    name: str
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    where: Callable[..., str] = field(default=lambda *keys: "environment")
    outranks_environment: bool = False
    supplements: bool = False

    @property
    def full_name(self) -> str:
        """`source:registry`, as plugins are registered."""
        return f"{ROLE_NAMES[self.role]}:{self.name}"


@dataclass(frozen=True)
class Config:
    """All that was configured.

    Args:
        path: The file; None where there is none.
        naming: `[naming]`.
        database: `[database]`.
        placement: `[placement]`.
        run: `[run]`.
        sections: Sources, targets and reporters in the order of the file.
        file: The file, to find lines in.
    """

    path: str | None = None
    naming: NamingTable = field(default_factory=NamingTable)
    database: DatabaseTable = field(default_factory=DatabaseTable)
    placement: PlacementTable = field(default_factory=PlacementTable)
    run: RunTable = field(default_factory=RunTable)
    sections: tuple[Section, ...] = ()
    file: TomlFile | None = None

    @property
    def template(self) -> Template:
        """The naming template."""
        return Template(self.naming.database)

    @property
    def retention(self) -> Retention | Unmanaged:
        """The default retention period."""
        return (
            UNMANAGED
            if self.database.retention is None
            else parse_retention(self.database.retention)
        )

    @property
    def timeout(self) -> int:
        """How long a run may take, in seconds."""
        return parse_duration(self.run.timeout)

    def of(self, role: Role) -> Iterator[Section]:
        """Give the sections of a role, in their order."""
        return (section for section in self.sections if section.role == role)


def load_config(path: str | Path | None = None) -> Config:
    """Read the configuration.

    Args:
        path: The file; None for INFLUXOPS_CONFIG, else `influxops.toml` in the current folder
            where there is one, else the environment alone.

    Returns:
        The configuration; plugins have not looked at their sections yet.

    Raises:
        ConfigError: When the file is not there or says what cannot be.
    """
    chosen = path or os.environ.get("INFLUXOPS_CONFIG") or None
    if chosen is None and Path(DEFAULT_FILE).is_file():
        chosen = DEFAULT_FILE
    if chosen is None:
        return parse_config({})
    file = TomlFile(Path(chosen))
    return parse_config(file.data, file)


def parse_config(data: Mapping[str, Any], file: TomlFile | None = None) -> Config:
    """Make a configuration of what a file says, or a program.

    Args:
        data: The file's tables.
        file: The file itself, to find lines in. Without one the values are a program's own, and
            win over environment variables.

    Raises:
        ConfigError: When it says what cannot be; all mistakes at once.
    """
    where = file.where if file else lambda *keys: ".".join(keys)
    tables: dict[str, Any] = {}
    mistakes = _unknown(data, [*TABLES, *ROLE_NAMES], where)
    for name, model in TABLES.items():
        try:
            tables[name] = model.model_validate(data.get(name, {}))
        except ValidationError as error:
            mistakes += explain(error, model, (name,), where)
    sections = [*_sections(data, where, outrank=file is None)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    config = Config(
        path=str(file.path.absolute()) if file else None,
        sections=tuple(sections),
        file=file,
        **tables,
    )
    targets = [section.name for section in config.of("targets")]
    for tenant, target in config.placement.pins.items():
        if target not in targets:
            raise ConfigError(
                f"the pin of {tenant!r} names the target {target!r}, which is not configured",
                where=where("placement", "pins", tenant),
                hint=nearest(target, targets) or f"targets: {', '.join(targets)}",
            )
    return config


def _sections(
    data: Mapping[str, Any], where: Callable[..., str], *, outrank: bool
) -> Iterator[Section]:
    for role in ROLE_NAMES:
        tables = data.get(role, {})
        if not isinstance(tables, Mapping):
            raise ConfigError(f"[{role}] holds one table a {ROLE_NAMES[role]}", where=where(role))
        if not tables and role in _FROM_ENVIRONMENT:
            name, kind = _FROM_ENVIRONMENT[role]
            yield Section(role, name, kind)
        for name, values in tables.items():
            if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
                raise ConfigError(
                    f"[{role}.{name}] does not say which `kind` of {ROLE_NAMES[role]} it is",
                    where=where(role, name),
                    hint='write `kind = "…"`; `influxops plugins` lists the kinds',
                )
            yield Section(
                role,
                name,
                values["kind"],
                {key: value for key, value in values.items() if key != "kind"},
                lambda *keys, role=role, name=name: where(role, name, *keys),
                outrank,
            )


def _unknown(data: Mapping[str, Any], known: Sequence[str], where: Callable[..., str]) -> list[str]:
    return [
        f"{where(key)}: [{key}] is not known "
        f"({nearest(key, known) or 'known: ' + ', '.join(known)})"
        for key in data
        if key not in known
    ]


def explain(
    error: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str, ...],
    where: Callable[..., str],
    *,
    only: Container[str] | None = None,
) -> list[str]:
    """Say what is wrong with a table, one line a mistake, without echoing any value.

    Args:
        error: What pydantic found.
        model: What it was checked against.
        prefix: The table's own path in the file.
        where: Gives `file:line` of a path.
        only: The keys that are looked at; all when left out.
    """
    lines: dict[tuple[object, ...], str] = {}
    for detail in error.errors(include_input=False, include_url=False, include_context=True):
        path = [str(part) for part in detail["loc"]]
        name = path[0] if path else ""
        if only is not None and name not in only:
            continue
        if detail["type"] == "extra_forbidden":
            known = list(model.model_fields)
            hint = nearest(name, known) or f"known keys: {', '.join(known)}"
            text = f"the key {name!r} is not known in [{'.'.join(prefix)}] ({hint})"
        elif detail["type"] == "missing":
            text = f"[{'.'.join(prefix)}] needs `{name}`"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            text = f"`{name}` in [{'.'.join(prefix)}]: {message[:1].lower()}{message[1:]}"
        # A union reports once a member; the first of them is the one that people mean.
        lines.setdefault(
            (name, detail["type"] == "extra_forbidden"), f"{where(*prefix, name)}: {text}"
        )
    return list(lines.values())
