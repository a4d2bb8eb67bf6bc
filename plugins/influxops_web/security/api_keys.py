"""Operators' tokens: created, listed and revoked; only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Any

from influxops_postgres.connection.commit import confirmed
from influxops_web.db.connect import Connection, DatabaseLocation

#: How a token begins, so that it is recognised where it has got lost.
PREFIX = "iop_"


LIST = """
SELECT id, role, name, created_at, created_by, expires_at, revoked_at FROM {operator_tokens}
 ORDER BY id
"""
REVOKE = "UPDATE {operator_tokens} SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s"


class Role(StrEnum):
    """What an operator may do."""

    OPERATOR = "operator"  # reads
    ADMIN = "operator_admin"  # writes


def digest(token: str) -> bytes:
    """Return what is stored of a token.

    32 random bytes cannot be guessed, so a plain hash is enough; the time that a lookup by hash
    takes says nothing about other tokens.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def create(
    connection: Connection,
    location: DatabaseLocation,
    role: Role,
    name: str,
    ttl: float | None,
) -> tuple[int, str]:
    """Create a token with its owner's name, for the audit log; it lasts `ttl` seconds, or for ever.

    It is returned with its id, and cannot be read again.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    with confirmed(connection):
        row = connection.execute(
            location.sql(
                "INSERT INTO {operator_tokens} (hash, role, name, expires_at) "
                "VALUES (%s, %s, %s, now() + make_interval(secs => %s)) RETURNING id"
            ),
            [digest(token), role.value, name, ttl],
        ).fetchone()
    assert row is not None, "it returns the row"
    return int(row["id"]), token


def tokens(connection: Connection, location: DatabaseLocation) -> list[dict[str, Any]]:
    """Return all tokens, the oldest first; never the tokens themselves."""
    return connection.execute(location.sql(LIST)).fetchall()


def revoke(connection: Connection, location: DatabaseLocation, number: int) -> bool:
    """Revoke a token, if there is one, and with it all sessions that were begun with it."""
    with confirmed(connection):
        return connection.execute(location.sql(REVOKE), {"id": number}).rowcount == 1
