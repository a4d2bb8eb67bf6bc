"""How much a tenant wrote over time: one query, whose answer does not grow with the rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from influxops.plugin import Context
from influxops_influxdb3.errors import BadRequest
from influxops_influxdb3.target import NO_TABLE, TELEMETRY_TABLE, read_timestamp

if TYPE_CHECKING:
    from influxops_influxdb3.client import Client

#: `date_bin` begins its spans at multiples of the interval since 1970.
_ACTIVITY = (
    "SELECT date_bin(INTERVAL '{step} seconds', time) AS span, COUNT(*) AS count "
    f"FROM {TELEMETRY_TABLE} WHERE time >= '{{since}}' AND time < '{{until}}' GROUP BY 1"
)


def activity(
    client: Client, name: str, since: datetime, until: datetime, step: int, context: Context
) -> list[tuple[datetime, int]]:
    """Count the rows of telemetry of each span of time.

    Args:
        client: The server.
        name: The database.
        since: The oldest time that counts, to the second.
        until: The first time that does not count any more.
        step: Seconds of one span.
        context: The run.

    Returns:
        When each span that has rows begins, and how many there are.

    Raises:
        TargetError: When it could not be read.
    """
    sql = _ACTIVITY.format(step=int(step), since=_literal(since), until=_literal(until))
    try:
        rows = client.query(context, name, sql)
    except BadRequest as error:
        if NO_TABLE.search(error.server_message):
            return []
        raise
    spans = ((read_timestamp(row.get("span")), int(row.get("count", 0))) for row in rows)
    return [(span, count) for span, count in spans if span is not None]


def _literal(time: datetime) -> str:
    """Return a time as a query has it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
