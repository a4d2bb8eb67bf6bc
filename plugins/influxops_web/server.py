"""Starts the service, and ends it when a signal says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator, Sequence

import click
import uvicorn
from starlette.types import ASGIApp

from influxops.errors import ConfigError, ExitCode
from influxops.plugin.cli import common, configured, say
from influxops_web.app import create_app
from influxops_web.checks import check_database
from influxops_web.security.connections import LimitedProtocol, on_loop_error
from influxops_web.service import Service

#: Seconds that requests under way get when the service is ended.
_GRACE = 10
#: Connections that may wait to be accepted. Where that fails, asyncio tries so often at once.
_BACKLOG = 128
#: Seconds that checking the database before the start may take.
_START = 30.0


def serve(ctx: click.Context, host: str, port: int, proxies: Sequence[str]) -> None:
    """Run the service until a signal ends it, on a free port where that is 0."""
    with configured(ctx, timeout=_START) as (engine, context):
        service = Service(engine, *check_database(engine, context))
    logging.getLogger("influxops").setLevel(_level(ctx))
    with _listening(host, port) as listener:
        app = create_app(service)
        settings = server_settings(app, proxies)
        address, number = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        asyncio.run(_run(_Server(settings), listener, f"http://{shown}:{number}"))
    ctx.exit(ExitCode.OK)


def server_settings(app: ASGIApp, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """Return how uvicorn serves an application behind these proxies."""
    return uvicorn.Config(
        app,
        http=LimitedProtocol,
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=_GRACE,
        lifespan="on",
        ws="none",
    )


def _level(ctx: click.Context) -> int:
    options = common(ctx)
    if options.quiet:
        return logging.ERROR
    return logging.DEBUG if options.verbose > 1 else logging.INFO


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host} port {port} cannot be listened on: {why}",
            hint="choose another one with --host and --port",
        ) from None
    with listener:
        yield listener


class _Server(uvicorn.Server):
    """A server that leaves signals to its caller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def _run(server: _Server, listener: socket.socket, url: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_loop_error)

    def end() -> None:
        if server.should_exit:
            server.force_exit = True
        else:
            say("ending; requests under way are answered", before="influxops: ", err=True)
        server.should_exit = True

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(each, end)
    say(f"listening on {url}")
    await server.serve(sockets=[listener])
