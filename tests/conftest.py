"""What all tests share: PostgreSQL, and InfluxDB 3 or a stand-in for it."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from influxops_devserver import testing
from influxops_devserver.postgres import EmbeddedPostgres
from tests import fork_server
from tests.bench import bench
from tests.integration.command import Cli
from tests.integration.proxy import Proxy, running_proxy
from tests.integration.servers import LOCK, REAL_TOKEN, REAL_URL, Influx, for_one_test, new_stand_in
from tests.outputs import pytest_runtest_makereport
from tests.pg import TestDatabase, installed, new_database, postgres_server

__all__ = ["bench", "pytest_runtest_makereport"]

testing._start = fork_server.start_stand_in

# In the background of a script (`nohup make test &`) these are ignored, and that is inherited by
# every process that a test starts and means to interrupt. A handler is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda number, frame: None)


def pytest_collection_finish() -> None:
    """Keep what is there for the whole session from each collection of garbage."""
    gc.collect()
    gc.freeze()


#: Gives a stand-in of a kind; each call in a test gives another one.
GiveStandIn = Callable[..., Influx]
StartProxy = Callable[[Influx], Proxy]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def db(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    """A database of the test's own; `db.registry(...)` makes its device_registry.

    It is empty, or has what the commands of the mark `installed` do.
    """
    mark = request.node.get_closest_marker("installed")
    with new_database(postgres, *([installed(postgres, *mark.args)] if mark else [])) as database:
        yield database


class _Pool:
    """Stand-ins that are started once a session, and emptied after each test that used them."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._idle: dict[tuple[Any, ...], list[Influx]] = {}

    @contextlib.contextmanager
    def lend(self) -> Iterator[GiveStandIn]:
        lent: list[tuple[tuple[Any, ...], Influx]] = []

        def give(**options: Any) -> Influx:
            key = tuple(sorted(options.items()))
            idle = self._idle.setdefault(key, [])
            server = idle.pop() if idle else self._stack.enter_context(new_stand_in(**options))
            lent.append((key, server))
            return server

        try:
            yield give
        finally:
            for key, server in lent:
                assert server.stand_in is not None
                if server.stand_in.process.poll() is None:
                    server.clean()
                    self._idle[key].append(server)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def _pool() -> Iterator[_Pool]:
    pool = _Pool()
    yield pool
    pool.close()


@pytest.fixture
def stand_in(_pool: _Pool) -> Iterator[GiveStandIn]:
    """Stand-ins; options as `influxops_devserver.testing.running_stand_in` takes them."""
    with _pool.lend() as give:
        yield give


@pytest.fixture
def influx(_pool: _Pool) -> Iterator[Influx]:
    """An InfluxDB 3 with five places: the real one if there is one, else a stand-in."""
    if not REAL_URL:
        with _pool.lend() as give:
            yield give()
        return
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with for_one_test(Influx(REAL_URL.rstrip("/"), REAL_TOKEN), LOCK, session) as server:
        yield server


@pytest.fixture
def proxied() -> Iterator[StartProxy]:
    """Proxies in front of servers; they know the server's token themselves."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(running_proxy(server.url, server.token))


@pytest.fixture
def cli(tmp_path: Path, db: TestDatabase) -> Cli:
    """The command line, with the test's registry in its environment and no InfluxDB's URL yet."""
    return Cli(tmp_path, db.environment)


@pytest.fixture
def ops(cli: Cli, influx: Influx) -> Cli:
    """The command line, with the test's registry and InfluxDB in its environment."""
    return Cli(cli.folder, {**cli.variables, **influx.environment})


def targets_toml(targets: dict[str, Influx | Proxy | str], extra: str = "") -> str:
    """Write a configuration of targets by name; the registry comes from the environment.

    Args:
        targets: Servers, proxies or URLs.
        extra: More TOML, before the targets.
    """
    text = f'{extra}\n[sources.registry]\nkind = "postgres"\n'
    for name, server in targets.items():
        url = server if isinstance(server, str) else server.url
        text += f'\n[targets.{name}]\nkind = "influxdb3"\nurl = "{url}"\n'
    return text
