"""What a run costs as tenants become more: counted, so that no clock decides."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import pytest

from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext
from influxops_devserver.postgres import EmbeddedPostgres
from tests.golden.statements import LOGGING, SqlLog
from tests.influxdb3.double import Double, Held
from tests.integration.command import STUCK, Cli
from tests.line_proxy import line_proxy
from tests.pg import TestDatabase, new_database, postgres_server

CONFIG = """
[sources.registry]
kind = "postgres"
[targets.eu1]
kind = "influxdb3"
url = "{}"
capacity = "unlimited"
"""
LEDGER = '[ledger]\nkind = "postgres"\n'
#: Tells the most memory that this process had; the figure of a child would be its parent's, too.
PEAK = """
import sys
from influxops.cli.main import run
code = run(sys.argv[1:])
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("peak", peak, file=sys.stderr)
sys.exit(code)
"""
MORE: LiteralString = (
    "INSERT INTO device_registry (tenant_id) SELECT 't' || lpad(n::text, 6, '0') "
    "FROM generate_series((SELECT count(*) FROM device_registry), {} - 1) n"
)


@pytest.fixture(scope="module")
def logging_postgres() -> Iterator[EmbeddedPostgres]:
    with postgres_server(LOGGING) as server:
        yield server


@pytest.fixture
def registry(logging_postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    with new_database(logging_postgres) as db:
        db.registry()
        yield db


@pytest.fixture
def server() -> Iterator[Double]:
    double = Double()
    double.edition, double.max_databases, double.max_tables = "Enterprise", 10**6, 10**6
    yield double
    double.stop()


@pytest.fixture
def cli(registry: TestDatabase, server: Double, tmp_path: Path) -> Cli:
    """The command line with a registry and a server that all tests of this file count at."""
    cli = Cli(tmp_path, registry.environment)
    cli.config(CONFIG.format(server.url))
    return cli


def grow(registry: TestDatabase, server: Double, tenants: int, present: int) -> None:
    """Let there be so many tenants, and the databases of the first ones."""
    registry.execute(MORE.format(tenants))
    names = (f"telemetry_t{number:06}" for number in range(present))
    server.databases |= {name: Held(tables={"_init"}) for name in names}


def counted(cli: Cli, registry: TestDatabase, server: Double, ledger: str) -> SqlLog:
    """Let runs have a ledger, or none, and give the log of all statements."""
    cli.config(CONFIG.format(server.url) + ledger)
    if ledger:
        assert cli("ledger", "install").code == 0
    return SqlLog(registry.server, registry.name)


@pytest.mark.parametrize("ledger", ["", LEDGER], ids=["no-ledger", "ledger"])
def test_requests_and_statements_do_not_grow_with_what_is_right(
    cli: Cli, registry: TestDatabase, server: Double, ledger: str
) -> None:
    log = counted(cli, registry, server, ledger)
    costs = []
    for tenants in (100, 2_000):
        grow(registry, server, tenants, tenants)
        assert cli("ensure").code == 0  # records them
        log.skip()
        server.asked.clear()
        assert cli("ensure").code == 0
        sent = sum(len(asked.body) for asked in server.asked)
        costs.append((len(server.asked), sent, len(log.statements())))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("ledger", ["", LEDGER], ids=["no-ledger", "ledger"])
def test_a_missing_database_is_one_request_and_no_statement_of_its_own(
    cli: Cli, registry: TestDatabase, server: Double, ledger: str
) -> None:
    log = counted(cli, registry, server, ledger)
    requests, statements = [], []
    for tenants in (20, 220):  # 20 are missing, and then 200
        grow(registry, server, tenants, 0)
        log.skip()
        server.asked.clear()
        assert cli("ensure").code == 0
        requests.append(len(server.asked))
        statements.append(len(log.statements()))
    assert requests[1] - requests[0] == 200 - 20
    assert statements[1] <= statements[0]  # the first run has the source recorded, too


@pytest.mark.parametrize(("ledger", "rows"), [("", 30), (LEDGER, 260)], ids=["no-ledger", "ledger"])
def test_the_bytes_that_are_read_grow_with_tenants_and_no_faster(
    cli: Cli, registry: TestDatabase, server: Double, ledger: str, rows: int
) -> None:
    counted(cli, registry, server, ledger)
    sizes, given = [], list[int]()
    with line_proxy(registry.server.port) as proxy:
        proxy.on_answer = lambda data: given.append(len(data))
        for tenants in (500, 1_500):
            grow(registry, server, tenants, tenants)
            assert not ledger or cli("ensure").code == 0  # records them
            server.answered = 0
            given.clear()
            assert cli("ensure", env={"PG_PORT": str(proxy.port)}).code == 0
            sizes.append((server.answered, sum(given)))
    print(sizes)  # noqa: T201
    for (few, many), most in zip(zip(*sizes, strict=True), (100, rows), strict=True):
        assert 10 < (many - few) / 1_000 < most
        assert many <= 3 * few


@pytest.mark.parametrize("ledger", ["", LEDGER], ids=["no-ledger", "ledger"])
def test_what_a_run_has_read_is_gone_before_it_is_told(
    cli: Cli,
    registry: TestDatabase,
    server: Double,
    ledger: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted(cli, registry, server, ledger)
    grow(registry, server, 20, 10)
    for name, value in registry.environment.items():
        monkeypatch.setenv(name, value)

    def states() -> set[int]:
        return {id(each) for each in gc.get_objects() if type(each) is RunState}

    gc.collect()
    before = states()
    gc.disable()  # it finds cycles only now and then
    try:
        with Engine(load_config(cli.folder / "influxops.toml")) as engine:
            report = engine.run(Ensure(), RunContext(STUCK), tell=False)
            left = states() - before
    finally:
        gc.enable()
    assert len(report.changed) == 10
    assert not left


@pytest.mark.parametrize(
    ("arguments", "most"),
    [(("plan",), 1_000), (("plan", "--format", "json"), 1_000)],
    ids=["text", "json"],
)
def test_a_tenant_takes_little_memory(
    cli: Cli, registry: TestDatabase, server: Double, arguments: tuple[str, ...], most: int
) -> None:
    peaks = []
    for tenants in (10_000, 30_000):
        grow(registry, server, tenants, tenants)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments],
            env=replace(cli, forks=False).environment(None),
            cwd=cli.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=STUCK,
            check=True,
        )
        peaks.append(int(done.stderr.split()[-1]) * 1024)
    assert (peaks[1] - peaks[0]) / 20_000 < most
