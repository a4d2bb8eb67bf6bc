"""The marker: what says that a database was made for a tenant, to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: The table that says that a database was made for a tenant.
MARKER_TABLE = "_init"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A line ends at a line break; a tag has no other way to hold one.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", ",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\ ", "\r": "\\ "}
)


def marker_time(started: datetime) -> datetime:
    """Return the time of the markers that a run writes: the hour in which it started.

    So the same marker written again, or by two runs that overlap, is one point. It is never a
    fixed old time, which a retention period would hide at once.
    """
    return _EPOCH + (started - _EPOCH) // timedelta(hours=1) * timedelta(hours=1)


def marker(tenant: str, started: datetime) -> str:
    """Return the marker of one tenant, in line protocol: all that influxops writes."""
    tag = f",tenant={tenant.translate(_ESCAPES)}" if tenant else ""
    seconds = int((marker_time(started) - _EPOCH).total_seconds())
    return f"{MARKER_TABLE},source=provisioning{tag} value=1i,initialized=1i {seconds}000000000"
