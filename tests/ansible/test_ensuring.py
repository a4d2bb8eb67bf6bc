"""`influx_tenant_db` in real plays: what it changes, what it says, and that check mode is true."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from influxops_devserver.testing import StandIn, running_stand_in
from tests.ansible.conftest import NOWHERE, Stage, create, databases
from tests.pg import TestDatabase


def play(stage: Stage, **parameters: Any) -> Path:
    path = stage.folder / "ensure.yml"
    task = {"name": "Ensure", "influx_tenant_db": parameters}
    path.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]),
        encoding="utf-8",
    )
    return path


def test_check_and_diff_print_exactly_what_the_run_then_prints(
    stage: Stage, server: StandIn
) -> None:
    create(server, "telemetry_b")  # without a marker, and kept for ever
    book = play(
        stage, url=server.url, tenants=["a", {"id": "b", "retention": "none"}, "c"], retention="30d"
    )
    predicted = stage.playbook(book, "--check", "--diff")
    assert databases(server) == ["telemetry_b"]
    done = stage.playbook(book, "--diff")
    assert predicted.code == done.code == 0
    assert "changed=1" in done.output
    assert "+++ after: telemetry_a on default" in done.output
    assert predicted.output == done.output
    assert databases(server) == ["telemetry_a", "telemetry_b", "telemetry_c"]


def test_check_and_run_agree_in_all_that_they_print_with_several_targets_and_no_lock(
    stage: Stage,
) -> None:
    with running_stand_in() as one, running_stand_in() as two:
        targets = {"eu1": {"url": one.url}, "eu2": {"url": two.url}}
        wanted: dict[str, Any] = {"targets": targets, "tenants": ["a", "b"], "retention": "30d"}
        drop: dict[str, Any] = {**wanted, "tenants": ["a"], "state": "absent", "allow": ["drop"]}
        for book, warned in ((wanted, True), (drop, True), ({**wanted, "tenants": ["b"]}, False)):
            path = play(stage, **book)
            predicted = stage.playbook(path, "--check", "--diff")
            done = stage.playbook(path, "--diff")
            assert ("no lock was available" in done.output) == warned
            assert predicted.output == done.output
        # Who only reads needs none.
        info: dict[str, Any] = {"influx_tenant_db_info": {"targets": targets, "tenant": "new"}}
        looked = stage.tasks(info).result
        assert looked["findings"] == []
        assert "warnings" not in looked


def test_the_same_play_changes_nothing_the_second_time(stage: Stage, server: StandIn) -> None:
    book = play(stage, url=server.url, tenants=["a", "b"], retention="7d")
    assert "changed=1" in stage.playbook(book).output
    again = stage.playbook(book, "--diff")
    assert "changed=0" in again.output
    assert "+++" not in again.output


def test_two_steps_on_one_database_are_one_entry_and_one_diff(
    stage: Stage, server: StandIn
) -> None:
    create(server, "telemetry_a", "1d")
    wanted: dict[str, Any] = {"url": server.url, "tenant": "a", "retention": "2d"}
    predicted, done = stage.ensure(check=True, **wanted), stage.ensure(**wanted)
    (entry,) = done["databases"]
    assert entry["action"] == "set-retention+add-marker"
    assert (entry["before"]["retention"], entry["after"]["retention"]) == (86400, 2 * 86400)
    assert (entry["before"]["marker"], entry["after"]["marker"]) == (False, True)
    assert len(done["diff"]) == 1
    assert predicted["diff"] == done["diff"]


def test_what_a_guard_refuses_is_in_no_diff_and_all_else_is_done(
    stage: Stage, server: StandIn
) -> None:
    create(server, "telemetry_a", "30d")
    tenants = {"tenants": ["a", "b"], "retention": "1d", "details": "all"}
    wanted: dict[str, Any] = {"url": server.url, **tenants}
    predicted, done = stage.ensure(check=True, **wanted), stage.ensure(**wanted)
    for result in (predicted, done):
        assert result["failed"]
        assert result["changed"]
        assert "telemetry_a" in result["msg"]
        assert "allow: [shorter-retention]" in result["msg"]
        # Its missing marker is added all the same.
        assert [entry["action"] for entry in result["databases"]] == ["add-marker", "create"]
    assert predicted["diff"] == done["diff"]
    allowed = stage.ensure(**wanted, allow=["shorter-retention"])
    assert not allowed["failed"]
    assert allowed["databases"][0]["after"]["retention"] == 86400


def test_check_mode_warns_of_whom_an_estimate_leaves_no_place_and_promises_no_more_than_is_done(
    stage: Stage, server: StandIn
) -> None:
    names = [f"t{n}" for n in range(1, 8)]
    wanted: dict[str, Any] = {"url": server.url, "tenants": names, "details": "all"}
    predicted, done = stage.ensure(check=True, **wanted), stage.ensure(**wanted)
    assert not predicted["failed"]
    warning, slots = map(str, predicted["warnings"])
    assert slots.startswith("2 tenants ")
    assert "slot" in slots
    assert "set `targets.default.capacity`" in warning  # `url` has no such option beside it
    for told in (warning, done["msg"]):
        assert all(name in told for name in ("telemetry_t6", "telemetry_t7"))
        assert "telemetry_t5" not in told
    assert done["failed"]
    for result in (predicted, done):
        assert result["changed"]
        assert [entry["changed"] for entry in result["databases"]] == [True] * 5 + [False] * 2
        assert result["summary"]["planned"] == {"create": 5}
    assert predicted["diff"] == done["diff"]
    assert predicted["databases"][6]["message"] == "may exceed the capacity of default"
    assert len(databases(server)) == len(done["diff"]) == 5
    assert done["summary"]["tenants"] == {"changed": 5, "blocked": 2}
    full = stage.ensure(check=True, **wanted)
    assert not full["changed"]
    assert full["summary"]["planned"] == {}


def test_what_the_registry_says_of_a_tenant_counts_where_the_task_names_it(
    stage: Stage, server: StandIn
) -> None:
    listed = stage.folder / "tenants.csv"
    listed.write_text("tenant_id,database,retention\nacme,telemetry_old,9d\nother,,\n")
    config = stage.folder / "influxops.toml"
    config.write_text(
        f'[sources.task]\nkind = "file"\npath = "{listed}"\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    named: dict[str, Any] = {"config": str(config), "tenants": ["acme", "newcomer"]}
    made = stage.ensure(**named)
    assert not made["failed"], made["msg"]
    assert databases(server) == ["telemetry_newcomer", "telemetry_old"]
    assert made["databases"][0]["after"]["retention"] == 9 * 86400
    own = {"id": "acme", "retention": "10d"}
    said = stage.ensure(config=str(config), tenants=[own])
    assert said["databases"][0]["database"] == "telemetry_old"
    assert said["databases"][0]["after"]["retention"] == 10 * 86400
    listed.rename(stage.folder / "elsewhere.csv")
    unknown = stage.ensure(config=str(config), tenant="late")
    assert unknown["failed"]
    assert not unknown["changed"]
    listed.write_text("tenant_id,database\nacme,telemetry_old\n")
    dropped = stage.ensure(config=str(config), tenant="acme", state="absent", allow=["drop"])
    assert [entry["action"] for entry in dropped["databases"]] == ["drop"]
    assert databases(server) == ["telemetry_newcomer"]


def test_nothing_is_dropped_while_a_server_cannot_be_read_unless_that_is_allowed(
    stage: Stage, server: StandIn
) -> None:
    stage.ensure(url=server.url, tenant="a")
    targets = {"here": {"url": server.url}, "there": {"url": NOWHERE, "retries": 0}}
    wanted: dict[str, Any] = {"targets": targets, "tenant": "a", "state": "absent"}
    refused = stage.ensure(**wanted, allow=["drop"])
    assert refused["failed"]
    assert not refused["changed"]
    assert "allow: [unreachable]" in refused["msg"]
    assert databases(server) == ["telemetry_a"]
    stage.ensure(**wanted, allow=["drop", "unreachable"])
    assert databases(server) == []


def test_the_registry_and_its_attributes_are_read_as_the_command_does(
    stage: Stage, server: StandIn, registry: TestDatabase
) -> None:
    registry.registry("acme", "acme", "globex")
    # What the task says wins over PG_DB, which is a test's own, and PG_HOST.
    task = {"influx_tenant_db": {"url": server.url, "source": {"kind": "postgres"}}}
    result = stage.tasks(task, environment=registry.environment).result
    assert [entry["tenant"] for entry in result["databases"]] == ["acme", "globex"]
    elsewhere = {**registry.environment, "PG_DB": "no_such_database"}
    named = {"kind": "postgres", "database": registry.name}
    task = {"influx_tenant_db": {"url": server.url, "source": named}}
    again = stage.tasks(task, environment=elsewhere).result
    assert not again["changed"]
    assert len(again["databases"]) == 2


def test_tenants_of_the_task_leave_all_others_out_of_the_result(
    stage: Stage, server: StandIn
) -> None:
    create(server, "telemetry_somebody")
    result = stage.ensure(url=server.url, tenant="a")
    assert [entry["tenant"] for entry in result["databases"]] == ["a"]
    assert [finding["kind"] for finding in result["findings"]] == ["no-lock"]


def test_an_empty_list_asks_for_nothing(stage: Stage) -> None:
    result = stage.ensure(url=NOWHERE, tenants=[])
    assert not result["changed"]
    assert result["databases"] == []


def test_an_id_that_is_a_whole_number_is_text(stage: Stage, server: StandIn) -> None:
    stage.ensure(url=server.url, tenant=1001)
    stage.ensure(url=server.url, tenants=[1002, {"id": 1003, "retention": "1d"}])
    assert databases(server) == ["telemetry_1001", "telemetry_1002", "telemetry_1003"]


@pytest.mark.parametrize("parameters", [{"tenant": 4.2}, {"tenants": ["a", True]}])
def test_an_id_that_yaml_took_for_something_else_is_to_be_quoted(
    stage: Stage, server: StandIn, parameters: dict[str, Any]
) -> None:
    result = stage.ensure(url=server.url, **parameters)
    assert result["failed"]
    assert "quotes" in result["msg"]
    assert databases(server) == []


def test_dropping_needs_leave_and_names_what_it_would_drop(stage: Stage, server: StandIn) -> None:
    stage.ensure(url=server.url, tenants=["a", "b", "c"])
    wanted: dict[str, Any] = {"url": server.url, "tenants": ["a", "b", "nobody"], "state": "absent"}
    for check in (True, False):
        refused = stage.ensure(check=check, **wanted)
        assert refused["failed"]
        assert not refused["changed"]
        assert refused["diff"] == []
        assert "telemetry_a on default, telemetry_b on default" in refused["msg"]
        assert "telemetry_c" not in refused["msg"]
    predicted = stage.ensure(check=True, **wanted, allow=["drop"])
    done = stage.ensure(**wanted, allow=["drop"])
    assert predicted["diff"] == done["diff"]
    assert [entry["changed"] for entry in done["databases"]] == [True, True, False]
    assert databases(server) == ["telemetry_c"]


def test_a_failure_of_the_server_in_check_mode_can_be_a_warning_and_nothing_else_can(
    stage: Stage, server: StandIn
) -> None:
    late = {"unreachable": "warn"}
    targets = {"here": {"url": server.url}, "there": {"url": NOWHERE, "retries": 0}}
    soft, hard, bad = stage.tasks(
        {"influx_tenant_db": {"targets": targets, "tenant": "a", **late}, "check_mode": True},
        {"influx_tenant_db": {"targets": targets, "tenant": "a", **late}},
        {"influx_tenant_db": {"targets": targets, "tenants": ["a", "a b"], **late}},
    ).results
    assert not soft["failed"]
    assert not soft["changed"]
    assert any(NOWHERE in str(warning) for warning in soft["warnings"])
    assert hard["failed"]
    assert "telemetry_a" in hard["msg"]
    assert bad["failed"]
    assert databases(server) == []


def test_the_reporters_of_a_configuration_are_told_and_print_nothing_into_the_result(
    stage: Stage, server: StandIn
) -> None:
    config = stage.folder / "influxops.toml"
    config.write_text(
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
        '[reporters.journal]\nkind = "journal"\npath = "changes.jsonl"\n'
        '[reporters.printed]\nkind = "json"\n',
        encoding="utf-8",
    )
    config.write_text(config.read_text().replace("changes.jsonl", f"{stage.folder}/changes.jsonl"))
    predicted = stage.ensure(check=True, config=str(config), tenant="a")
    assert not (stage.folder / "changes.jsonl").exists()
    done = stage.ensure(config=str(config), tenant="a")
    assert predicted["diff"] == done["diff"]
    assert not done["failed"], done["msg"]
    assert done["databases"][0]["target"] == "eu1"
    (line,) = (stage.folder / "changes.jsonl").read_text().splitlines()
    assert json.loads(line)["tenant"] == "a"


def test_a_thousand_tenants_with_nothing_missing_cost_less_than_two_more_pings(
    stage: Stage,
) -> None:
    stage = replace(stage, forks=False)
    names = [f"tenant{number}" for number in range(1000)]
    ping = stage.folder / "ping.yml"
    ping.write_text('[{"hosts": "localhost", "gather_facts": false, "tasks": [{"ping": null}]}]')
    with running_stand_in(max_databases=None, max_tables=None) as server:
        book = play(stage, url=server.url, tenants=names)
        assert "changed=1" in stage.playbook(book).output
        seconds: dict[Path, list[float]] = {ping: [], book: []}
        for _ in range(3):
            for path, taken in seconds.items():
                start = time.monotonic()
                played = stage.playbook(path)
                taken.append(time.monotonic() - start)
                assert "ok=1    changed=0" in played.output
    assert min(seconds[book]) < 3 * min(seconds[ping])
