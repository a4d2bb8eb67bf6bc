"""What a tenant's page asks its server: what the database holds, and how much came when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from influxops.domain.database import Database, DatabaseStats
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.runtime.context import RunContext
from influxops_web.db.queries import THERE, TenantRow
from influxops_web.fleet import Fault, Fleet, ServerStatus, fault_of


class Span(Struct, frozen=True):
    """How far back a chart goes, and how fine it is."""

    key: str
    words: str  # as part of a sentence: "the last 24 hours"
    seconds: int
    step: int  # seconds of one span

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return since when and until when, at whole steps; the last one has just begun."""
        last = int(now.timestamp()) // self.step * self.step + self.step
        return (
            datetime.fromtimestamp(last - self.seconds, UTC),
            datetime.fromtimestamp(last, UTC),
        )


SPANS = {
    span.key: span
    for span in (
        Span("24h", "the last 24 hours", 24 * 3600, 3600),
        Span("7d", "the last 7 days", 7 * 86400, 6 * 3600),
        Span("30d", "the last 30 days", 30 * 86400, 86400),
    )
}


class Contents(Struct, frozen=True):
    """What a server said of one database."""

    exists: bool | None = None  # None where it is unknown
    database: Database = Database()  # as the inventory has it
    retention_fault: str = ""  # why data is not kept as its retention period says
    stats: DatabaseStats = DatabaseStats("")
    activity: Sequence[tuple[datetime, int]] | None = None  # rows of every span; None: not read
    trouble: str = ""  # why something is not known


async def read_contents(fleet: Fleet, target: str, database: str, span: Span) -> Contents:
    """Ask a target for what it holds of a tenant, and for what the chart shows."""
    if target not in fleet.targets:
        return Contents(trouble=f"no target {target} is configured")

    def ask(engine: Engine, context: RunContext) -> Contents:
        return _contents(engine, context, target, database, span)

    found = await fleet.ask(target, ask)
    return Contents(trouble=found) if isinstance(found, str) else found


def fault_now(
    row: TenantRow, contents: Contents | None, doubt: str, servers: Mapping[str, ServerStatus]
) -> Fault | None:
    """Return why a tenant's database is not as the ledger has it, or may be elsewhere (`doubt`)."""
    fault = fault_of(row, servers)
    if contents is None or (fault is not None and fault.word == "replaced"):
        return fault
    if contents.exists is None:
        return Fault("unavailable", contents.trouble) if row.state != State.LOST else None
    is_gone = contents.exists is False or contents.database.is_marked is False
    if is_gone and row.state in THERE and row.state != State.UNCONFIRMED:
        return Fault("missing", f"{row.target} does not have it")
    return Fault("in doubt", doubt) if doubt else None


def _contents(
    engine: Engine, context: RunContext, target: str, database: str, span: Span
) -> Contents:
    handle = engine.target(target)
    found = handle.get_databases([database], context).databases.get(database)
    if found is None:
        return Contents(exists=False)
    fault = handle.capabilities.retention_fault(found.retention)
    stats = engine.describe({target: [database]}, context).get((target, database))
    stats = stats or DatabaseStats(database, message="its target cannot count")
    activity, trouble = None, stats.message
    try:
        since, until = span.bounds(datetime.now(UTC))
        counted = handle.write_activity(database, since, until, span.step, context)
    except InfluxopsError as error:
        trouble = trouble or error.message
    else:
        if counted is not None:
            every = (since + timedelta(seconds=at) for at in range(0, span.seconds, span.step))
            activity = [(begin, counted.get(begin, 0)) for begin in every]
    return Contents(True, found, fault, stats, activity, trouble)
