"""Two runs at once: no tenant gets two databases, no marker is written twice."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli, ended
from tests.integration.proxy import Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

TENANTS = [f"t{number}" for number in range(1, 6)]


def test_two_runs_on_one_target_do_no_harm(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry(*TENANTS)
    with ops.running("ensure") as first, ops.running("ensure") as second:
        codes = [ended(first).code, ended(second).code]
    assert codes == [0, 0]
    assert influx.databases() == [f"telemetry_{tenant}" for tenant in TENANTS]
    assert [influx.markers(name) for name in influx.databases()] == [1] * 5


@pytest.mark.stand_in
def test_two_runs_on_three_targets_give_nobody_two_databases(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    tenants = [f"t{number:02}" for number in range(12)]
    db.registry(*tenants)
    servers = {name: stand_in() for name in ("one", "two", "three")}
    cli.config(targets_toml(dict(servers), '[placement]\npolicy = "spread"\n'))
    with cli.running("ensure") as first, cli.running("ensure") as second:
        codes = {ended(first).code, ended(second).code}
    assert codes <= {0, 5}
    assert 0 in codes
    found = sorted(name for server in servers.values() for name in server.databases())
    assert found == [f"telemetry_{tenant}" for tenant in tenants]


@pytest.mark.stand_in
def test_a_lock_that_another_run_keeps_is_said_and_nothing_is_written(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry(*TENANTS)
    one, two = stand_in(), stand_in()
    proxy = proxied(one)
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.writes:
            reached.set()
            let_go.wait(60)

    proxy.before = hold
    impatient = "lock_timeout = 0.5\n"
    text = targets_toml({"one": proxy, "two": two}).replace(
        'kind = "postgres"\n', f'kind = "postgres"\n{impatient}'
    )
    cli.config(text)
    with cli.running("ensure") as first:
        assert reached.wait(30)
        second = cli("ensure")
        let_go.set()
        assert ended(first).code == 0
    assert second.code == 5
    assert "lock" in second.err
    assert len(one.databases()) == 5
    assert two.databases() == []


@pytest.mark.stand_in
def test_a_plan_needs_no_lock(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy, two = proxied(stand_in()), stand_in()
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.writes:
            reached.set()
            let_go.wait(60)

    proxy.before = hold
    cli.config(targets_toml({"one": proxy, "two": two}))
    with cli.running("ensure") as first:
        assert reached.wait(30)
        assert cli("plan", "--detailed-exitcode").code == 3
        let_go.set()
        assert ended(first).code == 0


@pytest.mark.stand_in
def test_a_source_that_has_no_lock_is_a_warning_of_the_plan_and_of_the_run(
    cli: Cli, stand_in: GiveStandIn
) -> None:
    sources = '[sources.listed]\nkind = "static"\ntenants = ["acme"]\n'
    text = targets_toml({"one": stand_in(), "two": stand_in()})
    cli.config(text.replace('[sources.registry]\nkind = "postgres"\n', sources))
    planned, done, again = (
        cli(command, env={"PG_HOST": ""}) for command in ("plan", "ensure", "plan")
    )
    assert planned.code == done.code == again.code == 0
    told = [
        [line for line in each.lines if line.startswith("WARN") and "lock" in line]
        for each in (planned, done, again)
    ]
    assert told[0] == told[1] != []
    assert told[2] == []  # with nothing to do, a lock is not missed


def test_the_lock_is_gone_with_its_run(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme")
    cli.config(targets_toml({"one": stand_in(), "two": stand_in()}))
    assert cli("ensure").code == 0
    with psycopg.connect(db.conninfo) as connection:
        held = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert held.fetchone() == (0,)
