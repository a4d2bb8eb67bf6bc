"""Clients that say nothing or half a header: they end in time, and keep nobody out."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.integration.silent import (
    PATIENCE,
    all_ended,
    has_ended,
    is_healthy,
    processor_time,
    script,
    silent_clients,
)
from tests.pg import new_database
from tests.provisioner.conftest import until
from tests.web.conftest import install, serving, write_config

pytestmark = pytest.mark.stand_in

#: Makes what comes after it open few files, and wait for a header for no more than a moment.
LIMITS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
from influxops_web.security import connections
connections.HEADER = {header}
"""
SERVES = """
import asyncio, sys
from influxops_web import server

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            await send({"type": (await receive())["type"] + ".complete"})
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})

with server._listening("127.0.0.1", 0) as listener:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    asyncio.run(server._run(server._Server(server.server_settings(app)), listener, url))
"""


def test_silent_clients_end_and_keep_nobody_out_of_the_service(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    with new_database(postgres) as db:
        db.registry()
        cli = Cli(tmp_path, {"DSN": db.conninfo, "PYTHONPATH": str(tmp_path)})
        write_config(cli, module_influx.url)
        admin, reader = install(cli)
        (tmp_path / "sitecustomize.py").write_text(LIMITS.format(files=256, header=1.0))
        with serving(cli, db, module_influx, admin, reader) as web:
            for _ in range(2):
                with silent_clients(web.url, 300) as clients:
                    assert is_healthy(web.url)
                    assert all_ended(clients)
            assert "more than 128 connections" in web.logged()
            assert "cannot be accepted" not in web.logged()
            assert web.ask("POST", "/operator/tenants", json={"tenant_id": "a"}).status == 201


def test_a_header_that_comes_byte_by_byte_has_no_more_time(tmp_path: Path) -> None:
    text = LIMITS.format(files=256, header=0.5) + SERVES
    with (
        script(text, tmp_path / "log") as (_, url),
        silent_clients(url, 1) as (first,),
        silent_clients(url, 1) as (slow,),
    ):
        with contextlib.suppress(OSError):
            slow.sendall(b"GET / HTTP/1.1\r\nX: ")
            while not has_ended(first, 0.01):  # which came before it, and was silent
                slow.sendall(b"x")
        assert has_ended(slow, PATIENCE)


def test_the_next_header_on_a_connection_has_no_more_time_than_the_first(tmp_path: Path) -> None:
    text = LIMITS.format(files=256, header=0.5) + SERVES
    with script(text, tmp_path / "log") as (_, url), silent_clients(url, 1) as (client,):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        client.sendall(b"GET / HT")
        assert has_ended(client, PATIENCE)


def test_a_request_whose_body_takes_longer_than_a_header_may_is_answered(tmp_path: Path) -> None:
    text = LIMITS.format(files=256, header=0.5) + SERVES
    with script(text, tmp_path / "log") as (_, url), silent_clients(url, 1) as (client,):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        with silent_clients(url, 1) as (silent,):
            assert has_ended(silent, PATIENCE)  # so the time of a header is over
        client.sendall(b"hello")
        assert b"200 OK" in client.recv(4096)


def test_that_no_connection_can_be_accepted_is_a_line_of_the_log_and_passes(
    tmp_path: Path,
) -> None:
    more = "connections.most_connections = lambda: 10_000\n"
    log = tmp_path / "log"
    with script(LIMITS.format(files=64, header=2.0) + more + SERVES, log) as (process, url):
        with silent_clients(url, 100) as clients:
            until(lambda: "no connection can be accepted" in log.read_text())
            began = processor_time(process.pid)
            assert all_ended(clients)
            assert is_healthy(url)
            assert processor_time(process.pid) - began < 2
        assert process.poll() is None
        assert log.read_text().count("no connection can be accepted") <= 2
        assert "Traceback" not in log.read_text()


def test_a_client_that_asks_is_answered_while_as_many_as_there_may_be_say_nothing(
    tmp_path: Path,
) -> None:
    text = LIMITS.format(files=100, header=60.0) + SERVES
    with script(text, tmp_path / "log") as (_, url), silent_clients(url, 200) as clients:
        assert is_healthy(url)
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in client.recv(4096)
        assert sum(has_ended(each) for each in clients) >= 150
