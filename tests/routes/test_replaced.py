"""Tenants whose server was replaced behind its URL: nobody is led there until that is decided."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import urllib3

from tests.conftest import GiveStandIn
from tests.integration.command import Cli
from tests.line_proxy import LineProxy, line_proxy
from tests.pg import TestDatabase
from tests.queue.workers import insert, until
from tests.routes.test_reporter import Fleet

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

REPLACED = "on a server that was replaced"


@pytest.fixture
def eu1(stand_in: GiveStandIn) -> Iterator[LineProxy]:
    """What eu1's URL leads to."""
    server = stand_in(max_databases=None)
    assert server.stand_in
    with line_proxy(server.stand_in.port) as proxy:
        yield proxy


@pytest.fixture
def fleet(cli: Cli, db: TestDatabase, eu1: LineProxy, stand_in: GiveStandIn) -> Fleet:
    db.registry("acme", "beta", "corp")
    servers = {"eu1": f"http://127.0.0.1:{eu1.port}", "eu2": stand_in(max_databases=None)}
    made = Fleet(cli, servers)
    made.reporter()
    assert cli("ensure").code == 0
    return made


@pytest.fixture
def other(stand_in: GiveStandIn) -> int:
    """The port of another server."""
    server = stand_in(max_databases=None)
    assert server.stand_in
    return server.stand_in.port


def version(cli: Cli) -> int:
    return int(cli("routes", "--format", "json").json["route_version"])


def test_its_tenants_have_no_route_as_soon_as_a_run_has_seen_it_and_again_when_it_is_back(
    fleet: Fleet, db: TestDatabase, eu1: LineProxy, other: int
) -> None:
    first, before = eu1.behind, version(fleet.cli)
    assert fleet.cli("move", "acme", "--to", "eu2").code == 0
    moved = version(fleet.cli)
    assert moved > before
    eu1.behind = other
    refused = fleet.cli("ensure")
    assert refused.code == 4
    # All of eu1 at once, without an allowance for that: nobody is to be led there.
    assert "mass-change" not in refused.all
    assert fleet.routes == {"acme": "eu2", "beta": REPLACED, "corp": REPLACED}
    assert version(fleet.cli) == moved + 1
    assert fleet.cli("ensure").code == 4
    assert version(fleet.cli) == moved + 1
    eu1.behind = first
    assert fleet.cli("ensure").code == 0
    assert fleet.routes == {"acme": "eu2", "beta": "eu1", "corp": "eu1"}
    assert version(fleet.cli) == moved + 2


def test_a_run_for_one_tenant_sees_it_and_sees_that_it_is_back(
    fleet: Fleet, db: TestDatabase, eu1: LineProxy, other: int
) -> None:
    first = eu1.behind
    eu1.behind = other
    assert fleet.cli("ensure", "beta").code == 4
    assert set(fleet.routes.values()) == {REPLACED}
    insert(db, ["dora"])
    eu1.behind = first
    assert fleet.cli("ensure", "dora").code == 0
    assert set(fleet.routes.values()) == {"eu1"}


def test_what_is_allowed_gives_routes_to_what_is_made_there(
    fleet: Fleet, db: TestDatabase, eu1: LineProxy, other: int
) -> None:
    eu1.behind = other
    assert fleet.cli("ensure").code == 4
    assert fleet.cli("ensure", "--allow", "replaced-server").code == 1
    assert set(fleet.routes.values()) == {"lost"}
    with psycopg.connect(db.conninfo) as connection:
        found = connection.execute("SELECT replaced_by FROM influxops.servers").fetchall()
    assert found == [(None,), (None,)]
    options = ("--allow", "recreate-lost", "--allow", "mass-change")
    assert fleet.cli("ensure", *options).code == 0
    assert set(fleet.routes.values()) == {"eu1"}


def test_it_is_allowed_at_once_though_that_takes_all_routes_away(
    fleet: Fleet, db: TestDatabase, eu1: LineProxy, other: int
) -> None:
    eu1.behind = other
    allowed = fleet.cli("ensure", "--allow", "replaced-server")
    assert "mass-change" not in allowed.all
    assert set(fleet.routes.values()) == {"lost"}


def test_one_that_was_away_while_its_tenant_was_moved_gets_no_writer_when_it_is_back(
    fleet: Fleet, db: TestDatabase
) -> None:
    there = fleet.servers["eu1"]
    with fleet.cli.running("move", "acme", "--to", "eu2") as process:
        until(lambda: fleet.routes["acme"] == "eu2")
        process.kill()
        process.wait()
    fleet.servers["eu1"] = "http://127.0.0.1:9"
    fleet.reporter()
    ended = fleet.cli("move", "acme", "--to", "eu2", "--allow", "unreachable")
    assert "its old copy on eu1 cannot be read" in ended.all
    before = version(fleet.cli)
    fleet.servers["eu1"] = there
    fleet.reporter()
    answer = urllib3.request(
        "POST", f"{there}/api/v3/write_lp?db=telemetry_acme&precision=second", body="m v=1 1"
    )
    assert answer.status == 204  # what it had taken when it went away
    assert fleet.cli("ensure").code == 0
    assert fleet.routes == {"acme": "eu2", "beta": "eu1", "corp": "eu1"}
    assert version(fleet.cli) == before
    # What only it has is not lost with it.
    assert fleet.cli("retire", "--copies", "acme").code == 1
    assert fleet.servers["eu2"].rows("telemetry_acme", "SELECT v FROM m") == [{"v": 1.0}]
