"""A connection of a command to the service's database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from influxops.errors import InfluxopsError
from influxops.runtime.context import Context
from influxops_postgres.commit import check_run
from influxops_postgres.session import cut
from influxops_web.place import Place, explained

#: Seconds that connecting may take, and the first answer, which a pooler without a free connection
#: never gives.
_CONNECT, _FIRST = 5.0, 30.0
#: Seconds that the server has to take note of a cancellation.
_CANCEL = 1.0


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
    arguments["prepare_threshold"] = None  # a pooler in between may not keep them
    try:
        connection = context.detached(lambda: psycopg.connect(**arguments))

        def abort() -> None:
            _abort(connection)

        with connection:
            with context.ends(abort, within=_FIRST) as ending:
                try:
                    connection.execute("SELECT 1")
                except psycopg.Error as error:
                    context.check()
                    if ending.error is None:
                        raise
                    raise InfluxopsError(
                        f"{place.text}: no answer within {_FIRST:g} s",
                        hint="see whether the server is well; a pooler in between may have no "
                        "free connection",
                    ) from error
            with context.ends(abort):
                yield connection
    except psycopg.Error as error:
        check_run(context, error)
        raise explained(error, place) from error


def _abort(connection: psycopg.Connection[Any]) -> None:
    """End what a connection is at, whether the server answers or not."""
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL)
    cut(connection)
