"""What InfluxDB 3 takes: names, tenants as tags of a marker, retention periods; its releases."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

#: The server's own limit (`MAXIMUM_DATABASE_NAME_LENGTH` of its HTTP server, 3.10).
_LONGEST_NAME = 511
_NAME = re.compile(r"[A-Za-z0-9_-]*")
#: What a tag cannot hold: a control character, half of a character.
_CONTROL, _SURROGATE = re.compile(r"[\x00-\x1f\x7f]"), re.compile("[\ud800-\udfff]")
#: The first release that tells when deleted databases go, and that keeps retention periods.
OLDEST_RELEASE = "3.2.1"
#: In seconds: what its documentation says, and 64 bits of nanoseconds, signed, in whole days.
RETENTION_LIMITS = 3600, 106_751 * 86_400
#: Tables that InfluxDB 3 Core holds by default, in all databases together.
CORE_TABLES = 2_000
#: The table that says that a database was made for a tenant.
MARKER_TABLE = "_init"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A line ends at a line break; a tag has no other way to hold one.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", ",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\ ", "\r": "\\ "}
)


def name_rule(name: str) -> str:
    """Return which of the server's rules a database name breaks; empty where it is valid.

    The rules are those that InfluxDB 3 checks at each write. A slash is refused as well,
    although the server takes it: it reads what follows as a retention policy, so that `a/b`
    would be a part of the database `a`.
    """
    if not name:
        return "is empty"
    if "/" in name:
        return "holds a slash, which InfluxDB would take for a retention policy"
    if not name[0].isascii() or not name[0].isalnum():
        return "does not start with an ASCII letter or digit"
    if not _NAME.fullmatch(name):
        return "holds something else than ASCII letters, digits, underscores and hyphens"
    if len(name) > _LONGEST_NAME:
        return f"has {len(name)} characters, more than the {_LONGEST_NAME} that InfluxDB takes"
    return ""


def tenant_rule(tenant: str) -> str:
    """Return why a tenant's id cannot be the tag of a marker; empty where it can."""
    if tenant.endswith("\\"):
        return "ends with a backslash, which a tag of InfluxDB cannot hold"
    if _CONTROL.search(tenant):
        return "holds a control character, which a tag of InfluxDB cannot hold"
    if not tenant.isascii() and _SURROGATE.search(tenant):
        return "holds half of a character (a lone surrogate), which has no UTF-8"
    return ""


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
