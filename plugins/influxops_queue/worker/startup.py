"""Starts a worker, with its health endpoint, and ends it with the run that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import psycopg

from influxops.config.load import Config
from influxops.domain.durations import format_duration
from influxops.errors import ConfigError
from influxops.runtime.context import RunContext
from influxops_postgres import PostgresLedgerSettings
from influxops_queue.worker.health import Health, serve
from influxops_queue.worker.worker import Worker


def run(
    config: Config,
    settings: PostgresLedgerSettings,
    context: RunContext,
    *,
    full_every: float | None,
    listen: tuple[str, int] | None,
    tell: Callable[[str], None],
) -> None:
    """Work until the run is over, with a full run every so many seconds.

    `listen` is the host and port of the health endpoint; each message is a line.
    """
    health = Health()
    server = None
    if listen is not None:
        try:
            server = serve(health, *listen)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror or error}",
                hint="give --listen another address",
            ) from None

    async def work() -> None:
        worker = Worker(config, settings, full_every, health)
        with context.on_end(worker.stop):
            with contextlib.suppress(psycopg.Error):  # it says so itself, and waits
                await worker.check()
            every = f"every {format_duration(int(full_every))}" if full_every else "by others"
            tell(
                f"works for {settings.location().text}, namespace "
                f"{settings.namespace}; full runs {every}"
            )
            if server is not None:
                host, port = server.server_address[:2]
                tell(f"answers on http://{host!s}:{port}/healthz and /metrics")
            await worker.run()

    try:
        with contextlib.suppress(asyncio.CancelledError):  # what would not end in time
            asyncio.run(work())
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
