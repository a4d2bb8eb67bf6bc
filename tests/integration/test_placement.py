"""Several targets: where a tenant's database goes, and what a run is allowed to touch."""

from __future__ import annotations

import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in


def _with(toml: str, target: str, line: str) -> str:
    """Add a line to a target's section."""
    head = f'[targets.{target}]\nkind = "influxdb3"\n'
    assert head in toml
    return toml.replace(head, head + line + "\n")


def test_targets_are_filled_one_after_the_other(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(1, 8)))
    one, two = stand_in(), stand_in()
    cli.config(targets_toml({"one": one, "two": two}))
    assert cli("ensure").code == 0
    assert [len(one.databases()), len(two.databases())] == [5, 2]


def test_tenants_are_spread_over_the_emptiest(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("a", "b", "c", "d")
    one, two = stand_in(), stand_in()
    for name in ("other_1", "other_2"):
        one.create(name)
    cli.config(targets_toml({"one": one, "two": two}, '[placement]\npolicy = "spread"\n'))
    assert cli("ensure").code == 0
    assert [len(one.databases()), len(two.databases())] == [3, 3]


def test_pins_and_the_column_target_say_where_and_what_is_there_stays(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.execute(
        "CREATE TABLE tenants (id text, home text)",
        "INSERT INTO tenants VALUES ('pinned', NULL), ('columned', 'two'), ('settled', NULL)",
    )
    one, two = stand_in(), stand_in()
    two.create("telemetry_settled")
    toml = targets_toml({"one": one, "two": two}, '[placement]\npins = {pinned = "two"}\n')
    query = 'query = "SELECT id AS tenant_id, home AS target FROM tenants"'
    cli.config(toml.replace('kind = "postgres"', f'kind = "postgres"\n{query}'))
    assert cli("ensure").code == 0
    assert one.databases() == []
    assert two.databases() == ["telemetry_columned", "telemetry_pinned", "telemetry_settled"]


def test_a_pin_elsewhere_than_the_database_is_a_warning_and_moves_nothing(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    one, two = stand_in(), stand_in()
    one.create("telemetry_acme")
    cli.config(targets_toml({"one": one, "two": two}, '[placement]\npins = {acme = "two"}\n'))
    done = cli("ensure")
    assert done.code == 0
    assert two.databases() == []
    assert [line for line in done.lines if line.startswith("WARN") and "two" in line]


def test_a_draining_target_keeps_what_it_has_and_gets_nothing_new(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    one, two = stand_in(), stand_in()
    one.create("telemetry_acme")
    toml = targets_toml({"one": one, "two": two})
    cli.config(_with(toml, "one", 'state = "draining"'))
    assert cli("ensure").code == 0
    assert one.databases() == ["telemetry_acme"]
    assert one.markers("telemetry_acme") == 1
    assert two.databases() == ["telemetry_beta"]


def test_capacity_keeps_places_free(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("a", "b", "c")
    one, two = stand_in(), stand_in()
    toml = targets_toml({"one": one, "two": two})
    cli.config(_with(_with(toml, "one", "capacity = 1"), "two", "capacity = 1"))
    done = cli("ensure")
    assert done.code == 1
    assert [one.databases(), two.databases()] == [["telemetry_a"], ["telemetry_b"]]
    (error,) = (line for line in done.lines if line.startswith("ERR"))
    assert error.startswith("ERR telemetry_c: ")
    assert "one is full" in error and "two is full" in error


def test_a_database_on_two_targets_is_an_error_that_tells_of_both(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    one, two = stand_in(), stand_in()
    for server in (one, two):
        server.create("telemetry_acme")
    two.write("telemetry_acme", "telemetry,device=1 temperature=21.5 1767225600000000000")
    two.write("telemetry_acme", "cpu,host=h value=1 1767312000000000000")
    cli.config(targets_toml({"one": one, "two": two}))
    for command in (("ensure",), ("plan",), ("status",), ("where", "acme")):
        done = cli(*command)
        assert done.code == 1, command
        (error,) = (line for line in done.all.splitlines() if line.startswith("ERR"))
        assert "on one (0 rows)" in error, command
        said = "on two (2 rows in cpu and telemetry, last written 2026-01-02 00:00:00 UTC)"
        assert said in error, command
    assert done.lines == [
        f"one  {one.url}  telemetry_acme  0 rows",
        f"two  {two.url}  telemetry_acme  2 rows, last write 2026-01-02T00:00:00Z",
    ]
    found = cli("where", "acme", "--format", "json").json
    assert (found["exists"], found["target"]) == (True, None)
    assert [copy["rows"] for copy in found["copies"]] == [0, 2]
    assert [table["name"] for table in found["copies"][1]["tables"]] == ["cpu", "telemetry"]


def test_a_scope_limits_what_is_written(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("a", "b", "c")
    one, two = stand_in(), stand_in()
    toml = targets_toml({"one": one, "two": two}, '[placement]\npins = {b = "two", c = "two"}\n')
    cli.config(toml)
    by_tenant = cli("ensure", "--tenant", "b")
    assert by_tenant.code == 0
    assert [one.databases(), two.databases()] == [[], ["telemetry_b"]]
    assert by_tenant.fine == {"telemetry_b"} and "telemetry_a" not in by_tenant.out
    assert cli("ensure", "--target", "one").code == 0
    assert [one.databases(), two.databases()] == [["telemetry_a"], ["telemetry_b"]]


def test_a_tenant_that_nobody_knows_is_usage_and_the_nearest_is_named(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "beta")
    done = ops("ensure", "--tenant", "acne")
    assert done.code == 2
    assert "'acne'" in done.err
    assert "acme" in done.err.replace("acne", "")
    assert influx.databases() == []


def test_a_fault_elsewhere_fails_no_run_for_one_tenant(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "beta", "a b", None)
    done = ops("ensure", "--tenant", "acme")
    assert done.code == 0
    assert influx.databases() == ["telemetry_acme"]
