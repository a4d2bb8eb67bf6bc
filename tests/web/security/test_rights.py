"""The role for the service in docs/service.md: it can do what the service does, and no more."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase, new_database
from tests.web.conftest import REGISTRY, Web, install, serving, write_config

pytestmark = pytest.mark.stand_in

TEXT = (Path(__file__).parents[3] / "docs" / "service.md").read_text()
(GRANTS,) = re.findall(r"```sql\n(.*?)```", TEXT, flags=re.DOTALL)


def rights() -> Iterator[tuple[str, str]]:
    """Each right on the service's own tables: `SELECT`, and the table."""
    for given, tables in re.findall(r"GRANT (.*) ON (?!SCHEMA)(.*) TO service", GRANTS):
        for table in tables.split(", "):
            if "." not in table:
                for right, columns in re.findall(r"([A-Z]+)(?: \((.*?)\))?", given):
                    for column in columns.split(", "):
                        yield (f"{right} ({column})" if column else right), table


@dataclass
class Narrow:
    """A service whose role has the documented rights, and its database as other roles see it."""

    web: Web
    superuser: psycopg.Connection
    conninfo: str  # of the service's role
    role: sql.Identifier
    _numbers: Iterator[int] = field(default_factory=count)

    def failures(self) -> Iterator[str]:
        """Use all that the service has, and yield what does not work."""
        web, tenant = self.web, f"t{next(self._numbers)}"
        for method, path, body in (
            ("POST", "/operator/tenants", {"tenant_id": tenant, "name": "x"}),
            ("GET", f"/operator/tenants?search={tenant}", None),
            ("GET", f"/operator/tenants/{tenant}", None),
            ("PATCH", f"/operator/tenants/{tenant}", {"name": "y", "status": "active"}),
            ("GET", f"/operator/tenants/{tenant}/stats", None),
            ("POST", f"/operator/tenants/{tenant}/ensure", None),
            ("POST", "/api/admin/devices", {"tenant_id": tenant, "device_id": tenant}),
            *(
                ("GET", path, None)
                for path in ("/operator/fleet", "/readyz", "/metrics", "/", "/fleet", "/create")
            ),
            *(("GET", path, None) for path in ("/due", "/tokens", "/audit", "/runs")),
            ("GET", f"/tenant?id={tenant}", None),
        ):
            given: dict[str, Any] = {} if body is None else {"json": body}
            answer = web.ask(method, path, **given)
            if answer.status >= 400:
                yield f"{method} {path}: {answer.status} {answer.data[:300]!r}"
        # A token that nobody uses; and a tenant, which the ledger's role may write about.
        for path in ("/tokens/2/revoke", "/tenant/retire"):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = web.ask("POST", path, headers=form, body=f"id={tenant}")
            if answer.status >= 400:
                yield f"POST {path}: {answer.status} {answer.data[:300]!r}"
        if "permission denied" in web.logged():
            yield web.logged()
            web.log.write_text("")
        checks = web.cli("doctor", "--format", "json").json["checks"]
        yield from (str(each) for each in checks if each["ok"] is False)


@pytest.fixture(scope="module")
def narrow(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, module_influx: Influx
) -> Iterator[Narrow]:
    with new_database(postgres) as db, contextlib.ExitStack() as stack:
        db.execute(REGISTRY)
        owner = Cli(tmp_path_factory.mktemp("rights"), {"DSN": db.conninfo})
        write_config(owner, module_influx.url, "[web]\ntimeout = 20.0\n")
        admin, reader = install(owner)
        superuser = stack.enter_context(psycopg.connect(db.superuser_conninfo, autocommit=True))
        name = f"service_{db.name}"
        role = sql.Identifier(name)
        stack.callback(_drop, superuser, role)
        _grant(superuser, db, name)
        conninfo = make_conninfo(db.conninfo, user=name, password="secret")
        cli = Cli(owner.folder, {"DSN": conninfo})
        with serving(cli, db, module_influx, admin, reader) as web:
            yield Narrow(web, superuser, conninfo, role)


def _grant(superuser: psycopg.Connection, db: TestDatabase, name: str) -> None:
    """Run what the documentation shows, where others may do nothing by default."""
    database = sql.Identifier(db.name)
    superuser.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    superuser.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    superuser.execute(re.sub(r"\bservice\b", name, GRANTS).encode())
    connect = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
    superuser.execute(connect.format(database, sql.Identifier(name)))


def _drop(superuser: psycopg.Connection, role: sql.Identifier) -> None:
    superuser.execute(sql.SQL("DROP OWNED BY {}").format(role))
    superuser.execute(sql.SQL("DROP ROLE {}").format(role))


def test_the_documented_rights_are_enough(narrow: Narrow) -> None:
    assert [*narrow.failures()] == []


@pytest.mark.parametrize(("right", "table"), [*rights()])
def test_each_documented_right_is_needed(narrow: Narrow, right: str, table: str) -> None:
    named = f"{right} ON {table}"
    narrow.superuser.execute(f"REVOKE {named} FROM {narrow.role.as_string()}".encode())
    try:
        assert next(narrow.failures(), None) is not None
    finally:
        narrow.superuser.execute(f"GRANT {named} TO {narrow.role.as_string()}".encode())


def test_a_missing_right_is_no_database_that_is_away(narrow: Narrow) -> None:
    # The second one cannot be audited, and so is not shown.
    for right, table in (("SELECT", "tenants"), ("INSERT", "operator_audit_log")):
        named = f"{right} ON {table}"
        narrow.superuser.execute(f"REVOKE {named} FROM {narrow.role.as_string()}".encode())
        try:
            answer = narrow.web.ask("GET", "/operator/tenants")
        finally:
            narrow.superuser.execute(f"GRANT {named} TO {narrow.role.as_string()}".encode())
        assert answer.status == 503
        assert json.loads(answer.data)["type"] == "urn:influxops:problem:missing-right"
        assert "Retry-After" not in answer.headers
        assert f"permission denied for table {table}" in narrow.web.logged()
        narrow.web.log.write_text("")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO operator_tokens (hash, role) VALUES ('x', 'operator_admin')",
        "UPDATE operator_tokens SET expires_at = NULL, revoked_at = NULL",
        "UPDATE operator_tokens SET role = 'operator_admin'",
        "UPDATE operator_keys SET value = 'x'",
        "SELECT code_hash FROM device_activation",
        "UPDATE operator_audit_log SET status = 200",
        "DELETE FROM operator_audit_log",
        "DELETE FROM tenants",
        "UPDATE device_registry SET status = 'x'",
        "DELETE FROM device_registry",
        "UPDATE influxops.history SET who = 'x'",
        "DELETE FROM influxops.history",
        "UPDATE influxops.routes SET version = 0",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE influxops.mine (id int)",
        "CREATE SCHEMA mine",
    ],
)
def test_it_may_do_nothing_else(narrow: Narrow, statement: str) -> None:
    with (
        psycopg.connect(narrow.conninfo) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())
