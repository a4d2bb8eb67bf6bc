"""`status` and `where`: only what is known, and an exit code that comes from what is shown."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli, Result
from tests.integration.proxy import Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: A port that nothing listens on: reserved, and refused at once on any machine.
NOBODY = "http://127.0.0.1:1"


def _rows(done: Result) -> dict[str, dict[str, Any]]:
    return {row["tenant"]: row for row in done.json["tenants"]}


def _why(done: Result) -> str:
    (line,) = (line for line in done.err.splitlines() if line.startswith("influxops: ends with 1"))
    return line


def test_a_guard_is_no_fault_of_what_is_there(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme")
    assert ops("ensure").code == 0
    ops.config('[database]\nretention = "7d"\n')
    assert ops("ensure").code == 4
    done = ops("status")
    assert done.code == 0, done.all
    assert "ERR" not in done.err
    assert ops("status", "--format", "json").json["tenants"][0]["message"] == ""


def test_a_row_without_an_id_is_told_and_is_why_it_ends_with_1(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    assert ops("ensure").code == 0
    db.execute("INSERT INTO device_registry (tenant_id) VALUES (NULL)")
    done = ops("status")
    assert done.code == 1
    assert any(line.startswith("ERR ") and "no tenant_id" in line for line in done.err.splitlines())
    assert "1 other error" in _why(done)


@pytest.mark.stand_in
def test_what_an_unreachable_target_may_hold_is_not_called_missing(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "pinned", "Case", "case")
    up = stand_in()
    up.create("telemetry_acme")
    cli.config(
        targets_toml({"up": up, "down": NOBODY}, '[placement]\npins = {pinned = "down"}\n')
        + "retries = 0\n"
    )
    done = cli("status")
    assert done.code == 1
    exists = {line.split()[0]: re.split("  +", line)[3] for line in done.lines[1:]}
    assert exists == {
        "acme": "no marker",
        "beta": "unknown",
        "pinned": "unknown",
        "Case": "unknown",
        "case": "unknown",
    }
    rows = _rows(cli("status", "--format", "json"))
    assert {tenant: row["exists"] for tenant, row in rows.items()} == {
        "acme": True,
        "beta": None,
        "pinned": None,
        "Case": None,
        "case": None,
    }
    assert rows["beta"]["marker"] is None
    assert "ERR target down: " in done.err
    # Each tenant's own reason, and not the guard's, which is about all of them.
    assert rows["beta"]["message"].count("may be on down, which cannot be read") == 1
    assert "tenants" not in rows["beta"]["message"]
    assert "elsewhere" not in done.err
    assert "4 tenants of which something could not be read" in _why(done)
    missing = cli("where", "beta", "--format", "json")
    assert (missing.code, missing.json["exists"]) == (1, None)
    # Nothing of acme depends on the target that is down.
    alone = cli("status", "acme")
    assert alone.code == 0
    assert "WARN target down: " in alone.err


def test_a_count_that_cannot_be_read_ends_with_1(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    assert cli("ensure", env=influx.environment).code == 0
    influx.write("telemetry_acme", "telemetry,device=1 temperature=21.5 1767225600000000000")
    proxy = proxied(influx)
    queries = iter(range(10))

    def refuse(seen: Seen) -> tuple[int, str, bytes] | None:
        if "query" in seen.path and next(queries) > 0:
            return (400, "application/json", b'{"error": "no such thing"}')
        return None

    proxy.before = refuse
    done = cli("status", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 1
    assert [line for line in done.err.splitlines() if line.startswith("ERR 'acme': ")]
    (row,) = (re.split("  +", line) for line in done.lines if line.startswith("acme"))
    assert (row[3], row[4]) == ("ok", "?")


@pytest.mark.stand_in
def test_recorded_tenants_that_are_in_no_source_are_counted_and_can_be_listed(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "gamma", "delta", "omega")
    server = stand_in()
    cli.config(targets_toml({"eu1": server}, '[ledger]\nkind = "postgres"\ncache_ttl = "1s"\n'))
    assert cli("ledger", "install").code == 0
    assert cli("ensure").code == 0
    server.write("telemetry_beta", "telemetry,device=1 temperature=21.5 1767225600000000000")
    assert "in no source" not in cli("plan").out
    db.execute("DELETE FROM device_registry WHERE tenant_id IN ('beta', 'gamma')")
    assert cli("retire", "gamma", "--allow", "mass-change").code == 0
    line = "1 recorded tenant is in no source (`influxops status --orphans`)"
    for command in ("plan", "ensure", "status"):
        assert line in cli(command).lines, command
        assert line in cli.at_terminal(command, env={"NO_COLOR": "1"}).out, command
    assert "in no source" not in cli("status", "acme").all
    shown = cli("status", "--orphans")
    assert shown.code == 0
    (row,) = (re.split("  +", line) for line in shown.lines if not line.startswith("tenant"))
    assert row[:5] == ["beta", "telemetry_beta", "eu1", "ready", "1"]
    (held,) = _rows(cli("status", "--orphans", "--format", "json")).values()
    assert (held["ledger_state"], held["rows"]) == ("ready", 1)
    assert server.stand_in is not None
    server.stand_in.kill()
    away = cli("status", "--orphans")
    (row,) = (re.split("  +", line) for line in away.lines if line.startswith("beta "))
    assert (away.code, row[4]) == (1, "?"), away.all
    db.execute("DROP TABLE device_registry")
    unread = cli("status", "--orphans")
    assert unread.code == 1 and "every recorded tenant" not in unread.all
    cli.config(targets_toml({"eu1": server}))
    without = cli("status", "--orphans")
    assert without.code == 2 and "no ledger is configured" in without.err


def test_a_held_tenant_is_an_error_and_an_acknowledged_one_is_none(
    ops: Cli, db: TestDatabase
) -> None:
    db.registry("acme", "a b")
    assert ops("ensure").code == 1
    done = ops("status")
    assert done.code == 1
    (held,) = (line for line in done.err.splitlines() if "'a b'" in line)
    assert held.startswith("ERR 'a b': its database name ")
    assert "1 tenant without a database" in _why(done)
    ops.config('[tenants]\nignore = ["a b"]\n')
    assert ops("status").code == 0


def test_a_tenant_that_two_sources_tell_apart_has_the_database_that_is_there(
    ops: Cli, influx: Influx
) -> None:
    influx.create("telemetry_acme")
    ops.config(
        '[sources.one]\nkind = "static"\n[[sources.one.tenants]]\nid = "acme"\nretention = "7d"\n'
        '[sources.two]\nkind = "static"\n[[sources.two.tenants]]\nid = "acme"\nretention = "9d"\n'
    )
    done = ops("status", "--format", "json")
    (row,) = done.json["tenants"]
    assert done.code == 1
    assert row["exists"] is True and "given twice" in row["message"]


def test_a_long_id_fills_no_screen_and_is_whole_in_json(ops: Cli, db: TestDatabase) -> None:
    long = "x" * 600
    db.registry("acme", long)
    for command in ("status", "plan"):
        done = ops(command)
        assert max(map(len, done.all.splitlines())) < 300, command
        assert "600 characters" in done.all
        assert "x" * 61 not in done.all
        assert long in ops(command, "--format", "json").out


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.stand_in
def test_a_server_that_hangs_delays_who_is_elsewhere_by_the_reading_time_alone(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, silent: str
) -> None:
    db.registry("acme")
    up = stand_in()
    up.create("telemetry_acme")
    cli.config(targets_toml({"up": up, "sick": silent}, '[run]\ntarget_read_timeout = "4s"\n'))
    started = time.monotonic()
    done = cli("where", "acme")
    took = time.monotonic() - started
    assert (done.code, done.out) == (0, f"up  {up.url}  telemetry_acme\n")
    assert took < 25, took  # and not the 30 s of a request, three times
    waiting, why = done.err.splitlines()
    assert waiting == f"WARNING still waiting for target sick ({silent})"
    assert re.match(r"WARN target sick: .*no answer within (3\.\d|4\.0) s: its 4 s", why)
    assert "[run] target_read_timeout gives it longer" in why
    quiet = cli("-q", "where", "acme")
    assert (quiet.code, quiet.out) == (0, done.out)
    assert "still waiting" not in quiet.err
    shown = cli.at_terminal("where", "acme", columns=80)
    assert f"still waiting for target sick ({silent})" in shown.out.replace("\n", " ")


@pytest.mark.stand_in
def test_a_full_server_is_not_said_to_take_one_more(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    server = stand_in()
    ops = Cli(cli.folder, {**cli.variables, **server.environment})
    db.registry("a", "b", "c", "d", "e")
    assert ops("ensure").code == 0
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('f')")
    done = ops("where", "f")
    assert done.code == 1
    assert "would try default" in done.err and "which may be full" in done.err
    plan = ops("plan")
    assert "PLAN create telemetry_f on default (may exceed the capacity)" in plan.lines
    assert any("as far as there is room" in line for line in plan.lines)
