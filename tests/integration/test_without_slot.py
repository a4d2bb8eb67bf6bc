"""Where slots run out, each door says how many tenants have none, and what to do."""

from __future__ import annotations

from pathlib import Path

from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.web.conftest import platform

LOST = "what is sent for a tenant without one is lost at once"


def test_plan_ensure_and_doctor_say_how_many_tenants_have_no_slot(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(7)))
    server = stand_in()
    cli.config(targets_toml({"eu1": server}))
    planned = cli("plan")
    assert f"WARN 2 tenants may get no slot: {LOST}" in planned.out
    assert planned.code == 0
    noted = cli("doctor")
    assert f"note targets: slots: 2 tenants may get no slot: {LOST}" in noted.out
    assert noted.code == 0
    done = cli("ensure")
    assert f"WARN 2 tenants have no slot: {LOST}" in done.out
    assert "(add a target, then run influxops ensure)" in done.out
    cli.config(targets_toml({"eu1": server}) + "capacity = 5\n")
    (finding,) = (
        each
        for each in cli("plan", "--format", "json").json["findings"]
        if each["kind"] == "over-capacity" and LOST in each["message"]
    )
    assert finding["facts"] == {"without_slot": 2, "beyond": 0}
    failed = cli("doctor")
    assert f"FAIL targets: slots: 2 tenants have no slot: {LOST}" in failed.out
    assert failed.code == 1
    one = cli("plan", "--tenant", "t6", "--format", "json").json["findings"]
    assert any(each["message"].startswith("1 tenant has no slot: ") for each in one)


def test_nothing_is_said_of_slots_where_there_are_some_or_the_tenants_are_known_to_have_none(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*(f"t{number}" for number in range(6)))
    server = stand_in()
    cli.config(targets_toml({"eu1": server}, '[tenants]\nignore = ["t5"]\n') + "capacity = 5\n")
    for command in ("plan", "ensure", "doctor"):
        assert LOST not in cli(command).all
    cli.config(targets_toml({"eu1": server, "eu2": stand_in()}))
    for command in ("plan", "ensure", "doctor"):
        assert LOST not in cli(command).all


def test_the_console_says_how_many_tenants_have_no_slot_once_no_server_has_one(
    tmp_path: Path, postgres: EmbeddedPostgres, stand_in: GiveStandIn
) -> None:
    with platform(tmp_path, postgres, stand_in(), "[web]\ntimeout = 20.0\n") as web:
        page = {"Accept": "text/html"}

        def created(*names: str) -> str:
            for name in names:
                answer = web.ask(
                    "POST", "/operator/tenants", json={"tenant_id": name, "name": name}
                )
                assert answer.status in (201, 202), answer.data
            return web.ask("GET", "/fleet", headers=page).data.decode()

        assert LOST not in created("t0", "t1", "t2", "t3", "t4")
        shown = created("t5", "t6")
        assert f"2 tenants have no slot: {LOST}" in shown
        assert "<code>influxops ensure</code>" in shown
        assert LOST in web.ask("GET", "/", headers=page).data.decode()
