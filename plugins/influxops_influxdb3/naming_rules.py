"""What InfluxDB 3 takes: names of databases, tenants as tags, retention periods; its releases."""

from __future__ import annotations

import re

#: The server's own limit (`MAXIMUM_DATABASE_NAME_LENGTH` of its HTTP server, 3.10).
_LONGEST_NAME = 511
_NAME = re.compile(r"[A-Za-z0-9_-]*")
#: The first release that tells when deleted databases go, and that keeps retention periods.
OLDEST_RELEASE = "3.2.1"
#: In seconds: what its documentation says, and 64 bits of nanoseconds, signed, in whole days.
RETENTION_LIMITS = 3600, 106_751 * 86_400


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
    if any(ord(c) < 32 or ord(c) == 127 for c in tenant):
        return "holds a control character, which a tag of InfluxDB cannot hold"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in tenant):
        return "holds half of a character (a lone surrogate), which has no UTF-8"
    return ""
