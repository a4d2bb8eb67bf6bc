"""Runs that are ended while a server hangs: nobody waits for what nobody wants any more."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli, ended
from tests.integration.proxy import Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: Seconds that a run may take to end: two, and some for a busy machine; a read timeout is 10.
SOON = 4


class _Hanging:
    """Holds all requests whose path has a text in it, from the first one on, until let go."""

    def __init__(self, text: str, method: str = "") -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()
        self._text, self._method = text, method

    def __call__(self, seen: Seen) -> None:
        if self._text in seen.path and self._method in seen.method:
            self.reached.set()
            self.let_go.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["ensure", "plan", "status", "doctor"])
@pytest.mark.parametrize("hangs", ["/ping", "/query_sql"])
def test_a_run_that_reads_from_a_server_that_hangs_ends_at_once(
    cli: Cli,
    db: TestDatabase,
    influx: Influx,
    proxied: StartProxy,
    hangs: str,
    command: str,
    number: int,
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    proxy.before = held = _Hanging(hangs)
    try:
        with cli.running(command, env={"INFLUXDB_URL": proxy.url}) as process:
            assert held.reached.wait(30)
            begin = time.monotonic()
            process.send_signal(number)
            done = ended(process)
            assert time.monotonic() - begin < SOON
    finally:
        held.let_go.set()
    assert done.code == 130, done.all
    assert "Traceback" not in done.all
    assert proxy.writes == []


def test_counting_that_hangs_is_ended_with_what_is_known(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    influx.write("telemetry_acme", "telemetry,device=d1 value=1i")
    proxy = proxied(influx)
    queries: list[Seen] = []
    held = _Hanging("/query_sql")

    def before(seen: Seen) -> None:
        if "/query_sql" in seen.path:
            queries.append(seen)
            if len(queries) > 1:  # the first is the inventory
                held(seen)

    proxy.before = before
    try:
        with cli.running("status", env={"INFLUXDB_URL": proxy.url}) as process:
            assert held.reached.wait(30)
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            done = ended(process)
            assert time.monotonic() - begin < SOON
    finally:
        held.let_go.set()
    assert "telemetry_acme" in done.out


def test_a_run_that_is_interrupted_while_a_write_hangs_reports_and_is_gone(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("t1", "t2", "t3", "t4")
    proxy = proxied(influx)
    proxy.before = held = _Hanging("/write_lp")
    try:
        with cli.running("ensure", env={"INFLUXDB_URL": proxy.url}) as process:
            assert held.reached.wait(30)
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            done = ended(process)
            assert time.monotonic() - begin < SOON
    finally:
        held.let_go.set()
    assert done.code == 130
    assert len([line for line in done.lines if line.startswith("ERR telemetry_t")]) == 4
    assert len(proxy.writes) <= 2, "those in flight; nothing is sent again behind the report"


@pytest.mark.stand_in
def test_a_server_that_is_stopped_ends_neither_an_interrupt_nor_a_deadline(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=3)
    assert server.stand_in is not None
    server.stand_in.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        done = cli("ensure", "--timeout", "2s", env=server.environment)
        assert time.monotonic() - begin < 2 + SOON
        assert done.code == 1
        assert "no answer within" in done.all
        assert "10 s" not in done.all
        assert "--timeout" in done.all
    finally:
        server.stand_in.process.send_signal(signal.SIGCONT)
