"""The target `influxdb1`: a database a tenant on a server of InfluxDB 1.x."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from influxops.plugin import (
    UNKNOWN,
    Action,
    Change,
    ChangeResult,
    Check,
    Closing,
    Database,
    DatabaseLookup,
    DatabaseStatistics,
    DatabaseStats,
    FastCreation,
    HealthChecks,
    Inventory,
    Location,
    Outcome,
    RunContext,
    Secret,
    SettingError,
    TableStats,
    Target,
    TargetCapabilities,
    TargetError,
    TargetSettings,
    Unknown,
    WriteActivity,
    hookimpl,
    setting,
)
from influxops_influxdb1.client import Client, Refused, Series, quoted, seconds

_HOUR, _DAY = 3600, 86400
#: The table whose rows are telemetry.
_TELEMETRY = "telemetry"


def name_rule(name: str) -> str:
    """Return the rule that a name breaks, to be read after "its database name …"."""
    if name in ("", ".", ".."):
        return "is no name"
    if "/" in name or "\\" in name or not name.isprintable():
        return "holds a slash, a backslash or a control character"
    if name == "_internal":
        return "is the server's own"
    return "has more than 255 bytes" if len(name.encode()) > 255 else ""


class InfluxDB1Target(
    Target,
    DatabaseLookup,
    FastCreation,
    DatabaseStatistics,
    WriteActivity,
    HealthChecks,
    Closing,
):
    """Makes databases on a server of InfluxDB 1.x, with a retention policy each."""

    capabilities = TargetCapabilities(
        server="InfluxDB 1.x",
        retention=(_HOUR, 106_751 * _DAY),  # what 64 bits of nanoseconds hold
        table_label=_TELEMETRY,
        validate_name=name_rule,
    )

    class Settings(TargetSettings):
        """What a section may say."""

        url: str = setting(
            "http://localhost:8086", description="The server's URL.", env=("INFLUXDB1_URL",)
        )
        username: str = setting("", description="The user; empty where none is asked for.")
        password: Secret | None = setting(None, description="The user's password.")
        timeout: float = setting(10.0, description="Seconds to wait for an answer.", gt=0)

        def check(self) -> None:
            """Refuse what is no URL."""
            if not self.url.startswith(("http://", "https://")):
                raise SettingError("expected a URL that begins with http:// or https://", "url")

        def location(self) -> Location:
            """Return where the server is, as messages show it."""
            host = self.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
            return Location(self.url, host.partition(":")[0], is_default="url" not in self.given)

    settings: Settings

    def __init__(self, section: str, settings: Settings) -> None:
        super().__init__(section, settings)
        self._client = Client(settings)

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read what is there, in two requests."""
        return self._inventory(self._names(context), context)

    @hookimpl
    def influxops_get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        """Read those of some databases that exist."""
        return self._inventory(sorted({*names} & {*self._names(context)}), context)

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make all changes, one after the other; the server has each on disk when it answers."""
        for change in changes:
            context.check()
            try:
                self._make(change, context)
            except Refused as refused:
                yield Outcome(change, ChangeResult.FAILED, str(refused))
            except TargetError as error:
                yield Outcome(change, ChangeResult.UNKNOWN, error.message, error.remedy)
            else:
                yield Outcome(change, ChangeResult.DONE)
            context.on_progress(1)

    @hookimpl
    def influxops_create_databases(
        self, changes: Sequence[Change], context: RunContext
    ) -> Iterator[Outcome]:
        """Create databases; creating is all that makes one complete."""
        there = {*self._names(context)}
        for change in changes:
            try:
                self._make(change, context)
            except Refused as refused:
                yield Outcome(change, ChangeResult.FAILED, str(refused))
            else:
                is_new = change.database not in there
                yield Outcome(change, ChangeResult.DONE, partially_applied=is_new)

    @hookimpl
    def influxops_database_stats(
        self, names: Sequence[str], context: RunContext
    ) -> Iterator[DatabaseStats]:
        """Count the rows of each measurement, and find the newest."""
        for name in names:
            context.check()
            try:
                tables = [*self._tables(name, context)]
            except (Refused, TargetError) as error:
                yield DatabaseStats(name, message=str(error))
                continue
            counted = [table.rows or 0 for table in tables if table.name == _TELEMETRY]
            newest = max((t.last_write for t in tables if t.last_write is not None), default=None)
            yield DatabaseStats(name, sum(counted), newest, tables=tuple(tables))

    @hookimpl
    def influxops_write_activity(
        self, name: str, since: datetime, until: datetime, step: int, context: RunContext
    ) -> Iterable[tuple[datetime, int]]:
        """Count what was written in each span."""
        found: dict[datetime, int] = {}
        first, last = (f"'{each.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" for each in (since, until))
        query = (
            f"SELECT COUNT(*) FROM /.*/ WHERE time >= {first} AND time < {last} "  # of our own  # noqa: S608
            f"GROUP BY time({step}s) fill(none)"
        )
        for series in self._client.query(query, context, database=name)[0]:
            for at, *counts in series.values:
                begin = datetime.fromtimestamp(at, UTC)
                found[begin] = found.get(begin, 0) + max(each or 0 for each in counts)
        return [*found.items()]

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Look whether the server answers, and to this user."""
        try:
            version = self._client.version(context)
            yield Check("server", True, f"InfluxDB {version} at {self.settings.url}")
            yield Check("rights", True, f"{len(self._names(context))} databases are listed")
        except TargetError as error:
            yield Check("server", False, error.message, error.remedy)

    @hookimpl
    def influxops_close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _names(self, context: RunContext) -> list[str]:
        (found,) = self._client.query("SHOW DATABASES", context)
        names = [str(name) for series in found for (name,) in series.values]
        return [name for name in names if name != "_internal"]

    def _inventory(self, names: Sequence[str], context: RunContext) -> Inventory:
        statements = []
        for name in names:
            statements.append(f"SHOW RETENTION POLICIES ON {quoted(name)}")
            statements.append(f"SHOW MEASUREMENTS ON {quoted(name)} LIMIT 1")
        answers = self._client.query("; ".join(statements), context) if statements else []
        databases = {
            name: Database(_retention(policies), in_use=bool(measurements))
            for name, policies, measurements in zip(names, answers[::2], answers[1::2], strict=True)
        }
        return Inventory(databases, "OSS", self._client.version(context))

    def _make(self, change: Change, context: RunContext) -> None:
        name = quoted(change.database)
        if change.action is Action.DROP:
            self._client.query(f"DROP DATABASE {name}", context, writes=True)
            return
        period = change.after.retention if change.after is not None else None
        if change.action is Action.CREATE:
            self._client.query(f"CREATE DATABASE {name}", context, writes=True)
        if isinstance(period, int) or change.action is Action.SET_RETENTION:
            kept = period if isinstance(period, int) else None
            (policies,) = self._client.query(f"SHOW RETENTION POLICIES ON {name}", context)
            policy = quoted(_default(policies)["name"])
            self._client.query(
                f"ALTER RETENTION POLICY {policy} ON {name} DURATION {kept or 0}s "
                f"SHARD DURATION {_shard(kept)}s",
                context,
                writes=True,
            )

    def _tables(self, name: str, context: RunContext) -> Iterator[TableStats]:
        (found,) = self._client.query("SHOW MEASUREMENTS", context, database=name)
        tables = [str(row[0]) for series in found for row in series.values]
        for table in tables:
            select = f"FROM {quoted(table)}"
            counted, newest = self._client.query(
                f"SELECT COUNT(*) {select}; SELECT * {select} ORDER BY time DESC LIMIT 1",
                context,
                database=name,
            )
            # A count of each field: rows that lack all fields but one are counted by that one.
            rows = [max(each or 0 for each in row[1:]) for s in counted for row in s.values]
            times = [datetime.fromtimestamp(row[0], UTC) for s in newest for row in s.values]
            yield TableStats(
                table,
                sum(rows),
                last_write=max(times, default=None),
                is_telemetry=table == _TELEMETRY,
            )


def _retention(policies: Sequence[Series]) -> int | Unknown | None:
    """Return the duration of the default policy in seconds; None where it has no end."""
    try:
        return seconds(_default(policies)["duration"]) or None
    except Refused:
        return UNKNOWN


def _default(policies: Sequence[Series]) -> dict[str, Any]:
    """Return the default policy, to which everything is written that names no other."""
    for series in policies:
        for row in series.values:
            policy: dict[str, Any] = dict(zip(series.columns, row, strict=True))
            if policy["default"]:
                return policy
    raise Refused("it has no default retention policy")


def _shard(period: int | None) -> int:
    """Return how long a shard is, as the server itself would choose it."""
    if period is not None and period < 2 * _DAY:
        return _HOUR
    return _DAY if period is not None and period <= 180 * _DAY else 7 * _DAY
