"""The ledger, with the real command line, a real PostgreSQL and stand-ins."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli, ended
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in

LEDGER = '[ledger]\nkind = "postgres"\n'

Recorded = Callable[[], dict[str, tuple[str, str]]]


@pytest.fixture
def recorded(db: TestDatabase) -> Recorded:
    """Give what the ledger has: state and target, by the database's name."""

    def read() -> dict[str, tuple[str, str]]:
        with psycopg.connect(db.conninfo) as connection:
            rows = connection.execute("SELECT database, state, target FROM influxops.tenants")
            return {database: (state, target) for database, state, target in rows}

    return read


def installed(cli: Cli, servers: Mapping[str, Influx], extra: str = "") -> Cli:
    cli.config(targets_toml(dict(servers), f"{extra}\n{LEDGER}"))
    done = cli("ledger", "install")
    assert done.code == 0, done.all
    return cli


def agreement(
    servers: Mapping[str, Influx], found: dict[str, tuple[str, str]], prefix: str = "telemetry"
) -> list[str]:
    """Give what does not agree between servers and ledger, and the databases that are twice."""
    mine = {name: each for name, each in found.items() if name.startswith(f"{prefix}_")}
    there = [(name, target) for name, (_, target) in mine.items()]
    held = [
        (name, target)
        for target, server in servers.items()
        for name in server.databases()
        if name.startswith(f"{prefix}_")
    ]
    names = [name for name, _ in held]
    wrong = [f"{each} is recorded and not there" for each in sorted({*there} - {*held})]
    wrong += [f"{each} is there and not recorded" for each in sorted({*held} - {*there})]
    wrong += [f"{name} is twice" for name in {*names} if names.count(name) > 1]
    wrong += [f"{name} is {state}" for name, (state, _) in mine.items() if state != "ready"]
    return wrong


def test_a_server_wiped_and_started_again_at_its_url_gets_nothing_and_its_tenants_are_lost(
    cli: Cli, db: TestDatabase, recorded: Recorded, tmp_path: Path
) -> None:
    db.registry(*(f"t{number}" for number in range(5)))
    data = tmp_path / "data"
    with running_stand_in(data_dir=data, wal_flush_interval="50ms") as server:
        port = server.port
        installed(cli, {"eu1": Influx(server.url)})
        assert cli("ensure").code == 0
        first = cli("where", "t0", "--format", "json").json
        server.kill()
    with running_stand_in(
        data_dir=tmp_path / "empty", port=port, wal_flush_interval="50ms"
    ) as server:
        again = Influx(server.url)
        refused = cli("ensure")
        assert refused.code == 4
        assert "cluster-uuid" in refused.out
        assert "--allow replaced-server" in refused.out
        assert again.databases() == []
        allowed = cli("ensure", "--allow", "replaced-server", "--allow", "mass-change")
        assert allowed.code == 1
        assert again.databases() == []
        assert {state for state, _ in recorded().values()} == {"lost"}
        assert "another server answers" in allowed.out
        status = cli("where", "t0", "--recorded")
        assert (status.code, "lost" in status.err) == (1, True)
        made = cli("ensure", "--recreate", "t0", "--allow", "mass-change")
        assert made.code == 1
        assert again.databases() == ["telemetry_t0"]
        story = cli("history", "t0").lines
        assert [line.split()[2] for line in story] == ["created", "lost", "created"]
    assert first["exists"]


@pytest.mark.parametrize("runs", [2, 10])
def test_runs_at_once_over_three_targets_give_each_tenant_one_database(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, recorded: Recorded, runs: int
) -> None:
    tenants = [f"t{number:03}" for number in range(300)]
    db.registry(*tenants)
    servers = {name: stand_in(max_databases=None) for name in ("one", "two", "three")}
    installed(cli, servers, '[placement]\npolicy = "spread"\n')
    started = [cli.running("ensure", "-q") for _ in range(runs)]
    processes = [each.__enter__() for each in started]
    codes = [ended(process, timeout=180).code for process in processes]
    for each in started:
        each.__exit__(None, None, None)
    assert set(codes) <= {0, 1}
    assert 0 in codes
    assert cli("ensure").code == 0
    assert agreement(servers, recorded()) == []
    assert len(recorded()) == 300


@pytest.mark.faults
@pytest.mark.parametrize("half", [1, 2])  # of fifty, so that two workers share them
def test_runs_killed_at_any_moment_leave_ledger_and_servers_in_agreement_after_one_plain_run(
    cli: Cli, db: TestDatabase, recorded: Recorded, half: int
) -> None:
    db.registry(*(f"t{number:03}" for number in range(100)))

    def in_namespace(name: str) -> None:
        """Start again with databases of other names: those of before belong to no tenant here."""
        template = f'[naming]\ndatabase = "{name}_{{tenant_id}}"\n'
        policy = '[placement]\npolicy = "spread"\n'
        ledger = f'{LEDGER}namespace = "{name}"\n'
        cli.config(targets_toml(dict(servers), f"{template}{policy}{ledger}"))

    with contextlib.ExitStack() as stack:  # no other test's, which would have to drop all these
        servers = {
            name: stack.enter_context(new_stand_in(max_databases=None, max_tables=None))
            for name in ("one", "two", "three")
        }
        installed(cli, servers)
        in_namespace("whole")
        began = time.monotonic()
        assert cli("ensure", "-q").code == 0
        whole = time.monotonic() - began
        chance = random.Random(half)
        killed = number = 0
        while killed < 25:
            number += 1
            in_namespace(f"n{number}")
            with cli.running("ensure", "-q") as process:
                try:
                    process.wait(chance.uniform(0.1, 1.0) * whole)
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed += 1
                else:
                    whole *= 0.8  # the machine has become quicker
            done = cli("ensure", "-q")
            assert done.code == 0, done.all
            assert agreement(servers, recorded(), f"n{number}") == []
        assert len(recorded()) == (number + 1) * 100


def test_a_target_that_is_taken_out_of_the_configuration_has_its_tenants_made_nowhere_else(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(4)))
    servers = {name: stand_in() for name in ("one", "two")}
    installed(cli, servers, '[placement]\npolicy = "spread"\n')
    assert cli("ensure").code == 0
    cli.config(targets_toml({"one": servers["one"]}, LEDGER))
    done = cli("ensure")
    assert done.code == 1
    assert "two, which is not configured any more" in done.out
    assert len(servers["one"].databases()) == 2


def test_where_answers_from_the_ledger_while_the_servers_are_down(
    cli: Cli, db: TestDatabase
) -> None:
    db.registry("acme")
    with running_stand_in(wal_flush_interval="50ms") as server:
        installed(cli, {"eu1": Influx(server.url)})
        assert cli("ensure").code == 0
        url = server.url
    found = cli("where", "acme", "--recorded")
    assert found.code == 0
    assert found.out.split()[:4] == ["eu1", url, "telemetry_acme", "since"]
    nobody = cli("where", "nobody", "--recorded")
    assert (nobody.code, "no such tenant" in nobody.err) == (1, True)


def test_history_tells_when_what_and_who(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme", "beta")
    server = stand_in()
    server.write("telemetry_acme", "telemetry v=1 1700000000000000000")
    installed(cli, {"eu1": server})
    assert cli("ensure").code == 0
    story = cli("history", "acme").lines
    assert len(story) == 1
    assert "completed telemetry_acme on eu1" in story[0]
    document = cli("history", "--format", "json", "--since", "1h").json
    assert {entry["event"] for entry in document["history"]} == {"completed", "created"}
    run = document["history"][0]["run"]
    assert len(cli("history", "--run", run).lines) == 2
    assert cli("history", "--run", "another").lines == []
    assert cli("history", "--since", "soon").code == 2


def test_without_its_tables_nothing_is_made_and_the_way_out_is_said(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in()
    cli.config(targets_toml({"eu1": server}, LEDGER))
    done = cli("ensure")
    assert done.code == 1
    assert "influxops ledger install" in done.out
    assert server.databases() == []
    plan = cli("plan")
    assert plan.code == 1
    assert "create telemetry_acme" in plan.out or "unrecorded" in plan.out


def test_the_report_tells_what_the_ledger_has(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    installed(cli, {"eu1": stand_in()})
    assert cli("ensure").code == 0
    document = json.loads(cli("ensure", "--format", "json").out)
    assert document["ledger"]["records"] == 1
    (tenant,) = document["tenants"]
    assert tenant["ledger"]["state"] == "ready"
    assert tenant["ledger"]["created_by"]
