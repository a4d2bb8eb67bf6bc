"""docs/deployment/roles.sql: each role can do its work, and nothing else."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn
from tests.deployment.prometheus import FILES
from tests.integration.command import Cli
from tests.integration.test_restoring import POSTGRES
from tests.pg import TestDatabase, new_database
from tests.queue.workers import rows, states, until, working
from tests.web.conftest import REGISTRY, install, serving, write_config

pytestmark = pytest.mark.stand_in

ROLES = ("influxops_reader", "influxops_worker", "influxops_service")
#: What a role may not do.
REFUSED = {
    "influxops_reader": (
        "SELECT device_id FROM device_registry",
        "SELECT name FROM tenants",
        "INSERT INTO device_registry (device_id, tenant_id) VALUES ('x', 'x')",
        "SELECT tenant FROM influxops.tenants",
        "SELECT * FROM operator_tokens",
    ),
    "influxops_worker": (
        "SELECT tenant_id FROM device_registry",
        "SELECT tenant_id FROM tenants",
        "SELECT * FROM operator_tokens",
        "DELETE FROM influxops.history",
        "UPDATE influxops.history SET times = 2",
        "DROP TABLE influxops.tenants",
    ),
    "influxops_service": (
        "DELETE FROM tenants",
        "DELETE FROM operator_audit_log",
        "INSERT INTO operator_tokens DEFAULT VALUES",
        "SELECT * FROM device_activation",
        "SELECT * FROM influxops_queue.hints",
        "DELETE FROM influxops.history",
        "CREATE TABLE anything (x int)",
    ),
}


@pytest.fixture
def roles(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Take the roles, which all databases of a server share, away after the test."""
    yield
    with psycopg.connect(postgres.superuser_conninfo(), autocommit=True) as connection:
        for role in ROLES:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def applied(db: TestDatabase) -> None:
    """Run the file as its first lines say."""
    command = [str(POSTGRES / "psql"), "-v", "ON_ERROR_STOP=1", "-q", "-f"]
    done = subprocess.run(
        [*command, str(FILES / "roles.sql"), db.superuser_conninfo],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def granted(db: TestDatabase) -> Iterator[dict[str, str]]:
    """Yield how each role connects; what it has in the database is gone afterwards."""
    applied(db)
    applied(db)  # again, as after an upgrade
    with psycopg.connect(db.superuser_conninfo, autocommit=True) as connection:
        for role in ROLES:
            named = sql.Identifier(role)
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD 'x'").format(named))
        try:
            yield {role: make_conninfo(db.conninfo, user=role, password="x") for role in ROLES}
        finally:
            for role in ROLES:
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def test_each_role_does_its_work_and_no_more(
    tmp_path: Path, postgres: EmbeddedPostgres, roles: None, stand_in: GiveStandIn
) -> None:
    eu1 = stand_in(max_databases=None)
    with new_database(postgres) as db:
        db.execute(REGISTRY)
        owner = Cli(tmp_path, {"DSN": db.conninfo})
        write_config(owner, eu1.url)
        tokens = install(owner)
        assert owner("queue", "install", "--trigger").code == 0
        with granted(db) as dsn:
            # Runs and workers have two connections, the service has one.
            page = (FILES.parent / "deployment.md").read_text()
            (text,) = (block for block in page.split("```") if "READER_DSN" in block)
            folder = tmp_path / "runs"
            folder.mkdir()
            runs = Cli(
                folder,
                {"READER_DSN": dsn["influxops_reader"], "WORKER_DSN": dsn["influxops_worker"]},
            )
            target = f'[targets.eu1]\nkind = "influxdb3"\nurl = "{eu1.url}"\n'
            runs.config(text.removeprefix("toml") + target)
            service = Cli(tmp_path, {"DSN": dsn["influxops_service"]})
            doctor = runs("doctor")
            assert doctor.code == 0, doctor.all
            assert runs("ensure").code == 0
            with (
                working(runs, "--full-run-every", "1h"),
                serving(service, db, eu1, *tokens) as web,
            ):
                for name in ("acme", "beta", "gamma"):
                    answer = web.ask("POST", "/operator/tenants", json={"tenant_id": name})
                    assert answer.status == 201, answer.data
                device = {"tenant_id": "beta", "device_id": "d1"}
                assert web.ask("POST", "/api/admin/devices", json=device).status == 201
                db.execute(
                    "INSERT INTO device_registry (device_id, tenant_id) VALUES ('d2', 'delta')"
                )
                until(lambda: states(db) == {"ready": 4})
            assert runs("retire", "delta", "--allow", "still-registered").code == 0
            assert rows(db, "SELECT count(*) FROM influxops.history WHERE event = 'created'") == [
                (4,)
            ]
            for role, statements in REFUSED.items():
                for statement in statements:
                    with (
                        psycopg.connect(dsn[role]) as connection,
                        pytest.raises(psycopg.errors.InsufficientPrivilege),
                    ):
                        connection.execute(statement.encode())
