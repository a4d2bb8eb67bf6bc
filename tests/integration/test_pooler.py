"""Every door through a real PgBouncer: it works, and leaves nothing behind for other programs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from influxops import Provisioner
from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli, ended
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase, new_database
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.provisioner.conftest import until
from tests.web.conftest import REGISTRY, install, serving, write_config

#: Connections to the server in each mode: few enough to be shared, and enough for a worker, which
#: keeps its own.
SIZES = {"transaction": 3, "session": 16}

WITHOUT_LEDGER = """
[sources.registry]
kind = "postgres"
dsn = {{env = "DSN"}}
{source}

[targets.eu1]
kind = "influxdb3"
url = "{url}"
"""

#: What a program before may have left on a connection that another one is lent.
_LEFT = """
SELECT current_setting('search_path') <> '"$user", public',
       current_setting('statement_timeout') <> '0',
       current_setting('intervalstyle') <> 'postgres',
       EXISTS (SELECT FROM pg_listening_channels()),
       EXISTS (SELECT FROM pg_prepared_statements),
       EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
       pg_my_temp_schema() <> 0
"""


@dataclass(frozen=True)
class Pooled:
    """A registry, a ledger, a queue and a service behind a PgBouncer."""

    mode: str
    bouncer: PgBouncer
    influx: Influx
    cli: Cli
    admin: str
    reader: str

    @property
    def db(self) -> TestDatabase:
        return self.bouncer.db

    def insert(self, tenant: str) -> None:
        """Register a device of a tenant, as an application does, past the pooler."""
        with psycopg.connect(self.db.conninfo) as connection:
            connection.execute(
                "INSERT INTO device_registry (device_id, tenant_id) VALUES (%s, %s)",
                [f"device of {tenant}", tenant],
            )

    def check_application(self, at_once: int = 1) -> None:
        """See that an application's query works on what the pooler lends, as it was before.

        Args:
            at_once: How many connections it takes at the same time; all of them where nothing of
                influxops is at work, which may need one of them to go on.
        """
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                for _ in range(at_once):
                    application = stack.enter_context(psycopg.connect(self.bouncer.conninfo))
                    application.execute("SELECT count(*) FROM device_registry")
                    assert application.execute(_LEFT).fetchone() == (False,) * 7

    def is_made(self, tenant: str) -> bool:
        return f"telemetry_{tenant}" in self.influx.databases()


@pytest.fixture(scope="module", params=["session", "transaction"])
def pooled(
    request: pytest.FixtureRequest,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pooled]:
    """Ledger, queue and service, all installed through the pooler."""
    mode: str = request.param
    folder = tmp_path_factory.mktemp(mode)
    with (
        new_database(postgres) as db,
        pgbouncer(db, mode, size=SIZES[mode]) as bouncer,
        new_stand_in(max_databases=None) as influx,
    ):
        db.execute(REGISTRY)
        cli = Cli(folder, {"DSN": bouncer.conninfo})
        write_config(cli, influx.url)
        admin, reader = install(cli)
        done = cli("queue", "install", "--trigger")
        assert done.code == 0, done.all
        made = Pooled(mode, bouncer, influx, cli, admin, reader)
        made.check_application()
        yield made


Door = Callable[[Pooled], None]


def installing_again(pooled: Pooled) -> None:
    for command in (("ledger", "install"), ("queue", "install", "--trigger"), ("db", "upgrade")):
        done = pooled.cli(*command)
        assert done.code == 0, done.all
        assert "nothing to do" in done.out


def ensure_with_ledger(pooled: Pooled) -> None:
    pooled.insert("ledger")
    done = pooled.cli("ensure")
    assert done.code == 0, done.all
    assert pooled.is_made("ledger")


def ensure_without_ledger(pooled: Pooled) -> None:
    pooled.insert("bare")
    config = WITHOUT_LEDGER.format(source="", url=pooled.influx.url)
    path = pooled.cli.config(config, "bare.toml")
    done = pooled.cli("--config", str(path), "ensure")
    assert done.code == 0, done.all
    assert "lock" not in done.all
    assert pooled.is_made("bare")


def looking(pooled: Pooled) -> None:
    pooled.cli("ensure")  # records what was made without the ledger
    for command in ("history", "status", "doctor", "plan"):
        done = pooled.cli(command)
        assert done.code == 0, done.all
    done = pooled.cli("ledger", "status")
    assert done.code == 0, done.all


def queue(pooled: Pooled) -> None:
    done = pooled.cli("queue", "status")
    assert done.code == 1, done.all
    assert "no worker is alive" in done.err
    done = pooled.cli("queue", "retry")
    assert done.code == 0, done.all


def tokens(pooled: Pooled) -> None:
    done = pooled.cli("token", "list")
    assert done.code == 0, done.all


def worker(pooled: Pooled) -> None:
    with pooled.cli.running("worker", "--full-run-every", "0") as process:
        if pooled.mode == "transaction":
            done = ended(process)
            assert done.code == 2, done.all
            assert "lends connections by the transaction" in done.err
            assert f"port {pooled.db.server.port}" in done.err
            return
        assert process.stderr is not None
        assert "works for" in process.stderr.readline()
        pooled.insert("hurry")
        until(lambda: pooled.is_made("hurry"))
        pooled.check_application()
        done = pooled.cli("queue", "status")
        assert "workers: 1 alive" in done.out, done.all
        process.send_signal(signal.SIGTERM)
        assert ended(process).code == 0


def serve(pooled: Pooled) -> None:
    with serving(pooled.cli, pooled.db, pooled.influx, pooled.admin, pooled.reader) as web:
        for number in range(7):  # psycopg would prepare a statement that comes for the sixth time
            asked = {"tenant_id": f"web{number}"}
            answer = web.ask("POST", "/operator/tenants", json=asked)
            assert answer.status == 201, answer.data
            answer = web.ask("GET", f"/operator/tenants/web{number}/stats")
            assert answer.status == 200, answer.data
        answer = web.ask("GET", "/operator/fleet")
        assert answer.status == 200, answer.data
        pooled.check_application()
    assert pooled.is_made("web0")


@contextlib.contextmanager
def providing(pooled: Pooled) -> Iterator[Provisioner]:
    before = os.environ.get("DSN")
    os.environ["DSN"] = pooled.bouncer.conninfo
    made = Provisioner.from_config(
        pooled.cli.folder / "influxops.toml", full_runs=None, timeout=10.0
    )
    try:
        yield made
    finally:
        made.close(0.0)
        os.environ.pop("DSN")
        if before is not None:
            os.environ["DSN"] = before


def provisioner(pooled: Pooled) -> None:
    with providing(pooled) as made:
        for number in range(7):
            pooled.insert(f"app{number}")
            assert made.ensure(f"app{number}").status == "created"
        assert made.ensure("app0").status == "existing"
        pooled.check_application()


def provisioner_in_a_transaction(pooled: Pooled) -> None:
    with providing(pooled) as made:
        with psycopg.connect(pooled.bouncer.conninfo, prepare_threshold=None) as connection:
            for number in range(7):
                connection.execute(
                    "INSERT INTO device_registry (device_id, tenant_id) VALUES (%s, %s)",
                    [f"own{number}", f"own{number}"],
                )
                assert made.enqueue(f"own{number}", connection).status == "queued"
                connection.commit()
        pooled.check_application()
    assert pooled.cli("ensure").code == 0
    assert pooled.is_made("own6")


DOORS = [
    installing_again,
    ensure_with_ledger,
    ensure_without_ledger,
    looking,
    queue,
    tokens,
    worker,
    serve,
    provisioner,
    provisioner_in_a_transaction,
]


@pytest.mark.stand_in
@pytest.mark.parametrize("door", DOORS)
def test_every_door_works_through_a_pooler_and_leaves_nothing_behind(
    pooled: Pooled, door: Door
) -> None:
    door(pooled)
    pooled.check_application(at_once=SIZES["transaction"])
