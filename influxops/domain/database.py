"""A database: what is known of one, of all on a target, and of what a target can do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

from msgspec import Struct, field

from influxops.domain.durations import format_duration
from influxops.domain.finding import Finding


class Unknown(Enum):
    """The type of `UNKNOWN`: what could not be read, so nothing may be concluded from it."""

    UNKNOWN = "unknown"


class Unmanaged(Enum):
    """The type of `UNMANAGED`: what influxops is not asked to manage."""

    UNMANAGED = "unmanaged"


#: From which part of what it can hold a target is nearly full.
NEARLY_FULL: Final = 0.9

UNKNOWN: Final = Unknown.UNKNOWN


UNMANAGED: Final = Unmanaged.UNMANAGED


#: Seconds, or None where data is kept for ever.
Retention = int | None


class Database(Struct, frozen=True, gc=False):
    """A tenant database, as it is or as it should be; what has it has its name, too."""

    retention: Retention | Unknown = UNKNOWN  # seconds; None where data is kept for ever
    complete: bool | Unknown = UNKNOWN  # whether creation completed
    in_use: bool | Unknown = UNKNOWN  # whether its tenant has written to it, to whatever table
    #: Whether it was ever marked as complete, where that is known apart from whether it is now:
    #: its marker may be lost from what is stored. A client's write creates one without a marker.
    marked: bool | Unknown = UNKNOWN

    @property
    def is_marked(self) -> bool | Unknown:
        """Whether it was ever marked as complete."""
        return self.complete if self.marked is UNKNOWN else self.marked


class Marker(Struct, frozen=True):
    """What says that a database was made for a tenant."""

    tenant: str  # its id
    at: datetime  # the hour in which the run began that made it first, by that run's clock


class Inventory(Struct, frozen=True):
    """What a target holds, deleted databases left out."""

    databases: Mapping[str, Database]  # by name; the server's own databases are left out
    edition: str | None = None  # None where the server does not say
    version: str | None = None  # None where the server does not say
    identity: str | None = None  # opaque text that tells this server from every other
    capacity: int | None = None  # its estimated number of databases; None: no known limit
    #: False where some databases, or what they are like, may be hidden from the token.
    complete: bool = True
    #: When the data of the newest deleted database of each name goes, as far as the server tells;
    #: None where it does not say when.
    deleted: Mapping[str, datetime | None] = field(default_factory=dict)
    #: How many seconds ago the newest deleted database of each name was deleted, by the clock of
    #: the server; as far as that tells.
    deleted_ago: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # what was noticed while reading
    tables: int | None = None  # how many tables all databases have together; None: not known
    table_capacity: int | None = None  # how many it can hold, estimated; None: no known limit
    out_of_tables: bool = False  # whether it took no further table in this run


class TableStats(Struct, frozen=True):
    """How much is in one table of a database."""

    name: str  # the table's name
    rows: int | None = None  # None: not known
    at_most: bool = False  # whether there may be fewer rows than that
    last_write: datetime | None = None  # the newest time of a row, in UTC; None: none, or not known
    #: Whether what is written to it is telemetry for the guards.
    is_telemetry: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it is known when it was last written to, if it ever was."""
        return self.rows is not None or self.last_write is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What reports have of it, as plain data."""
        return {
            "name": self.name,
            "rows": self.rows,
            "at_most": self.at_most,
            "last_write": _plain(self.last_write),
        }


class DatabaseStats(Struct, frozen=True):
    """What a target tells of one database beyond the inventory."""

    name: str  # the database's name
    #: Rows of what `TargetCapabilities.table_label` names; 0 without any, None: not read.
    telemetry_count: int | None = None
    #: The newest time of a row in any table, in UTC; None without rows, or where it is not known.
    last_write: datetime | None = None
    complete: bool | Unknown = UNKNOWN  # whether it is complete, as the data itself shows
    message: str = ""  # why something could not be read
    #: Each of its tables but what marks it as complete; None where the target does not tell.
    tables: tuple[TableStats, ...] | None = None

    @property
    def contents(self) -> tuple[TableStats, ...]:
        """Its tables; one without a name for a target that does not tell of them."""
        if self.tables is not None:
            return self.tables
        return (TableStats("", self.telemetry_count, last_write=self.last_write),)

    @property
    def rows(self) -> int | None:
        """How many rows there are in all tables, or at most; None where that is not known."""
        counts = [table.rows for table in self.contents if table.rows is not None]
        return sum(counts) if len(counts) == len(self.contents) else None

    @property
    def at_most(self) -> bool:
        """Whether there may be fewer rows than that."""
        return any(table.at_most for table in self.contents)

    @property
    def facts(self) -> dict[str, Any]:
        """What reports have of its contents, as plain data."""
        tables = None if self.tables is None else [table.facts for table in self.tables]
        return {"rows": self.rows, "tables": tables, "last_write": _plain(self.last_write)}


def _plain(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time is not None else None


class TargetCapabilities(Struct, frozen=True):
    """What a kind of target has, and what it calls it; a class declares it as `capabilities`."""

    server: str = ""  # what it is, for people: "InfluxDB 3"
    retention: tuple[int, int] | None = None  # shortest and longest period in seconds; None: none
    #: What says that a database is complete, in a word; empty where nothing does.
    completion_marker: str = ""
    #: What `telemetry_count` counts, in a word: "telemetry"; empty without any.
    table_label: str = ""
    identity: str = "identity"  # what it calls the identity of a server
    #: Seconds after which a query is sure to find a row whose write was acknowledged.
    visible_after: float = 0.0
    #: Returns the rule that a database's name breaks, to be read after "its database name …".
    validate_name: Callable[[str], str] = lambda name: ""
    #: Returns the rule that a tenant's id breaks, to be read after "its id …".
    validate_tenant: Callable[[str], str] = lambda tenant: ""

    def retention_fault(self, period: Retention | Unknown) -> str:
        """Return why data is not kept as a server's retention period says; empty where it is.

        It is to be read after "its retention period ". What a configuration may not ask for, a
        server may have all the same.
        """
        if self.retention is None or not isinstance(period, int):
            return ""
        least, most = self.retention
        if period < 1:
            return "keeps nothing: what is written to it is lost at once"
        if period < least:
            return (
                f"of {format_duration(period)} is shorter than {format_duration(least)}, the "
                f"shortest that {self.server or 'its target'} keeps to"
            )
        if period > most:
            return (
                f"of {format_duration(period)} is longer than {format_duration(most)}, the "
                f"longest that {self.server or 'its target'} can handle"
            )
        return ""


class TargetHints(Struct, frozen=True):
    """What a process knows of targets from before."""

    #: Those that are not to be asked now, with why.
    away: Mapping[str, str] = field(default_factory=dict)
    #: Those of them that answer, and refuse: what the ledger says of them may not be so any more.
    refused: Collection[str] = ()
    full: Mapping[str, str] = field(default_factory=dict)  # those that take nothing more, with why
    #: How many databases the ledger counts on each; None: it is to be asked.
    used: Mapping[str, int] | None = None
    #: Gives how many tenants the process has placed on each that the ledger does not count yet.
    in_flight: Callable[[], Mapping[str, int]] = dict
