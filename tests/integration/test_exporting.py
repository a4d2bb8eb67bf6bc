"""A tenant's data as files and back, with the real command line, PostgreSQL and stand-ins."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Export, Import, find_exports
from influxops.plugin import ExportError, RunContext, writing
from influxops.reconcile.state import RunState
from influxops_influxdb3.copy import part_files
from tests import clients
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Seen, running_proxy
from tests.integration.servers import Influx
from tests.integration.test_moving import (
    LEDGER,
    count,
    everything,
    fill,
    recorded,
    story,
)
from tests.pg import TestDatabase
from tests.pg_proxy import Then, pg_proxy

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

DATABASE = "telemetry_acme"


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


@pytest.fixture
def ops(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Give the command line, with two recorded tenants on the first of two servers."""
    db.registry("acme", "beta")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ensure").code == 0
    return cli


def contents(server: Influx, database: str = DATABASE) -> dict[str, list[Any]]:
    """Give the series key and all rows of each table but the marker's."""
    tables = server.rows(
        "_internal",
        "SELECT table_name, series_key_columns FROM system.tables WHERE deleted = false "
        f"AND database_name = '{database}' AND table_name <> '_init'",
    )
    found = {}
    for table in tables:
        name = table["table_name"]
        rows = server.rows(database, f'SELECT * FROM "{name}"')
        key = table["series_key_columns"]
        found[name] = [key, *sorted(rows, key=lambda row: sorted(map(str, row.items())))]
    return found


def drop(server: Influx, database: str = DATABASE) -> None:
    answer = server.request("DELETE", f"/api/v3/configure/database?db={database}")
    assert answer.status == 200, answer.data


def test_a_lost_tenant_comes_back_from_its_export_on_another_server(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 3_000)
    before = contents(servers["eu1"])
    done = ops("export", "acme", "--output", "out")
    assert done.code == 0, done.all
    assert "OK telemetry_acme: exported" in done.out
    assert f"to {ops.folder}/out/acme" in ops("history", "acme").out  # it is read elsewhere, too
    drop(servers["eu1"])
    assert "lost" in ops("status").all
    done = ops("import", "out", "--to", "eu2")
    assert done.code == 0, done.all
    assert contents(servers["eu2"]) == before
    done = ops("ensure")
    assert done.code == 0, done.all
    assert story(ops, "acme") == ["created", "exported", "created", "imported"]


def retiring(ops: Cli, db: TestDatabase) -> None:
    """Retire acme, so that it is due now."""
    db.execute("DELETE FROM device_registry WHERE tenant_id = 'acme'")
    done = ops("retire", "acme", "--allow", "recent-telemetry")
    assert done.code == 0, done.all
    db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE drop_after IS NOT NULL")


@pytest.mark.parametrize("configured", [False, True])
def test_what_is_due_is_dropped_once_it_is_in_files(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx], configured: bool
) -> None:
    if configured:
        ledger = f'{LEDGER}export_before_drop = "out"\n'
        ops.config(targets_toml(dict(servers), ledger))
    fill(servers["eu1"], DATABASE, 3_000)
    before = contents(servers["eu1"])
    retiring(ops, db)
    option = () if configured else ("--export", "out")
    done = ops("retire", "--due", "--allow", "recent-telemetry", *option)
    assert done.code == 0, done.all
    assert "OK telemetry_acme: dropped" in done.out
    assert f"exported to {ops.folder}/out/acme; its data is kept" in ops("history", "acme").out
    assert configured or "INFO telemetry_acme: 3,000 rows in 3 tables" in done.out
    assert servers["eu1"].databases() == ["telemetry_beta"]
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
    done = ops("import", "out/acme", "--to", "eu2")
    assert done.code == 0, done.all
    assert contents(servers["eu2"]) == before


@pytest.mark.parametrize("obstacle", ["folder", "files"])
def test_what_cannot_be_exported_is_not_dropped(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx], obstacle: str
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    retiring(ops, db)
    out = ops.folder / "out"
    if obstacle == "folder":
        out.mkdir()
        (out / "acme").write_text("not a directory")
    else:
        # It has rows that the database lacks: perhaps this is all that is left of it.
        (out / "acme").mkdir(parents=True)
        servers["eu1"].write(DATABASE, "more v=1 1")
        assert ops("export", "acme", "--output", "out").code == 0
        drop(servers["eu1"])
        servers["eu1"].write(DATABASE, "_init value=1i 1\nmore v=1 2")
    done = ops("retire", "--due", "--export", "out", "--allow", "recent-telemetry")
    assert done.code == 1, done.all
    assert "it could not be exported, so it is not dropped" in done.all
    assert DATABASE in servers["eu1"].databases()
    assert recorded(db)[0] == "retiring"


def test_one_that_is_back_is_kept_without_an_export(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    retiring(ops, db)
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
    (ops.folder / "out").write_text("not a directory")
    done = ops("retire", "--due", "--export", str(ops.folder / "out" / "x"))
    assert done.code == 0, done.all
    assert "exported" not in done.all
    assert recorded(db)[0] == "ready"
    assert DATABASE in servers["eu1"].databases()


@pytest.mark.parametrize("door", ["plain", "option", "setting", "planning"])
def test_what_another_tenant_has_taken_meanwhile_is_not_dropped(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx], door: str
) -> None:
    db.execute("CREATE TABLE tenants AS SELECT 'beta' AS id, NULL AS db")
    fill(servers["eu1"], DATABASE, 30)
    retiring(ops, db)
    taken = threading.Event()

    def take() -> None:
        if not taken.is_set():
            db.execute(f"UPDATE tenants SET db = '{DATABASE}'")
            taken.set()

    def claimed(query: str, pid: int) -> Then:
        if door == "plain" and "claimed_by" in query and "UPDATE" in query:
            take()
        return Then.PASS_ON

    def exported(seen: Seen) -> Answer:
        if door == "planning" and DATABASE.encode() in seen.body and not taken.is_set():
            take()
            time.sleep(1.2)  # as planning takes for many that are due
        if (ops.folder / "out/acme/manifest.json").exists() and not taken.is_set():
            take()
            time.sleep(1.2)  # so long that this is worth another look
        return None

    with running_proxy(servers["eu1"].url) as proxy, pg_proxy(db.server.port) as postgres:
        proxy.before, postgres.before = exported, claimed
        query = 'query = "SELECT id AS tenant_id, db AS database FROM tenants"\n'
        ledger = f'{LEDGER}export_before_drop = "out"\n' if door == "setting" else LEDGER
        text = targets_toml({"eu1": proxy.url, "eu2": servers["eu2"]}, ledger)
        ops.config(text.replace("\n[targets.eu1]", f"{query}\n[targets.eu1]"))
        through = replace(ops, variables={**ops.variables, "PG_PORT": str(postgres.port)})
        option = ("--export", "out") if door in ("option", "planning") else ()
        done = through("retire", "--due", "--allow", "recent-telemetry", *option)
    assert taken.is_set(), done.all
    assert DATABASE in servers["eu1"].databases(), done.all
    assert (done.code, "is also that of beta" in done.all) == (1, True), done.all


def test_a_server_that_is_slow_is_not_looked_at_for_ever(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    retiring(ops, db)

    def slow(seen: Seen) -> Answer:
        if b'FROM \\"' in seen.body:
            time.sleep(0.4)  # that is how slow it is
        return None

    with running_proxy(servers["eu1"].url) as proxy:
        proxy.before = slow
        ops.config(targets_toml({"eu1": proxy.url, "eu2": servers["eu2"]}, LEDGER))
        done = ops("retire", "--due", "--export", "out", "--allow", "recent-telemetry")
    assert done.code == 0, done.all
    assert DATABASE not in servers["eu1"].databases()


def test_one_that_comes_back_while_it_is_exported_is_kept(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    retiring(ops, db)
    back = threading.Event()

    def comes_back(seen: Seen) -> Answer:
        if (ops.folder / "out/acme/manifest.json").exists() and not back.is_set():
            back.set()
            db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
            time.sleep(1.2)  # so long that this is worth another look
        return None

    with running_proxy(servers["eu1"].url) as proxy:
        proxy.before = comes_back
        ops.config(targets_toml({"eu1": proxy.url, "eu2": servers["eu2"]}, LEDGER))
        done = ops("retire", "--due", "--export", "out", "--allow", "recent-telemetry")
    assert back.is_set()
    assert DATABASE in servers["eu1"].databases(), done.all
    assert "a source has it again, so it is kept" in done.all
    assert recorded(db)[0] == "ready"


def test_one_that_was_moved_is_brought_up_to_date_in_the_same_folder(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    assert ops("export", "acme", "--output", "out").code == 0
    moved = ops("move", "acme", "--to", "eu2")
    assert moved.code == 0, moved.all
    servers["eu2"].write(DATABASE, "more v=1 1")
    done = ops("export", "acme", "--output", "out")
    assert (done.code, "31 rows" in done.out) == (0, True), done.all
    manifest = json.loads((ops.folder / "out/acme/manifest.json").read_text())
    assert sum(part["rows"] for table in manifest["tables"] for part in table["parts"]) == 31


@pytest.mark.parametrize("is_well", [True, False])
def test_a_drop_after_an_export_costs_the_same_however_many_are_due(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, is_well: bool
) -> None:
    server, few, many = stand_in(max_databases=None), 3, 9
    db.registry("stays", *(f"t{number}" for number in range(few + many)))
    costs: list[tuple[int, int]] = []
    with running_proxy(server.url) as proxy, pg_proxy(db.server.port) as postgres:
        cli.config(targets_toml({"eu1": proxy.url}, LEDGER))
        assert cli("ensure").code == 0
        asked = list[str]()

        def see(query: str, pid: int) -> Then:
            asked.append(query)
            return Then.PASS_ON

        postgres.before = see
        allowed = ("--allow", "recent-telemetry", "--allow", "mass-change")
        for ids in (range(few), range(few, few + many)):
            tenants = [f"t{number}" for number in ids]
            with psycopg.connect(db.conninfo) as connection:
                sql = "DELETE FROM device_registry WHERE tenant_id = ANY (%s)"
                connection.execute(sql, [tenants])
            done = cli("retire", *tenants, *allowed)
            assert done.code == 0, done.all
            db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE state = 'retiring'")
            for tenant in tenants if not is_well else ():
                (cli.folder / "out").mkdir(exist_ok=True)
                (cli.folder / "out" / tenant).write_text("not a directory")
            proxy.seen.clear()
            asked.clear()
            through = replace(cli, variables={**cli.variables, "PG_PORT": str(postgres.port)})
            began = time.monotonic()
            done = through("retire", "--due", "--export", "out", *allowed)
            seconds = time.monotonic() - began
            assert done.code == (not is_well), done.all
            whole = sum(b"ORDER BY d.database_name" in each.body for each in proxy.seen)
            whole += sum("GROUP BY 1" in query and "device_registry" in query for query in asked)
            assert whole <= 3 + 2 * seconds  # all are looked at again once a second at most
            costs.append((len(proxy.seen), len(asked)))
            db.execute("DELETE FROM influxops.tenants WHERE state = 'retiring'")
    assert len(server.databases()) == (1 if is_well else 1 + few + many)
    # One that takes longer than a second is looked at again.
    assert all(a <= 2 * many / few * b for b, a in zip(*costs, strict=True)), costs


def test_tenants_to_export_are_chosen_as_those_to_look_at_are(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    moved = ops("move", "beta", "--to", "eu2")
    assert moved.code == 0, moved.all
    out = ops.folder / "out"
    for choice, meant in (
        (["a*"], ["acme"]),
        (["--target", "eu2"], ["acme", "beta"]),
        (["--state", "ready", "b*"], ["acme", "beta"]),
    ):
        done = ops("export", *choice, "--output", "out")
        assert done.code == 0, done.all
        assert sorted(each.name for each in out.iterdir()) == meant
    done = ops("export", "--state", "lost", "--output", "out")
    assert (done.code, "no tenant matches" in done.err) == (0, True), done.all
    for choice in (["x*"], ["--target", "eu3"], []):
        assert ops("export", *choice, "--output", "out").code == 2


def test_a_server_that_was_not_asked_for_does_not_spoil_an_export(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    ops.config(targets_toml({"eu1": servers["eu1"], "eu2": "http://127.0.0.1:9"}, LEDGER))
    done = ops("export", "--target", "eu1", "--output", "out")
    assert (done.code, "WARN" in done.all) == (0, True), done.all
    assert sorted(each.name for each in (ops.folder / "out").iterdir()) == ["acme", "beta"]
    assert ops("export", "--target", "eu2", "--output", "out").code == 1
    assert ops("export", "*", "--output", "out").code == 1


@pytest.mark.parametrize("imports", [False, True])
def test_what_is_known_of_all_is_copied_as_often_however_many_there_are(
    ops: Cli, db: TestDatabase, imports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("INSERT INTO device_registry (tenant_id) SELECT 't' || generate_series(1, 6)")
    assert ops("ensure").code == 0
    names = [f"t{number}" for number in range(1, 7)]
    for name, value in ops.variables.items():
        monkeypatch.setenv(name, value)
    copies = []
    with Engine(load_config(ops.folder / "influxops.toml")) as engine:
        assert engine.run(Export(ops.folder / "out"), naming(names), tell=False).exit_code == 0
        exports = find_exports(ops.folder / "out")
        for some in (names[:2], names):
            chosen = {name: exports[name] for name in some}
            operation = Import(chosen) if imports else Export(ops.folder / "out")
            known, execute = list[RunState](), operation.execute

            def watched(
                state: RunState, execute: Any = execute, known: list[RunState] = known
            ) -> Iterator[RunState]:
                for each in execute(state):
                    known.append(each)
                    yield each

            monkeypatch.setattr(operation, "execute", watched)
            report = engine.run(operation, naming(some), tell=False)
            assert (report.exit_code, len(report.tenants)) == (0, len(some)), report
            held = [(s.settled, s.plans, s.ledger_view.records) for s in known]
            copies.append([len({id(each) for each in kind}) for kind in zip(*held, strict=True)])
    assert copies[0] == copies[1]


def naming(tenants: list[str]) -> RunContext:
    return RunContext(tenants=frozenset(tenants))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EACCES, "let the user that runs influxops write there"),
        (errno.EROFS, "mounted read-only"),
        (errno.ENOTDIR, "a file is in its place"),
        (errno.ELOOP, "choose another folder"),
    ],
)
def test_each_error_of_a_folder_has_its_own_advice(number: int, advice: str) -> None:
    with pytest.raises(ExportError) as caught, writing(Path("/backup")):
        raise OSError(number, os.strerror(number))
    assert advice in str(caught.value.hint)
    assert ("make room" in str(caught.value.hint)) == (number == errno.ENOSPC)


def test_export_takes_due(ops: Cli) -> None:
    done = ops("retire", "acme", "--export", "out")
    assert (done.code, "--export takes --due" in done.err) == (2, True)


def test_a_database_with_rows_of_its_own_is_refused_until_it_is_allowed(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 100)
    assert ops("export", "acme", "--output", "out").code == 0
    again = ops("import", "out")
    assert again.code == 0, again.all  # all of it is there: nothing is written over
    servers["eu1"].write(DATABASE, "own v=1 1")
    refused = ops("import", "out")
    assert refused.code == 4, refused.all
    assert "1 row (or fields of rows) that the export lacks" in refused.all
    assert "--allow overwrite" in refused.all
    done = ops("import", "out", "--allow", "overwrite", "--format", "json")
    assert done.code == 0, done.all
    assert servers["eu1"].rows(DATABASE, "SELECT v FROM own") == [{"v": 1.0}]
    (tenant,) = done.json["tenants"]
    assert tenant["actions"] == ["import"]


def test_what_a_client_has_created_in_place_of_a_lost_one_stays_beside_the_import(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 100)
    assert ops("export", "acme", "--output", "out").code == 0
    drop(servers["eu1"])
    servers["eu1"].write(DATABASE, "telemetry,device=new temp=1 5")
    assert ops("import", "out").code == 4
    done = ops("import", "out", "--allow", "overwrite")
    assert done.code == 0, done.all
    assert int(servers["eu1"].rows(DATABASE, "SELECT count(*) AS n FROM telemetry")[0]["n"]) == 61
    assert ops("ensure").code == 0
    assert story(ops, "acme")[-1] == "imported"


def test_an_import_to_a_full_server_says_so_and_writes_nothing(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    servers = {"eu1": stand_in(max_databases=None), "eu2": stand_in(max_databases=1)}
    db.registry("acme")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ensure").code == 0
    fill(servers["eu1"], DATABASE, 30)
    assert cli("export", "acme", "--output", "out").code == 0
    drop(servers["eu1"])
    servers["eu2"].write("another", "t v=1 1")
    done = cli("import", "out", "--to", "eu2")
    assert done.code == 1, done.all
    assert "eu2" in done.all
    assert servers["eu2"].databases() == ["another"]
    assert cli("import", "out", "--to", "eu1").code == 0


@pytest.mark.faults
def test_an_import_that_is_killed_goes_on(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 30_000)
    before = contents(servers["eu1"])
    assert ops("export", "acme", "--output", "out").code == 0
    drop(servers["eu1"])
    with ops.running("import", "out", "--to", "eu2") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "copying telemetry_acme" in line:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = ops("import", "out", "--to", "eu2")
    assert done.code == 0, done.all
    assert contents(servers["eu2"]) == before
    assert recorded(db)[:2] == ("ready", "eu2")


@pytest.mark.faults
@pytest.mark.parametrize("is_known", [True, False])
def test_an_import_that_is_killed_before_it_copies_leaves_nothing_that_is_called_good(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx], is_known: bool
) -> None:
    fill(servers["eu1"], DATABASE, 30)
    before = contents(servers["eu1"])
    assert ops("export", "acme", "--output", "out").code == 0
    drop(servers["eu1"])
    if not is_known:
        db.execute("DELETE FROM influxops.tenants WHERE tenant = 'acme'")
    is_made, is_over = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        if seen.path.startswith("/api/v3/configure/table"):
            is_made.set()
            is_over.wait(60)
        return None

    with running_proxy(servers["eu2"].url) as proxy:
        proxy.before = hold
        ops.config(targets_toml({"eu1": servers["eu1"], "eu2": proxy.url}, LEDGER))
        with ops.running("import", "out", "--to", "eu2") as process:
            assert is_made.wait(60)
            process.send_signal(signal.SIGKILL)
            process.wait()
        proxy.before = lambda seen: None
        is_over.set()
        assert DATABASE in servers["eu2"].databases()
        assert recorded(db)[:2] == ("unconfirmed", "eu2")
        for command in (("ensure",), ("ensure", "acme"), ("ensure", "--recreate", "acme")):
            done = ops(*command)
            assert done.code == 1, done.all
            assert "its import from" in done.all
            assert f"influxops import {ops.folder}/out/acme" in done.all
        assert recorded(db)[0] == "unconfirmed"
        waited = ops("wait", "acme", "--timeout", "1s")
        assert waited.code == 1, waited.all
        done = ops("import", "out", "--to", "eu2")
        assert done.code == 0, done.all
        assert contents(servers["eu2"]) == before
        assert recorded(db)[:2] == ("ready", "eu2")
        assert ops("ensure").code == 0


def test_what_an_import_left_that_was_killed_can_be_taken_as_it_is(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    sql = "UPDATE influxops.tenants SET state = 'unconfirmed', progress = E'import:/x\n' "
    with psycopg.connect(db.conninfo) as connection:
        connection.execute(f"{sql} WHERE tenant = 'acme'".encode())
    assert ops("ensure").code == 1
    done = ops("adopt", "acme")
    assert done.code == 0, done.all
    assert recorded(db)[0] == "ready"
    assert ops("ensure").code == 0


@pytest.mark.parametrize("how", [("unretire", "acme"), ("ensure",), ("ensure", "acme")])
def test_what_an_import_left_that_was_killed_is_not_good_once_it_is_kept(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx], how: tuple[str, ...]
) -> None:
    """It had been retired in between."""
    fill(servers["eu1"], DATABASE, 30)
    assert ops("export", "acme", "--output", "out").code == 0
    sql = f"last_seen_at = NULL, progress = 'import:{ops.folder}/out/acme\n'"
    db.execute(f"UPDATE influxops.tenants SET state = 'unconfirmed', {sql} WHERE tenant = 'acme'")
    done = ops("retire", "acme", "--yes", "--allow", "still-registered")
    assert recorded(db)[0] == "retiring", done.all
    done = ops(*how)
    assert recorded(db)[0] == "unconfirmed", done.all
    again = ops("ensure")
    assert again.code == 1
    assert "its import from" in again.all
    assert ops("import", "out").code == 0
    assert recorded(db)[0] == "ready"
    assert ops("ensure").code == 0


def test_files_that_were_changed_are_the_tenants_own_trouble(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    for tenant in ("acme", "beta"):
        fill(servers["eu1"], f"telemetry_{tenant}", 30)
    assert ops("export", "acme", "beta", "--output", "out").code == 0
    for tenant in ("acme", "beta"):
        drop(servers["eu1"], f"telemetry_{tenant}")
    next((ops.folder / "out/acme").glob("*.lp.*")).unlink()
    done = ops("import", "out")
    assert done.code == 1, done.all
    assert "OK telemetry_beta: imported" in done.out
    assert "cannot be read: No such file" in done.all
    assert servers["eu1"].databases() == ["telemetry_beta"]


def test_a_manifest_that_was_changed_ends_it_before_anything(ops: Cli) -> None:
    assert ops("export", "acme", "--output", "out").code == 0
    path: Path = ops.folder / "out/acme/manifest.json"
    path.write_text(path.read_text().replace("telemetry_acme", "telemetry_beta"))
    done = ops("import", "out")
    assert (done.code, "was changed since it was written" in done.err) == (1, True), done.all


@pytest.mark.parametrize("text", ['{"version": 1, "tables": ' + 100_000 * "[", "[", ""])
def test_a_manifest_that_is_none_is_no_fault_of_the_program(ops: Cli, text: str) -> None:
    (ops.folder / "out").mkdir()
    (ops.folder / "out/manifest.json").write_text(text)
    done = ops("import", "out")
    assert (done.code, "manifest.json cannot be read" in done.err) == (1, True), done.all


def test_a_folder_that_cannot_be_read_is_no_fault_of_the_program(ops: Cli) -> None:
    done = ops("import", 300 * "x")
    assert (done.code, "cannot be read: File name too long" in done.err) == (2, True), done.all


def test_tenants_that_nobody_knows_or_that_have_no_database(ops: Cli, db: TestDatabase) -> None:
    done = ops("export", "nobody", "--output", "out")
    assert (done.code, "knows the tenant" in done.err) == (2, True)
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('new')")
    done = ops("export", "new", "acme", "--output", "out")
    assert done.code == 1
    assert "no target holds its database telemetry_new" in done.all
    assert "OK telemetry_acme: exported" in done.out
    planned = ops("export", "acme", "--output", "never", "--dry-run", "--format", "json").json
    assert [tenant["actions"] for tenant in planned["tenants"]] == [["export"]]
    assert not (ops.folder / "never").exists()
    (ops.folder / "empty").mkdir()
    assert ops("import", "empty").code == 2
    manifest = json.loads((ops.folder / "out/acme/manifest.json").read_text())
    assert (manifest["tenant"], manifest["tables"]) == ("acme", [])


@pytest.mark.faults
def test_a_tenant_of_200000_rows_is_exported_in_use_dropped_and_imported_elsewhere(
    ops: Cli, db: TestDatabase, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 200_000)
    over, written = threading.Event(), list[int]()

    def keep_writing() -> None:
        while not over.wait(0.05):
            now = time.time_ns()
            points = (f"telemetry,device=d{n},site=new temp={n / 7} {now}" for n in range(10))
            servers["eu1"].write(DATABASE, "\n".join(points))
            written.append(now)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        done = ops("export", "acme", "--output", "out", timeout=400)
    finally:
        over.set()
        writer.join()
    assert done.code == 0, done.all
    assert "of it written in the meantime" in done.out
    before = count(servers["eu1"], DATABASE)
    assert sum(before.values()) == 200_000 + 10 * len(written)
    rows = {name: everything(servers["eu1"], DATABASE, name, 300_000) for name in before}
    retiring(ops, db)
    done = ops("retire", "--due", "--export", "out", "--allow", "recent-telemetry", timeout=400)
    assert done.code == 0, done.all
    assert DATABASE not in servers["eu1"].databases()
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
    done = ops("import", "out", "--to", "eu2", timeout=400)
    assert done.code == 0, done.all
    assert count(servers["eu2"], DATABASE) == before
    for name, found in rows.items():
        assert everything(servers["eu2"], DATABASE, name, 300_000) == found


_WITH_THE_CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from influxdb_client_3 import InfluxDBClient3, WriteOptions, WriteType, write_client_options
_, _, url, database, path = sys.argv
options = write_client_options(write_options=WriteOptions(write_type=WriteType.synchronous))
how = {"database": database, "token": "x", "write_client_options": options}
with InfluxDBClient3(host=url, **how) as client:
    client.write(open(path, encoding="utf-8").read())
"""


@pytest.mark.clients
def test_the_python_client_writes_the_files_as_they_are(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 300)
    servers["eu1"].write(DATABASE, 'notes,by=a\\ b text="two\nlines, \\"quoted\\" \\\\" 5')
    assert ops("export", "acme", "--output", "out").code == 0
    servers["eu2"].request("POST", "/api/v3/configure/database", json={"db": DATABASE})
    for path in sorted((ops.folder / "out/acme").glob("*.lp.*")):
        with part_files._opened(path) as packed:
            plain = path.with_name("plain")
            plain.write_bytes(packed.read())
        command = [sys.executable, "-c", _WITH_THE_CLIENT, str(clients.python_client())]
        command += [servers["eu2"].url, DATABASE, str(plain)]
        subprocess.run(command, check=True, timeout=120)
    found, wanted = (contents(server) for server in (servers["eu2"], servers["eu1"]))
    assert {name: rows[1:] for name, rows in found.items()} == {
        name: rows[1:] for name, rows in wanted.items()
    }
