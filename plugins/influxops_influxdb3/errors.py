"""What can go wrong with an InfluxDB 3 server, as exceptions.

Each says what was tried, on which database, where, what the server said and what to do::

    influxops.plugin.TargetError
    └── InfluxDBError
        ├── ConnectionFailed    refused, unknown name, TLS, timeout, a connection that broke
        ├── AccessRefused       401, 403; also a TargetAuthError
        ├── NotFound            404: no such database
        ├── AlreadyExists       409
        ├── LimitReached        422
        │   ├── DatabaseLimit   no further database
        │   └── TableLimit      no further table; a write may have made its database all the same
        ├── QueryFileLimit      500 that stays: a query would read more files than it may
        ├── BadRequest          400 and the other 4xx
        ├── ServerFailed        429, 5xx
        │   └── Unreadable      500 that stays: a table that cannot be read
        ├── WrongServer         another server than before; also a TargetAuthError
        └── NotInfluxDB3        HTML, a redirect, another product, another major version
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from influxops.plugin import Hint, TargetAuthError, TargetError

#: What to do where no InfluxDB 3 answers.
CHECK_URL = Hint.setting("url", "check {}: it must be the root of an InfluxDB 3 server")

#: The number is the limit, not what would be read. The second wording is that of older versions.
FILE_LIMIT = re.compile(
    r"query would (?:scan (\d+) .*?exceeding the file limit|exceed file limit(?: of (\d+))?)",
    re.IGNORECASE | re.DOTALL,
)

_TABLES = re.compile(r"\(limit: (\d+)\)")


class Operation(StrEnum):
    """What was tried; the value reads on as "… failed"."""

    PING = "ping"
    LIST = "listing the databases"
    CREATE = "creating"
    SET_RETENTION = "setting the retention period of"
    CLEAR_RETENTION = "clearing the retention period of"
    WRITE = "writing to"
    QUERY = "querying"
    DELETE = "deleting"
    CREATE_TABLE = "making a table in"

    @property
    def changes(self) -> bool:
        """Whether it may change something on the server."""
        return self not in (Operation.PING, Operation.LIST, Operation.QUERY)


class InfluxDBError(TargetError):
    """A request to an InfluxDB 3 server failed.

    The reason can stand alone; the URL and what the server said hold no secrets.
    """

    def __init__(
        self,
        reason: str,
        *,
        operation: Operation,
        url: str,
        database: str | None = None,
        status: int | None = None,
        server_message: str = "",
        hint: str | Hint = "",
    ) -> None:
        what = f"{operation} {database}" if database else str(operation)
        super().__init__(f"{what} on {url} failed: {reason}", hint=hint)
        self.reason = reason
        self.operation = operation
        self.url = url
        self.database = database
        self.status = status
        self.server_message = server_message
        #: The identity of the server that said so; None where none answered.
        self.identity: str | None = None

    @property
    def may_have_applied(self) -> bool:
        """Whether the server may have done it all the same."""
        return False


class ConnectionFailed(InfluxDBError):
    """There was no answer.

    It may have been `sent`, and is `abandoned` where the server may still carry it out; another
    attempt may help where it is `retryable`; it is `partial` where a part of the answer had been
    read already, and `begun` where the answer had.
    """

    def __init__(
        self,
        reason: str,
        *,
        sent: bool = False,
        timed_out: bool = False,
        retryable: bool = True,
        partial: bool = False,
        begun: bool = False,
        abandoned: bool = False,
        **about: Any,
    ) -> None:
        super().__init__(reason, **about)
        self.sent = sent
        self.timed_out = timed_out
        self.retryable = retryable
        self.partial = partial
        self.begun = begun
        self.abandoned = abandoned

    @property
    def may_have_applied(self) -> bool:
        """Whether the server may have done it all the same."""
        return self.sent

    @property
    def is_of_query(self) -> bool:
        """Whether a query ended so again and again: what fails while it is read ends the answer."""
        known = self.timed_out or self.partial
        return self.begun and not known and self.operation is Operation.QUERY


class AccessRefused(InfluxDBError, TargetAuthError):
    """The server refused the token, or its rights."""


class NotFound(InfluxDBError):
    """There is no such database."""


class AlreadyExists(InfluxDBError):
    """It exists already; that says nothing of its retention period."""


class LimitReached(InfluxDBError):
    """The server holds as much as it may."""


class DatabaseLimit(LimitReached):
    """The server takes no further database."""


class TableLimit(LimitReached):
    """The server takes no further table; a write may have made its database all the same."""

    @property
    def limit(self) -> int | None:
        """How many tables the server takes, as it says; None where it does not."""
        number = _TABLES.search(self.server_message)
        return int(number[1]) if number else None


class BadRequest(InfluxDBError):
    """The server does not take what it was sent."""


class ServerFailed(InfluxDBError):
    """The server, or a proxy before it, is unwell or has too much to do."""

    @property
    def is_of_query(self) -> bool:
        """Whether a query ended so, again and again; others may be answered all the same."""
        return self.status == 500 and self.operation is Operation.QUERY

    @property
    def may_have_applied(self) -> bool:
        """Whether the server may have done it all the same: a proxy that gave up cannot know."""
        return self.status in (502, 504)


class Unreadable(ServerFailed):
    """A table cannot be read: the server refuses each such query, while others are answered."""


class QueryFileLimit(InfluxDBError):
    """A query would read more Parquet files than the server lets one query read."""

    @property
    def limit(self) -> int | None:
        """How many files the server lets a query read, as it says; None where it does not."""
        number = FILE_LIMIT.search(self.server_message)
        return int(number[1] or number[2]) if number else None


class WrongServer(InfluxDBError, TargetAuthError):
    """Another server answers than the one that the run began with, or was configured for."""


class NotInfluxDB3(InfluxDBError):
    """What answers there is no InfluxDB 3."""
