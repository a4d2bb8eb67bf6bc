"""Runs that are ended from outside, at any point: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import PROGRAM, Cli, ended
from tests.integration.proxy import Proxy, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

TENANTS = [f"t{number}" for number in range(1, 6)]
DATABASES = [f"telemetry_{tenant}" for tenant in TENANTS]
RETENTION = {"unmanaged": "", "managed": '[database]\nretention = "30d"\n'}


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """What signals do is seen of processes that have started as a user's do."""
    return replace(cli, forks=False)


class _At:
    """Holds the n-th request that matches, until it is let go, and says when it is there."""

    def __init__(self, number: int, *, writes: bool) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()
        self._number, self._writes = number, writes
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> None:
        if seen.writes or not self._writes:
            with self._lock:
                self._number -= 1
                here = self._number == 0
            if here:
                self.reached.set()
                self.let_go.wait(30)


def _run_until(cli: Cli, proxy: Proxy, at: _At, number: int) -> int:
    """Start a run, and send it a signal once the held request is there."""
    with cli.running("ensure", env={"INFLUXDB_URL": proxy.url}) as process:
        assert at.reached.wait(30)
        process.send_signal(number)
        code = process.wait(30) if number == signal.SIGKILL else 0
        at.let_go.set()
        return code or ended(process).code


def _converged(cli: Cli, influx: Influx) -> None:
    assert cli("ensure", env=influx.environment).code == 0
    assert influx.databases() == DATABASES
    assert [influx.markers(name) for name in DATABASES] == [1] * len(DATABASES)


@pytest.mark.faults
@pytest.mark.parametrize("retention", RETENTION.values(), ids=RETENTION.keys())
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("request_number", [1, 2, 4])
def test_a_run_that_is_killed_and_started_again_converges(
    cli: Cli,
    db: TestDatabase,
    influx: Influx,
    proxied: StartProxy,
    request_number: int,
    when: str,
    retention: str,
) -> None:
    db.registry(*TENANTS)
    cli.config(retention)
    proxy = proxied(influx)
    at = _At(request_number, writes=True)
    if when == "before":
        proxy.before = at
    else:
        proxy.after = at
    assert _run_until(cli, proxy, at, signal.SIGKILL) == -signal.SIGKILL
    _converged(cli, influx)


def test_a_run_that_is_killed_while_reading_has_written_nothing(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry(*TENANTS)
    proxy = proxied(influx)
    proxy.before = at = _At(1, writes=False)
    assert _run_until(cli, proxy, at, signal.SIGKILL) == -signal.SIGKILL
    assert influx.databases() == []
    _converged(cli, influx)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_tells_what_it_did_and_the_next_one_does_the_rest(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy, number: int
) -> None:
    db.registry(*TENANTS)
    proxy = proxied(influx)
    proxy.before = at = _At(3, writes=True)
    with cli.running("ensure", env={"INFLUXDB_URL": proxy.url}) as process:
        assert at.reached.wait(30)
        process.send_signal(number)
        assert process.stderr is not None
        for line in process.stderr:
            if "stopping" in line:
                break
        at.let_go.set()
        done = ended(process)
    assert done.code == 130
    assert "interrupted" in done.out
    made = influx.databases()
    assert 0 < len(made) < len(TENANTS)
    created = [line for line in done.lines if line.startswith("OK")]
    assert created == [f"OK {name}: created" for name in made]
    assert len([line for line in done.lines if line.startswith("ERR telemetry_")]) == 5 - len(made)
    _converged(cli, influx)


def test_a_second_interrupt_ends_a_run_at_once(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry(*TENANTS)
    proxy = proxied(influx)
    proxy.before = at = _At(1, writes=True)
    with cli.running("ensure", env={"INFLUXDB_URL": proxy.url}) as process:
        assert at.reached.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "stopping" in line:
                break
        process.send_signal(signal.SIGINT)
        # By the signal itself, or where Python had not yet come to that, as a shell tells it.
        assert process.wait(10) in (-signal.SIGINT, 128 + signal.SIGINT)
        at.let_go.set()


def test_time_that_is_used_up_ends_a_run_with_what_was_done(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry(*TENANTS)
    proxy = proxied(influx)
    proxy.before = at = _At(3, writes=True)
    start = time.monotonic()
    try:
        done = cli("ensure", "--timeout", "3s", env={"INFLUXDB_URL": proxy.url})
    finally:
        at.let_go.set()
    assert time.monotonic() - start < 3 + 8
    assert done.code == 1
    assert "--timeout" in done.out
    assert set(influx.databases()) <= set(DATABASES)
    _converged(cli, influx)


@pytest.mark.faults
@pytest.mark.stand_in
def test_a_server_that_is_killed_under_a_run_is_told_and_the_next_run_completes(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy, influx: Influx
) -> None:
    db.registry(*TENANTS)
    dying = stand_in(wal_flush_interval="60ms")
    proxy = proxied(dying)
    kills = iter([dying.stand_in])

    def kill(seen: Seen) -> None:
        server = next(kills, None) if len(proxy.writes) == 3 else None
        if server is not None:
            server.kill()

    proxy.before = lambda seen: kill(seen)
    done = cli("ensure", "--timeout", "5s", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 1
    assert not [line for line in done.lines if line.startswith("OK")]
    _converged(cli, influx)


def test_whoever_reads_the_output_may_stop_reading(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [str(PROGRAM), "plan"],
        env=ops.environment(None),
        cwd=ops.folder,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr
