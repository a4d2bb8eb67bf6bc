"""A database that is gone and that a client's write has created again, at each command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.earlier import ledger_of_version
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\nmass_change = 1.0\n'
TENANTS = ("acme", "beta", "gamma")


@pytest.fixture
def kept(cli: Cli, db: TestDatabase) -> Cli:
    db.registry(*TENANTS)
    return cli


@pytest.fixture
def lost(
    request: pytest.FixtureRequest, kept: Cli, stand_in: GiveStandIn, tmp_path: Path
) -> Iterator[Influx]:
    """Give a server on which a client has created acme's database again, and that is allowed."""
    if getattr(request, "param", "deleted by hand") == "deleted by hand":
        server = stand_in(max_databases=None)
        install(kept, server)
        server.drop("telemetry_acme")
        write(server)
        yield server
        return
    with running_stand_in(data_dir=tmp_path / "first", wal_flush_interval="50ms") as first:
        install(kept, Influx(first.url))
        first.kill()
    folder = tmp_path / "second"
    with running_stand_in(data_dir=folder, port=first.port, wal_flush_interval="50ms") as second:
        server = Influx(second.url)
        write(server)
        assert kept("ensure").code == 4
        assert kept("ensure", "--allow", "replaced-server").code == 1
        yield server


def install(cli: Cli, server: Influx) -> None:
    cli.config(targets_toml({"eu1": server}, LEDGER))
    done = cli("ensure")
    assert done.code == 0, done.all


def write(server: Influx, database: str = "telemetry_acme") -> None:
    """Write as a client does: InfluxDB makes the database."""
    now = int(datetime.now(UTC).timestamp()) * 10**9
    lines = "\n".join(f"telemetry,device=d1 temperature=21.5 {now + n}" for n in range(7))
    server.write(database, lines)


def unmarked(server: Influx) -> bool:
    tables = server.rows(
        "_internal",
        "SELECT table_name FROM system.tables WHERE database_name = 'telemetry_acme' "
        "AND table_name = '_init' AND deleted = false",
    )
    return not tables


def states(db: TestDatabase) -> dict[str, str]:
    with psycopg.connect(db.conninfo) as connection:
        return dict(connection.execute("SELECT tenant, state FROM influxops.tenants").fetchall())


def events(cli: Cli) -> list[str]:
    return [line.split()[2] for line in cli("history", "acme").lines]


@pytest.mark.parametrize("lost", ["deleted by hand", "another server"], indirect=True)
def test_each_command_says_so_and_none_touches_it(
    kept: Cli, db: TestDatabase, lost: Influx
) -> None:
    for command in (["plan"], ["ensure"], ["ensure", "acme"]):
        done = kept(*command)
        assert done.code == 1, done.all
        assert "a client has created another one of that name on eu1" in done.out
        assert "it holds 7 rows in telemetry, last written" in done.out
        assert "influxops adopt acme takes what clients have written since" in done.out
    assert states(db)["acme"] == "lost"
    assert events(kept) == ["created", "recreated"]
    status = kept("status", "acme")
    assert (status.code, "a client has created another one" in status.err) == (1, True)
    assert kept("status", "acme", "--format", "json").json["tenants"][0]["exists"] is False
    where = kept("where", "acme")
    assert (where.code, "a client has created another one" in where.err) == (1, True)
    assert kept("where", "acme", "--format", "json").json["exists"] is False
    assert kept("where", "acme", "--recorded").code == 1
    moved = kept("move", "acme", "--to", "eu1")
    assert moved.code == 1
    for allowed in ("recreate-lost", "drop"):
        assert kept("ensure", "acme", "--allow", allowed).code != 0
    assert unmarked(lost)


def test_adopting_the_tenant_takes_it(kept: Cli, db: TestDatabase, lost: Influx) -> None:
    kept("ensure")
    done = kept("adopt", "acme")
    assert done.code == 0, done.all
    assert "OK telemetry_acme: adopted, marker added" in done.out
    assert lost.markers("telemetry_acme") == 1
    assert lost.rows("telemetry_acme", "SELECT count(*) AS n FROM telemetry") == [{"n": 7}]
    assert states(db)["acme"] == "ready"
    assert events(kept) == ["created", "recreated", "adopted", "completed"]
    assert kept("ensure", "acme").code == 0
    assert kept("adopt", "acme").code == 0  # it is the tenant's already


@pytest.mark.parametrize(
    ("lost", "how"),
    [("deleted by hand", ["--recreate", "acme"]), ("another server", ["--allow", "recreate-lost"])],
    indirect=["lost"],
)
def test_an_empty_one_takes_two_decisions(
    kept: Cli, db: TestDatabase, lost: Influx, how: list[str]
) -> None:
    kept("ensure")
    half = kept("ensure", "acme", *how)
    assert half.code == 4
    assert "refused by the guard drop" in half.out
    assert unmarked(lost)
    done = kept("ensure", "acme", *how, "--allow", "drop")
    assert done.code == 0, done.all
    assert "OK telemetry_acme: dropped (data until " in done.out
    assert "), created" in done.out
    tables = lost.rows(
        "_internal",
        "SELECT table_name FROM system.tables WHERE database_name = 'telemetry_acme' "
        "AND deleted = false",
    )
    assert tables == [{"table_name": "_init"}]
    assert lost.markers("telemetry_acme") == 1
    assert states(db)["acme"] == "ready"
    assert events(kept) == ["created", "recreated", "dropped", "created"]


def test_one_upgraded_run_confirms_what_an_earlier_version_called_ready(
    kept: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    server = stand_in(max_databases=None)
    install(kept, server)
    db.execute("UPDATE influxops.tenants SET state = 'ready'")
    ledger_of_version(db, 1)
    old = kept("ensure")
    assert (old.code, "influxops ledger install" in old.all) == (1, True)
    assert kept("ledger", "install").code == 0
    assert set(states(db).values()) == {"unconfirmed"}
    server.drop("telemetry_beta")
    assert kept("ensure").code == 1
    assert states(db) == {"acme": "ready", "beta": "lost", "gamma": "ready"}


@pytest.mark.parametrize("ledger", [True, False])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_database_that_is_deleted_while_its_marker_is_written_is_not_called_good(
    kept: Cli,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
    ledger: bool,
    goes_on: bool,
) -> None:
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    kept.config(targets_toml({"eu1": proxy}, LEDGER if ledger else ""))
    if ledger:
        assert kept("ledger", "install").code == 0
    for name in ("telemetry_acme", "telemetry_beta"):
        write(server, name)
        server.drop(name)  # what was deleted before says nothing
        write(server, name)
    once = iter([None])

    def delete(seen: Seen) -> None:
        if seen.writes and "db=telemetry_acme" in seen.path and next(once, True) is None:
            if goes_on:
                path = "/api/v3/configure/database"
                assert server.request("DELETE", path, fields={"db": "telemetry_acme"}).status == 200
                write(server)
            else:
                server.drop("telemetry_acme")  # its name is in no list afterwards

    proxy.before = delete
    done = kept("ensure")
    assert done.code == 1, done.all
    (said,) = [line for line in done.lines if "it was deleted while its marker was written" in line]
    assert "telemetry_acme" in said
    if ledger:
        assert states(db) == {"acme": "unconfirmed", "beta": "ready", "gamma": "ready"}
        assert "deleted while its marker was written" in kept("history", "acme").out


def test_a_marker_that_is_refused_did_not_create_what_somebody_else_made_again(
    kept: Cli, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    kept.config(targets_toml({"eu1": proxy}))
    write(server)

    def refuse(seen: Seen) -> Answer:
        if not (seen.writes and "db=telemetry_acme" in seen.path):
            return None
        path = "/api/v3/configure/database"
        assert server.request("DELETE", path, fields={"db": "telemetry_acme"}).status == 200
        write(server)
        return 400, "text/plain", b"not this line"

    proxy.before = refuse
    done = kept("ensure")
    assert done.code == 1, done.all
    assert "not this line" in done.all, done.all
    assert "deleted while its marker was written" not in done.all
