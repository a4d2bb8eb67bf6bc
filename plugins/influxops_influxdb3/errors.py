"""What can go wrong with an InfluxDB 3 server, as exceptions.

Each tells what was tried, on which database, where, what the server said and what to do::

    influxops.TargetError
    └── InfluxDBError
        ├── ConnectionFailed    refused, unknown name, TLS, timeout, a connection that broke
        ├── AccessRefused       401, 403; also an influxops.TargetRefused
        ├── NotFound            404: no such database
        ├── AlreadyExists       409
        ├── LimitReached        422
        │   ├── DatabaseLimit   no further database
        │   └── TableLimit      no further table; a write may have made its database all the same
        ├── QueryFileLimit      500 that stays: a query would read more files than it may
        ├── BadRequest          400 and the other 4xx
        ├── ServerFailed        429, 5xx
        ├── WrongServer         another server than before; also an influxops.TargetRefused
        └── NotInfluxDB3        HTML, a redirect, another product, another major version
"""

from __future__ import annotations

from enum import StrEnum

from influxops import TargetError, TargetRefused


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

    @property
    def changes(self) -> bool:
        """Whether it may change something on the server."""
        return self not in (Operation.PING, Operation.LIST, Operation.QUERY)


class InfluxDBError(TargetError):
    """A request to an InfluxDB 3 server failed.

    Args:
        reason: Why, in a few words that can stand alone.
        operation: What was tried.
        url: The server's URL, without secrets.
        database: The database that it was about.
        status: The HTTP status, None without an answer.
        server_message: What the server said, shortened, without secrets.
        hint: What to do about it.
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
        hint: str = "",
    ) -> None:
        what = f"{operation} {database}" if database else str(operation)
        super().__init__(f"{what} on {url} failed: {reason}", hint=hint)
        self.reason = reason
        self.operation = operation
        self.url = url
        self.database = database
        self.status = status
        self.server_message = server_message

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same."""
        return False


class ConnectionFailed(InfluxDBError):
    """There was no answer.

    Args:
        reason: Why, in a few words that can stand alone.
        operation: What was tried.
        url: The server's URL, without secrets.
        database: The database that it was about.
        sent: Whether the request may have reached the server.
        hint: What to do about it.
    """

    def __init__(
        self,
        reason: str,
        *,
        operation: Operation,
        url: str,
        database: str | None = None,
        sent: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(reason, operation=operation, url=url, database=database, hint=hint)
        self.sent = sent

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same."""
        return self.sent


class AccessRefused(InfluxDBError, TargetRefused):
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


class BadRequest(InfluxDBError):
    """The server does not take what it was sent."""


class ServerFailed(InfluxDBError):
    """The server, or a proxy before it, is unwell or has too much to do."""

    @property
    def answer_lost(self) -> bool:
        """Whether the server may have done it all the same: a proxy that gave up cannot know."""
        return self.status in (502, 504)


class QueryFileLimit(InfluxDBError):
    """A query would read more Parquet files than the server lets one query read."""


class WrongServer(InfluxDBError, TargetRefused):
    """Another server answers than the one that the run began with, or was configured for."""


class NotInfluxDB3(InfluxDBError):
    """What answers there is no InfluxDB 3."""
