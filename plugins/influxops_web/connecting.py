"""A connection of a command to the service's database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from influxops.context import Context
from influxops_web.place import Place, explained

#: Seconds that connecting may take.
_CONNECT = 5.0


@contextlib.contextmanager
def connected(
    place: Place, context: Context, keywords: Mapping[str, str] | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection in autocommit mode, for as long as the run may take.

    Args:
        place: Where, for messages.
        context: The run; when it ends, what waits ends.
        keywords: What psycopg takes; None for the place's own.

    Raises:
        InfluxopsError: When PostgreSQL complains, in the block too.
        Interrupted: When the run is over.
    """
    arguments: dict[str, Any] = {"connect_timeout": int(_CONNECT)}
    arguments |= {**(place.keywords if keywords is None else keywords), "autocommit": True}
    try:
        connection = context.detached(lambda: psycopg.connect(**arguments))
        with connection, context.ends(connection.cancel_safe):
            yield connection
    except psycopg.Error as error:
        context.check()
        raise explained(error, place) from error
