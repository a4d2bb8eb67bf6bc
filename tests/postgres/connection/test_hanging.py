"""A registry that hangs, under the real command line: Ctrl-C and `--timeout` end the run anyway."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from influxops_devserver.testing import StandIn, running_stand_in
from tests.integration.command import Cli, Result, ended
from tests.pg import TestDatabase

pytestmark = pytest.mark.faults

#: Seconds that are long enough for a busy machine, and shorter than any other limit here.
SOON = 6
#: Seconds until the server's silence, or its own limit, would end a run by itself.
LATE = 30

#: Makes a registry hang; gives what waits until a run hangs, and the variables that lead there.
Hang = Callable[[TestDatabase], AbstractContextManager[tuple[Callable[[], None], dict[str, str]]]]


@contextlib.contextmanager
def silent(db: TestDatabase) -> Iterator[tuple[Callable[[], None], dict[str, str]]]:
    """A server that takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as taken:
        server.settimeout(LATE)

        def wait() -> None:
            connection = taken.enter_context(server.accept()[0])
            connection.settimeout(LATE)
            assert connection.recv(1)  # it has asked for something

        yield wait, {"PG_PORT": str(server.getsockname()[1])}


@contextlib.contextmanager
def locked(db: TestDatabase) -> Iterator[tuple[Callable[[], None], dict[str, str]]]:
    """A table that somebody else has locked."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(db.conninfo) as holder:
        holder.execute("LOCK TABLE device_registry IN ACCESS EXCLUSIVE MODE")

        def count() -> int:
            row = holder.execute(waiting).fetchone()
            return row[0] if row else 0

        def until(number: int) -> None:
            give_up = time.monotonic() + LATE
            while count() != number:
                assert time.monotonic() < give_up

        yield lambda: until(1), {}
        until(0)  # nothing is left waiting on the server


@contextlib.contextmanager
def frozen(
    db: TestDatabase, at: bytes = b"GROUP BY"
) -> Iterator[tuple[Callable[[], None], dict[str, str]]]:
    """A server that goes silent at a statement, also for requests to cancel it."""
    froze = threading.Event()

    def pump(source: socket.socket, sink: socket.socket, stop: bytes | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if froze.is_set() or (stop and stop in data):
                    froze.set()
                    return
                sink.sendall(data)

    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def relay(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                front = server.accept()[0]
                behind = socket.create_connection(("127.0.0.1", db.server.port))
                ends.extend((front, behind))
                for arguments in ((front, behind, at), (behind, front, None)):
                    threads.append(threading.Thread(target=pump, args=arguments))
                    threads[-1].start()

    def wait() -> None:
        assert froze.wait(LATE)

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=relay, args=(server,))
        accepting.start()
        try:
            yield wait, {"PG_PORT": str(server.getsockname()[1])}
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(LATE)
            for end in ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(LATE)
            for end in ends:
                end.close()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def cli(tmp_path: Path, database: TestDatabase, stand_in: StandIn) -> Cli:
    database.registry("acme")
    own = {"INFLUXDB_URL": stand_in.url, "PGCONNECT_TIMEOUT": str(LATE), "PGSSLMODE": "disable"}
    return Cli(tmp_path, {**database.environment, **own})


def interrupted(
    cli: Cli, wait: Callable[[], None], variables: dict[str, str], *command: str
) -> tuple[Result, float]:
    """Send SIGINT to a command as soon as it hangs; give how it ended, and how long that took."""
    with cli.running(*command, env=variables) as process:
        wait()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        result = ended(process)
    return result, time.monotonic() - started


@pytest.mark.parametrize("hang", [silent, locked, frozen])
@pytest.mark.parametrize("command", ["ensure", "doctor"])
def test_ctrl_c_ends_a_run_whose_registry_hangs(
    cli: Cli, database: TestDatabase, hang: Hang, command: str
) -> None:
    with hang(database) as (wait, variables):
        done, seconds = interrupted(cli, wait, variables, command)
    assert done.code == 130, done.all
    assert seconds < SOON


@pytest.mark.parametrize("hang", [silent, locked, frozen])
def test_the_deadline_ends_a_run_whose_registry_hangs(
    cli: Cli, database: TestDatabase, hang: Hang
) -> None:
    with hang(database) as (wait, variables):
        started = time.monotonic()
        with cli.running("ensure", "--timeout", "4s", env=variables) as process:
            wait()
            done = ended(process)
        seconds = time.monotonic() - started
    assert done.code == 1, done.all
    assert "--timeout" in done.out
    assert seconds < 4 + SOON


def test_ctrl_c_ends_a_run_that_waits_for_the_registry_s_lock(
    cli: Cli, database: TestDatabase
) -> None:
    with frozen(database, at=b"pg_is_in_recovery") as (wait, variables):
        done, seconds = interrupted(cli, wait, variables, "ensure")
    assert done.code == 130, done.all
    assert seconds < SOON
