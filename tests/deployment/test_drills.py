"""The runbooks of docs/runbooks.md, each tried in the situation that it is for.

What is typed and answered, before and after, is printed with `pytest -s`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import STUCK, Cli, Result
from tests.integration.servers import Influx
from tests.integration.test_restoring import LEDGER, POSTGRES, Ledger, server_from
from tests.pg import TestDatabase, new_database
from tests.queue.workers import check_each_once, insert, rows, states, until, working

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]


@dataclass(frozen=True)
class Drill:
    """A terminal whose commands and answers are printed."""

    cli: Cli

    def __call__(self, command: str, code: int = 0) -> Result:
        done = self.cli(*command.split())
        print(f"$ influxops {command}\n{(done.out or done.err).rstrip()}")
        assert done.code == code, done.all
        return done

    def say(self, what: str) -> None:
        print(f"\n--- {what}")


@pytest.fixture
def drill(cli: Cli) -> Drill:
    return Drill(cli)


def install(drill: Drill, servers: dict[str, Influx], *commands: str, more: str = "") -> None:
    drill.cli.config(targets_toml({**servers}, LEDGER) + more)
    for command in ("ledger install", *commands):
        done = drill.cli(*command.split())
        assert done.code == 0, done.all


def test_a_replaced_server(drill: Drill, db: TestDatabase, tmp_path: Path) -> None:
    db.registry("acme", "beta")
    data = tmp_path / "data"
    with server_from(data) as server:
        port = server.port
        install(drill, {"eu1": Influx(server.url)}, "ensure")
    shutil.rmtree(data)
    with server_from(data, port) as server:
        eu1 = Influx(server.url)
        drill.say("before: an empty server at the URL of eu1")
        refused = drill("ensure", 4)
        assert "refused by the guard replaced-server" in refused.out
        assert eu1.databases() == []
        drill.say("it was replaced on purpose, and its data is gone")
        assert "2 lost" in drill("ensure --allow replaced-server", 1).out
        drill("ensure --allow recreate-lost --allow mass-change")
        drill.say("after")
        assert "2 ok" in drill("ensure").out
        assert eu1.databases() == ["telemetry_acme", "telemetry_beta"]


def test_a_lost_database(drill: Drill, db: TestDatabase, stand_in: GiveStandIn) -> None:
    eu1, eu2 = stand_in(max_databases=None), stand_in(max_databases=None)
    db.registry("acme", "beta")
    install(drill, {"eu1": eu1, "eu2": eu2}, "ensure")
    assert drill.cli("move", "beta", "--to", "eu2").code == 0
    for server, name in ((eu1, "acme"), (eu2, "beta")):
        fields = {"db": f"telemetry_{name}"}
        assert server.request("DELETE", "/api/v3/configure/database", fields=fields).status == 200
    drill.say("before: two databases were deleted; one was moved a while ago")
    lost = drill("ensure", 1)
    assert "deleted there: its data is kept until" in lost.out
    drill.say("beta has its old copy; of acme there is nothing")
    drill("adopt beta=telemetry_beta")
    drill("ensure --recreate acme")
    drill.say("after")
    drill("ensure")
    assert eu1.databases() == ["telemetry_acme", "telemetry_beta"]


def test_a_full_fleet(drill: Drill, db: TestDatabase, stand_in: GiveStandIn) -> None:
    eu1, eu2 = stand_in(max_databases=2), stand_in(max_databases=2)
    db.registry("acme", "beta", "gamma")
    install(drill, {"eu1": eu1})
    drill.say("before: three tenants, and room for two")
    assert "no free slot" in drill("ensure", 1).out
    assert drill.cli("status", "--format", "json").json["tenants"][2]["target"] is None
    drill.say("a target is added")
    drill.cli.config(targets_toml({"eu1": eu1, "eu2": eu2}, LEDGER))
    assert "1 created" in drill("ensure").out
    drill("move --rebalance --plan")
    drill.say("after")
    assert "3 ok" in drill("ensure").out
    assert eu2.databases() == ["telemetry_gamma"]


def test_a_server_restored_from_an_older_copy(
    drill: Drill, db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    eu1, data, backup = stand_in(max_databases=None), tmp_path / "data", tmp_path / "backup"
    db.registry("acme", "beta")
    with server_from(data) as server:
        port = server.port
        eu2 = Influx(server.url)
        install(drill, {"eu1": eu1, "eu2": eu2}, "ensure")
        eu1.write("telemetry_acme", "telemetry,device=d temp=1 1700000000000000000")
    shutil.copytree(data, backup)
    with server_from(data, port):
        db.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
        commands = ["ensure", "move acme gamma --to eu2", "retire --copies gamma"]
        for command in (*commands, "export gamma --output out"):
            done = drill.cli(*command.split())
            assert done.code == 0, done.all
    shutil.rmtree(data)
    backup.rename(data)
    with server_from(data, port):
        drill.say("before: eu2 is as it was before acme and gamma came there")
        stale = drill("ensure", 1)
        assert "acme: on eu1: its database is gone from eu2" in stale.out
        assert "1 lost" in stale.out
        drill("plan", 1)
        drill.say("acme has the copy that its move left behind; gamma was exported")
        assert "is not in it" in drill("adopt acme").out
        assert "imported" in drill("import out").out
        drill.say("after")
        assert "3 ok" in drill("ensure").out
        assert drill("where acme").out.startswith("eu1")
        rows = eu1.rows("telemetry_acme", "SELECT temp FROM telemetry")
        assert rows == [{"temp": 1.0}]


def test_the_ledger_from_yesterdays_backup(
    drill: Drill, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    eu1, eu2 = stand_in(max_databases=None), stand_in(max_databases=None)
    db.registry("acme")
    install(drill, {"eu1": eu1, "eu2": eu2}, "ensure")
    ledger = Ledger(db)
    ledger.age()
    ledger.back_up()
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('beta')")
    for command in ("ensure", "move acme --to eu2"):
        assert drill.cli(*command.split()).code == 0
    ledger.restore()
    drill.say("before: beta was created, and acme was moved, after the backup")
    doctor = drill("doctor", 1)
    assert "was the ledger restored from a backup?" in doctor.all
    drill("plan", 1)
    drill.say("each finding has its command")
    drill("adopt acme=telemetry_acme --target eu2")
    drill("ensure")
    drill.say("after")
    assert "2 ok" in drill("ensure").out
    assert ledger.state("acme")[:2] == ("ready", "eu2")
    assert ledger.state("beta")[0] == "ready"


def test_a_dump_of_a_newer_ledger(drill: Drill, db: TestDatabase, stand_in: GiveStandIn) -> None:
    """An older program is given what a newer one has dumped: it writes nothing, and says so."""
    eu1 = stand_in(max_databases=None)
    db.registry("acme")
    install(drill, {"eu1": eu1})
    db.execute("INSERT INTO influxops.migrations (version, name) VALUES (999, 'later')")
    ledger = Ledger(db)
    ledger.back_up()
    ledger.restore()
    drill.say("before: a ledger of version 999")
    for command in ("ensure", "ledger status", "ledger install"):
        done = drill(command, 1)
        assert "is of version 999, and this influxops knows no more than version" in done.all
        assert "update influxops here" in done.all
    assert eu1.databases() == []


def copied(schemas: list[str], source: str, destination: str) -> None:
    """Dump schemas, or all, and restore them into another database, as an operator does it."""
    chosen = [f"--schema={name}" for name in schemas]
    dump = subprocess.run(
        [str(POSTGRES / "pg_dump"), *chosen, source], capture_output=True, check=True
    )
    load = [str(POSTGRES / "psql"), "-v", "ON_ERROR_STOP=1", "-q", destination]
    subprocess.run(load, input=dump.stdout, capture_output=True, check=True)


def test_moving_the_ledger(
    drill: Drill, db: TestDatabase, postgres: EmbeddedPostgres, stand_in: GiveStandIn
) -> None:
    servers = {"eu1": stand_in(max_databases=None)}
    db.registry("acme", "beta")
    install(drill, servers, "queue install", "ensure")
    with new_database(postgres) as new:
        drill.say("before: the ledger is in the registry's database")
        drill("ledger status")
        copied(["influxops", "influxops_queue"], db.conninfo, new.conninfo)
        db.execute(
            "ALTER SCHEMA influxops RENAME TO influxops_moved",
            "ALTER SCHEMA influxops_queue RENAME TO influxops_queue_moved",
        )
        drill.say("a program that still has the old configuration")
        assert "there is no ledger in the schema influxops" in drill("ensure", 1).all
        drill.say("the configuration leads to the new one")
        moved = '[ledger]\nkind = "postgres"\ndsn = {env = "LEDGER_DSN"}\n'
        cli = replace(drill.cli, variables={**drill.cli.variables, "LEDGER_DSN": new.conninfo})
        after = Drill(cli)
        cli.config(targets_toml({**servers}, moved))
        after("doctor")
        assert "2 ok" in after("ensure").out
        assert "created telemetry_acme on eu1" in after("history acme").out
        db.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
        with working(cli, "--full-run-every", "1h"):
            until(lambda: states(new) == {"ready": 3})
        assert "gamma" in after("history gamma").out


def test_a_registry_on_another_host(
    drill: Drill, db: TestDatabase, postgres: EmbeddedPostgres, stand_in: GiveStandIn
) -> None:
    eu1 = stand_in(max_databases=None)
    db.registry("acme", "beta")
    install(drill, {"eu1": eu1}, "ensure")
    with new_database(postgres) as new:
        copied([], db.conninfo, new.conninfo)
        cli = replace(drill.cli, variables={**drill.cli.variables, "PG_DB": new.name})
        moved = Drill(cli)
        new.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
        moved.say("before: the same registry, at another address, with a new tenant")
        refused = moved("ensure", 4)
        assert "refused by the guard new-source" in refused.out
        assert "telemetry_gamma" not in eu1.databases()
        moved.say("it is the same registry")
        moved("ensure --allow new-source")
        moved.say("after")
        assert "3 ok" in moved("ensure").out


def test_a_history_that_grows(
    drill: Drill, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    eu1 = proxied(stand_in())
    eu1.before = lambda seen: (
        (500, "text/plain", b"no space left on device") if seen.writes else None
    )
    drill.cli.config(targets_toml({"eu1": eu1}, LEDGER))
    for command in ("ledger install", "queue install --trigger"):
        assert drill.cli(*command.split()).code == 0
    with working(drill.cli, delay=0.1):
        insert(db, ["acme"])
        until(lambda: rows(db, "SELECT FROM influxops.history WHERE times > 2"))
    drill.say("before: a tenant that waits for a server whose disk is full, and a year of history")
    drill("history")
    db.execute(
        "INSERT INTO influxops.history (namespace, at, run, event, tenant) SELECT 'default', "
        "now() - interval '1 year', 'r', 'retention', t FROM generate_series(1, 5000), "
        "unnest('{acme,old}'::text[]) AS t"
    )
    drill("ledger status")
    drill("ledger prune --before 90d --dry-run")
    drill("ledger prune --before 90d")
    drill.say("after")
    drill("ledger status")
    assert rows(db, "SELECT count(*) FROM influxops.history WHERE tenant = 'old'") == [(1,)]


#: The program as it was one version of the ledger ago.
OLDER = """
import influxops_postgres.ledger.schema as schema
known = schema.steps()[:-1]
schema.steps = lambda: known
from influxops.cli.main import main
raise SystemExit(main())
"""


@contextlib.contextmanager
def older_worker(cli: Cli) -> Iterator[subprocess.Popen[str]]:
    options = ("worker", "--full-run-every", "1h")
    with cli.running(*options, program=[sys.executable, "-c", OLDER]) as process:
        assert process.stderr is not None
        assert "works for" in process.stderr.readline()
        yield process


def test_workers_are_upgraded_one_after_the_other(
    drill: Drill, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    eu1 = stand_in(max_databases=None, max_tables=None)
    db.registry()
    cli = drill.cli
    cli.config(targets_toml({"eu1": eu1}, LEDGER))
    for command in (("ledger", "install"), ("queue", "install", "--trigger")):
        with cli.running(*command, program=[sys.executable, "-c", OLDER]) as process:
            out, err = process.communicate(timeout=STUCK)
            assert process.returncode == 0, out + err
    with older_worker(cli) as first, older_worker(cli) as second:
        insert(db, [f"a{number:03}" for number in range(200)])
        until(lambda: states(db).get("ready", 0) > 20)
        drill.say("before: two workers of the former version, at work on 200 tenants")
        print(states(db))
        drill.say("the schema is upgraded beside them")
        upgraded = drill("ledger install")
        assert "installed version" in upgraded.out
        insert(db, [f"b{number:03}" for number in range(50)])
        drill.say("the older ones do no more, and say why; one of the new version takes over")
        with working(cli):
            until(lambda: states(db) == {"ready": 250})
            for process in (first, second):
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=STUCK)
                print(err)
                assert process.returncode == 0, err
            drill.say("after")
            drill("queue status")
    check_each_once(db)
    assert len(eu1.databases()) == 250
