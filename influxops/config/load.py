"""The configuration as it was written: `influxops.toml`, the environment, a program's values."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

from msgspec import Struct, field

from influxops.config.plugin_settings import PLUGIN_FILES, plugin_paths
from influxops.config.routing import RoutingTable
from influxops.config.settings import InvalidSettings, PluginSettings, checked, setting
from influxops.config.toml import TomlFile, quoted
from influxops.domain.database import UNMANAGED, Retention, Unmanaged
from influxops.domain.durations import check_duration, parse_duration, parse_retention
from influxops.domain.naming import DEFAULT_TEMPLATE, Template
from influxops.domain.text import did_you_mean, one_line, quote
from influxops.errors import ConfigError, PluginLoadError

DEFAULT_FILE = "influxops.toml"

Role = Literal["sources", "targets", "reporters", "ledger"]
ROLE_NAMES: Mapping[Role, str] = {
    "sources": "source",
    "targets": "target",
    "reporters": "reporter",
    "ledger": "ledger",
}

#: The environment's source and target, for roles that no file configures.
_FROM_ENVIRONMENT: Mapping[Role, tuple[str, str]] = {
    "sources": ("registry", "postgres"),
    "targets": ("default", "influxdb3"),
}


class ConfigAuthor(Struct, frozen=True):
    """What wrote a part of the configuration and is no file: a program, or the environment."""

    name: str  # to be read in a message
    #: How its users call a key, by the key's path: `{"database.retention": "retention"}`, or all
    #: keys of a section: `{"sources.task": "source"}`.
    called: Mapping[str, str] = field(default_factory=dict)

    def where(self, *keys: str) -> str:
        """Return its name, which is all that there is in place of a file and a line."""
        return self.name


Author = TomlFile | ConfigAuthor
ENVIRONMENT = ConfigAuthor("environment")
PROGRAM = ConfigAuthor("a program")


class NamingTable(PluginSettings):
    """The table `[naming]`."""

    renamed: ClassVar[Mapping[str, str]] = {"acknowledged": "`ignore` of [tenants]"}

    database: str = setting(
        DEFAULT_TEMPLATE,
        description="The name of a tenant's database.",
        parse=checked(Template),
    )


class TenantsTable(PluginSettings):
    """The table `[tenants]`."""

    ignore: tuple[str, ...] = setting(
        (), description="Ids of tenants whose problems are known: reported as info, no error."
    )


class DatabaseTable(PluginSettings):
    """The table `[database]`."""

    retention: str | None = setting(
        None,
        description="The retention period (`30d`), `none` to clear it; left out: unmanaged.",
        parse=checked(parse_retention),
    )


class PlacementTable(PluginSettings):
    """The table `[placement]`."""

    policy: Literal["fill", "spread"] = setting(
        "fill", description="`fill`: the first target with room; `spread`: the emptiest one."
    )
    pins: dict[str, str] = setting({}, description="The target of a tenant, by the tenant's id.")


class RunTable(PluginSettings):
    """The table `[run]`."""

    renamed: ClassVar[Mapping[str, str]] = {"reading": "`target_read_timeout`"}

    timeout: str = setting("15m", description="How long a run may take.", parse=check_duration)
    target_read_timeout: str = setting(
        "10s",
        description="How long the targets may take to be read; one that hangs is given up.",
        parse=check_duration,
    )


TABLES: Mapping[str, type[PluginSettings]] = {
    "naming": NamingTable,
    "tenants": TenantsTable,
    "database": DatabaseTable,
    "placement": PlacementTable,
    "routing": RoutingTable,
    "run": RunTable,
}
#: Entry points of the tables that plugins' commands read: the name, and a class of settings.
TABLE_GROUP = "influxops.tables"


def all_tables() -> dict[str, type[PluginSettings]]:
    """Return the tables of the core and of all plugins, by name."""
    from importlib.metadata import entry_points  # slow to import, and few files have such a table

    tables = dict(TABLES)
    for point in entry_points(group=TABLE_GROUP):
        try:
            tables[point.name] = point.load()
        except (Exception, SystemExit) as error:
            raise PluginLoadError(
                f"the table [{point.name}] of a plugin cannot be loaded ({point.value}): {error!r}",
                hint="install what it needs, or uninstall it",
            ) from error
    return tables


class Section(Struct, frozen=True):
    """A configured source, target, reporter or ledger, before its plugin has looked at it."""

    role: Role  # what it is
    name: str  # empty for the ledger, of which there is one
    kind: str  # its plugin's kind
    values: Mapping[str, Any] = field(default_factory=dict)  # what its author says, without `kind`
    author: Author = ENVIRONMENT
    #: Whether a program wrote several sections of this role, so that a setting alone is not clear.
    one_of_several: bool = False
    #: Whether a source only adds tenants that no other source knows, and its attributes win for
    #: those that another one knows, instead of conflicting.
    supplements: bool = False

    @property
    def full_name(self) -> str:
        """`source:registry`, as plugins are registered; `ledger`, of which there is one."""
        return f"{ROLE_NAMES[self.role]}:{self.name}" if self.name else ROLE_NAMES[self.role]

    @property
    def path(self) -> tuple[str, ...]:
        """The tables of the configuration of this section: `("sources", "registry")`."""
        return (self.role, self.name) if self.name else (self.role,)

    @property
    def outranks_environment(self) -> bool:
        """Whether its values win over variables: a program's do, as a flag would."""
        return not isinstance(self.author, TomlFile) and self.author != ENVIRONMENT

    def where(self, *keys: str) -> str:
        """Return where one of its keys, or all of it, was written: `influxops.toml:7`."""
        return self.author.where(*self.path, *keys)

    def written(self, key: str, variables: Sequence[str] = ()) -> str:
        """Return how its author writes a setting."""
        quoted_key = f"`{one_line(key)}`"
        if self.author == ENVIRONMENT:
            default = f"{quoted_key} of {_header(*self.path)} in {DEFAULT_FILE}"
            return variables[0] if variables else default
        if isinstance(self.author, TomlFile):
            return f"{quoted_key} of {_header(*self.path)}"
        called, path = self.author.called, ".".join(map(one_line, self.path))
        if own := called.get(f"{path}.{one_line(key)}"):
            return f"`{own}`"
        section = called.get(path, path if self.one_of_several else "")
        return f"{quoted_key} of {section}" if section else quoted_key


class Config(Struct, frozen=True):
    """All that was configured."""

    path: str | None = None  # the file; None where there is none
    door: str = "library"  # what runs come through, for reports and history; no file says it
    naming: NamingTable = field(default_factory=NamingTable)
    tenants: TenantsTable = field(default_factory=TenantsTable)
    database: DatabaseTable = field(default_factory=DatabaseTable)
    placement: PlacementTable = field(default_factory=PlacementTable)
    routing: RoutingTable = field(default_factory=RoutingTable)
    run: RunTable = field(default_factory=RunTable)
    #: The tables of plugins that were written.
    plugin_tables: Mapping[str, PluginSettings] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()  # sources, targets, reporters and the ledger, in this order
    plugin_files: tuple[Path, ...] = ()  # the files of plugins which are not installed
    #: The authors of the tables, by name; a table without one is left out.
    authors: Mapping[str, Author] = field(default_factory=dict)

    @property
    def template(self) -> Template:
        """The naming template."""
        return Template(self.naming.database)

    @property
    def retention(self) -> Retention | Unmanaged:
        """The default retention period, in seconds."""
        written = self.database.retention
        return UNMANAGED if written is None else parse_retention(written)

    @property
    def timeout(self) -> int:
        """How long a run may take, in seconds."""
        return parse_duration(self.run.timeout)

    @property
    def reading(self) -> int:
        """How long all sources and targets together may take to be read, in seconds."""
        return parse_duration(self.run.target_read_timeout)

    def by_role(self, role: Role) -> Iterator[Section]:
        """Yield the sections of a role, in their order."""
        return (section for section in self.sections if section.role == role)

    def where(self, table: str, key: str) -> str:
        """Return where a key of a table was written: `influxops.toml:7`, or `default`."""
        values = self.plugin_tables.get(table) or getattr(self, table, None)
        if values is None or key not in values.given:
            return "default"
        return self.authors.get(table, ENVIRONMENT).where(table, key)

    def refuse(self, table: str, key: str, message: str, hint: str = "") -> NoReturn:
        """Refuse what a key of a table says."""
        raise ConfigError(
            _mistake(self.authors.get(table, PROGRAM), message, table, key), hint=hint
        )


def load_config(path: str | Path | None = None, mistakes: list[str] | None = None) -> Config:
    """Read the configuration; plugins have not looked at their sections yet.

    Without a path it is that of INFLUXOPS_CONFIG, else `influxops.toml` in the current folder where
    there is one, else the environment alone. What is wrong with it is raised, or added to
    `mistakes`.
    """
    chosen = path or os.environ.get("INFLUXOPS_CONFIG") or _default_file()
    if chosen is None:
        return parse_config({}, ENVIRONMENT, mistakes)
    file = TomlFile(Path(chosen))
    return parse_config(file.data, file, mistakes)


def _default_file() -> str | None:
    """Return the file in the current folder; None where there is none, or no folder any more.

    Where that is unknown it is refused: going on without it could mean another server.
    """
    try:
        # A relative path, in a folder that may be gone.
        is_folder = stat.S_ISDIR(os.stat(DEFAULT_FILE).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"{DEFAULT_FILE} cannot be looked for in the current folder: {error.strerror}",
            hint="change to another folder, or name the file",
        ) from None
    return None if is_folder else DEFAULT_FILE


def parse_config(
    data: Mapping[str, Any], author: Author = PROGRAM, told: list[str] | None = None
) -> Config:
    """Return the configuration that tables of a file or program mean; refuse all mistakes at once.

    With `told` they are added to that, and what is wrong is left out. What a program says wins over
    environment variables.
    """
    is_known = data.keys() <= {*TABLES, *ROLE_NAMES, PLUGIN_FILES.name}
    classes = TABLES if is_known else all_tables()
    known = [*classes, *ROLE_NAMES, PLUGIN_FILES.name]
    mistakes = [
        _mistake(
            author,
            f"no such table ({did_you_mean(name, known) or 'known: ' + ', '.join(known)})",
            name,
        )
        for name in data
        if name not in known
    ]
    tables: dict[str, Any] = {}
    for name, table in classes.items():
        values = data.get(name, {})
        if not isinstance(values, Mapping):
            mistakes.append(_mistake(author, "expected a table", name))
            continue
        try:
            tables[name] = table.parse(values)
        except InvalidSettings as error:
            mistakes += [_mistake(author, message, name, key) for key, message in error.mistakes]
    sections: list[Section] = []
    for role in ROLE_NAMES:
        _read_sections(role, data.get(role, {}), author, sections, mistakes)
    mistakes += _wrong_pins(data, sections, author)
    files: tuple[Path, ...] = ()
    try:
        base = Path(_absolute(author.path)).parent if isinstance(author, TomlFile) else Path()
        files = plugin_paths(data.get(PLUGIN_FILES.name, []), base)
    except ValueError as error:
        name = PLUGIN_FILES.name
        mistakes.append(f"{author.where(name)}: `{name}`: {error}")
    if mistakes and told is None:
        raise ConfigError("\n".join(mistakes))
    if told is not None:
        told += mistakes
    return Config(
        path=_absolute(author.path) if isinstance(author, TomlFile) else None,
        sections=tuple(sections),
        plugin_files=files,
        authors={name: author for name in classes if name in data},
        plugin_tables={
            name: tables.pop(name) for name in classes if name not in TABLES and name in tables
        },
        **tables,
    )


def _absolute(path: Path) -> str:
    """Return a path from the root, or as it is where the current folder was deleted."""
    try:
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError:
        return str(path)


def _read_sections(
    role: Role, tables: Any, author: Author, sections: list[Section], mistakes: list[str]
) -> None:
    """Add the sections of a role, and what is wrong with the others."""
    what = ROLE_NAMES[role]
    if role == "ledger":
        # One table, not one a name.
        tables = {"": tables} if tables != {} else {}
    if not isinstance(tables, Mapping):
        mistakes.append(_mistake(author, f"expected one table a {what}", role))
        return
    if not tables and role in _FROM_ENVIRONMENT:
        sections.append(Section(role, *_FROM_ENVIRONMENT[role]))
    for name, values in tables.items():
        path = (role, name) if name else (role,)
        if not isinstance(values, Mapping):
            mistakes.append(_mistake(author, "expected a table", *path))
        elif not isinstance(values.get("kind"), str):
            message = (
                f"it must say which kind of {what} this is "
                '(write `kind = "…"`; `influxops plugins` lists the kinds)'
            )
            mistakes.append(_mistake(author, message, *path, "kind"))
        else:
            rest = {key: value for key, value in values.items() if key != "kind"}
            sections.append(Section(role, name, values["kind"], rest, author, len(tables) > 1))


def _wrong_pins(
    data: Mapping[str, Any], sections: Sequence[Section], author: Author
) -> Iterator[str]:
    """Yield what is wrong with the pins; a target that is itself wrong is known nevertheless."""
    placement, tables = data.get("placement"), data.get("targets")
    pins = placement.get("pins") if isinstance(placement, Mapping) else None
    names = {section.name for section in sections if section.role == "targets"}
    targets = [*names.union(tables if isinstance(tables, Mapping) else ())]
    for tenant, target in pins.items() if isinstance(pins, Mapping) else ():
        if isinstance(target, str) and target not in targets:
            near = did_you_mean(target, targets) or f"targets: {', '.join(map(one_line, targets))}"
            message = (
                f"the pin of {quote(tenant)} names the target {quote(target)}, which is "
                f"not configured ({near})"
            )
            yield _mistake(author, message, "placement", "pins", tenant)


def _mistake(author: Author, message: str, *keys: str) -> str:
    """Return one line about a key: where it is, how its author writes it, what is wrong."""
    if isinstance(author, TomlFile):
        *table, key = keys
        written = f"`{one_line(key)}` of {_header(*table)}" if table else _header(key)
        return f"{author.where(*keys)}: {written}: {message}"
    path = ".".join(map(one_line, keys))
    return f"`{author.called.get(path, path)}`: {message}"


def _header(*names: str) -> str:
    """Return the header of a table: `[targets.eu1]`."""
    return f"[{'.'.join(map(quoted, names))}]"
