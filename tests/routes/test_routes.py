"""`influxops routes`: which database is where, by the ledger alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli, ended
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.pgbouncer import pgbouncer
from tests.queue.workers import until

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\ncache_ttl = "1s"\n'


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


@pytest.fixture
def kept(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Give the command line, with three recorded tenants on the first of two servers."""
    db.registry("acme", "beta", "corp")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ensure").code == 0
    return cli


def routes(cli: Cli, *arguments: str) -> dict[str, str]:
    """Give the target of each database, or why it has none."""
    found = cli("routes", "--format", "json", *arguments).json["routes"]
    return {each["database"]: each["target"] or each["reason"] for each in found}


def version(cli: Cli) -> int:
    return int(cli("routes", "--format", "json").json["route_version"])


def set_record(db: TestDatabase, tenant: str, **columns: Any) -> None:
    if columns.get("target") in ("eu1", "eu2"):
        columns.setdefault("identity", None)  # whichever server is there
    assignments = ", ".join(f"{name} = %s" for name in columns)
    with psycopg.connect(db.conninfo) as connection:
        query = f"UPDATE influxops.tenants SET {assignments} WHERE tenant = %s"
        connection.execute(query.encode(), [*columns.values(), tenant])


def test_they_are_shown_while_the_servers_are_away(kept: Cli, servers: dict[str, Influx]) -> None:
    kept.config(targets_toml({"eu1": "http://127.0.0.1:9", "eu2": servers["eu2"]}, LEDGER))
    shown = kept("routes")
    assert (shown.code, shown.lines[1].split()) == (
        0,
        ["telemetry_acme", "eu1", "http://127.0.0.1:9"],
    )
    assert "3 routes, 0 without a server now" in shown.err
    assert routes(kept, "beta") == {"telemetry_beta": "eu1"}
    rows = list(csv.reader(kept("routes", "--format", "csv").lines))
    assert rows[2] == ["telemetry_beta", "eu1", "http://127.0.0.1:9", "beta", ""]


def test_one_that_is_not_in_the_ledger_is_named(kept: Cli) -> None:
    shown = kept("routes", "acme", "nobody")
    assert shown.code == 1
    assert "not in the ledger, or dropped: nobody" in shown.err
    assert "telemetry_acme" in shown.out


def test_without_a_ledger_it_is_said_which_section_is_missing(cli: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    for more in ((), ("--watch",)):
        shown = cli("routes", *more, env={"INFLUXDB_URL": "http://127.0.0.1:9"})
        assert shown.code == 2
        assert "write [ledger] with kind" in shown.err


def test_who_has_nowhere_to_go_is_listed_with_the_reason(kept: Cli, db: TestDatabase) -> None:
    assert routes(kept) == dict.fromkeys(
        ("telemetry_acme", "telemetry_beta", "telemetry_corp"), "eu1"
    )
    last = "eu1"
    for columns, reason in (
        ({"state": "pending", "attempts": 1}, "pending"),
        ({"state": "allocated"}, "allocated"),
        ({"state": "unconfirmed"}, "unconfirmed"),
        ({"state": "lost"}, "lost"),
        ({"state": "moving", "secondary_target": "eu2"}, "eu1"),
        ({"state": "ready", "secondary_target": None}, "eu1"),
        ({"state": "retiring", "drop_after": "2100-01-01"}, "eu1"),
        ({"state": "retiring", "claimed_by": "r1", "claim_key": 1}, "eu1"),
        ({"drop_after": "2020-01-01"}, "being dropped"),
        ({"state": "ready", "claimed_by": "", "claim_key": None}, "eu1"),
        ({"identity": "another"}, "on a server that was replaced"),
        ({"target": "gone"}, "on a target that is not configured"),
    ):
        before = version(kept)
        set_record(db, "acme", **columns)
        assert routes(kept)["telemetry_acme"] == reason
        if reason != last and "drop_after" not in columns:
            assert version(kept) > before
        last = reason
    set_record(db, "acme", state="retired")
    assert sorted(routes(kept)) == ["telemetry_beta", "telemetry_corp"]


def test_the_version_grows_with_the_commit_that_changes_a_route_and_with_no_other(
    kept: Cli, db: TestDatabase
) -> None:
    before = version(kept)
    assert kept("ensure").code == 0
    assert version(kept) == before
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("UPDATE influxops.tenants SET state = 'lost' WHERE tenant = 'acme'")
        assert version(kept) == before
    assert version(kept) == before + 1
    with psycopg.connect(db.conninfo) as connection:  # an application's, which may last
        connection.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state) "
            "VALUES ('default', 'new', 'pending')"
        )
        set_record(db, "acme", state="ready")
        assert version(kept) == before + 2
    assert kept("move", "acme", "--to", "eu2").code == 0
    assert version(kept) > before + 2
    assert routes(kept)["telemetry_acme"] == "eu2"


def test_a_greater_version_has_all_that_a_smaller_one_had(kept: Cli, db: TestDatabase) -> None:
    query: LiteralString = "UPDATE influxops.tenants SET state = 'lost' WHERE tenant = %s"
    before = version(kept)
    with psycopg.connect(db.conninfo) as first, psycopg.connect(db.conninfo) as second:
        first.execute(query, ["acme"])
        second.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # the first one's comes before it
            second.execute(query, ["beta"])
        second.rollback()
        first.commit()
        second.execute(query, ["beta"])
    assert version(kept) == before + 2


def test_a_tenant_that_is_forgotten_is_a_change(kept: Cli, db: TestDatabase) -> None:
    before = version(kept)
    db.execute("DELETE FROM influxops.tenants WHERE tenant = 'acme'")
    assert version(kept) == before + 1
    assert "telemetry_acme" not in routes(kept)


def test_a_temporary_table_of_that_name_takes_no_version(kept: Cli, db: TestDatabase) -> None:
    before = version(kept)
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("CREATE TEMP TABLE routes (LIKE influxops.routes INCLUDING ALL)")
        connection.execute("UPDATE influxops.tenants SET state = 'lost' WHERE tenant = 'acme'")
    assert version(kept) == before + 1


def test_watching_through_a_pooler_that_lends_by_the_transaction_is_refused(
    kept: Cli, db: TestDatabase
) -> None:
    with pgbouncer(db, "transaction", size=2) as bouncer:
        shown = kept("routes", "--watch", env={"PG_PORT": str(bouncer.port)})
    assert shown.code == 2
    assert "lends connections by the transaction" in shown.err


def test_a_file_is_replaced_where_it_differs(kept: Cli, db: TestDatabase) -> None:
    file = kept.folder / "routes.json"
    asked = ("routes", "--format", "json", "--output", str(file))
    assert kept(*asked).err == f"wrote {file}\n"
    first = file.stat().st_ino
    assert kept(*asked).err == ""
    assert file.stat().st_ino == first
    set_record(db, "acme", target="eu2")
    assert kept(*asked).code == 0
    assert json.loads(file.read_text())["routes"][0]["target"] == "eu2"
    assert [each.name for each in file.parent.glob(".*.tmp")] == []


@pytest.mark.parametrize("form", ["json", "csv", "nginx"])
def test_a_file_that_would_change_too_much_stays_unless_that_is_allowed(
    kept: Cli, db: TestDatabase, form: str
) -> None:
    file = kept.folder / "routes"
    asked = ("routes", "--format", form, "--output", str(file))
    assert kept(*asked).code == 0
    before = file.read_bytes()
    for tenant in ("acme", "beta"):
        set_record(db, tenant, target="eu2")
    shown = kept(*asked)
    assert shown.code == 4
    assert "2 of the 3 routes" in shown.err
    assert file.read_bytes() == before
    assert kept(*asked, "--allow", "mass-change").code == 0
    assert file.read_bytes() != before
    # A single one is never many, but the last one is all there is.
    for tenant, code in (("acme", 0), ("beta", 0), ("corp", 4)):
        set_record(db, tenant, state="lost")
        assert kept(*asked).code == code
    assert "none would be left" in kept(*asked).err


@pytest.mark.parametrize("form", ["json", "csv", "nginx"])
def test_the_last_one_in_a_file_may_go_as_any_other(kept: Cli, db: TestDatabase, form: str) -> None:
    file = kept.folder / "routes"
    asked = ("routes", "--format", form, "--output", str(file))
    assert kept(*asked).code == 0
    set_record(db, "corp", state="retired")
    assert kept(*asked).code == 0
    assert "telemetry_corp" not in file.read_text()


def test_a_file_that_cannot_be_written_is_named_and_stays(kept: Cli, db: TestDatabase) -> None:
    def asked(path: Path | str) -> str:
        shown = kept("routes", "--format", "csv", "--output", str(path))
        assert shown.code == 1
        return shown.err

    folder = kept.folder / "a folder"
    folder.mkdir()
    assert f"cannot be written to {folder}: it is a directory" in asked(folder)
    assert f"there is no folder {kept.folder}/none" in asked(kept.folder / "none" / "routes")
    assert f"mkdir -p {kept.folder}/none, or change --output\n" in asked(
        kept.folder / "none" / "routes"
    )
    assert "No space left on device" in asked("/dev/full")
    file = kept.folder / "routes.csv"
    assert kept("routes", "--format", "csv", "--output", str(file)).code == 0
    before = file.read_bytes()
    kept.config(
        targets_toml({"eu1": "http://127.0.0.1:9"}, LEDGER + 'host = "127.0.0.1"\nport = 9\n')
    )
    assert "ledger" in asked(file)
    assert file.read_bytes() == before


def test_no_right_to_write_is_named(kept: Cli) -> None:
    folder = kept.folder / "locked"
    folder.mkdir()
    subprocess.run(["chattr", "+i", str(folder)], check=False)
    try:
        if os.access(folder, os.W_OK) and os.geteuid() == 0:
            try:
                (folder / "x").touch()
                pytest.skip("nothing keeps this user from writing")
            except OSError:
                pass
        shown = kept("routes", "--format", "csv", "--output", str(folder / "routes"))
        assert shown.code == 1
        assert "let this user write there" in shown.err
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=False)


def test_watching_writes_what_changes_until_it_is_stopped(kept: Cli, db: TestDatabase) -> None:
    file = kept.folder / "routes.json"
    with kept.running("routes", "--watch", "--format", "json", "--output", str(file)) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"wrote {file}\n"
        assert kept("move", "acme", "--to", "eu2").code == 0
        until(lambda: json.loads(file.read_text())["routes"][0]["target"] == "eu2")
        with psycopg.connect(db.superuser_conninfo, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE '%routes%' "
                "AND pid <> pg_backend_pid()"
            )
        set_record(db, "beta", target="eu2")
        until(lambda: json.loads(file.read_text())["routes"][1]["target"] == "eu2")
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    assert done.code == 0
    assert done.err.count("WARN") <= 1
