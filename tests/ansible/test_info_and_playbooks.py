"""`influx_tenant_db_info`, the playbooks, and the collection, as a user has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from influxops_devserver.testing import StandIn, running_stand_in
from tests.ansible.conftest import NOWHERE, ROOT, Played, Stage, databases, stage_collection, write
from tests.pg import TestDatabase

TENANTS = ("acme", "globex", "initech", "umbrella")


@pytest.fixture
def fleet(stage: Stage, registry: TestDatabase) -> Iterator[tuple[Stage, list[StandIn]]]:
    """A registry and two servers, with what `influxops demo --keep` prints for its users."""
    registry.registry(*TENANTS)
    config = stage.folder / "influxops.toml"
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_stand_in(wal_flush_interval="50ms", max_databases=3))
            for _ in range(2)
        ]
        text = '[sources.registry]\nkind = "postgres"\n'
        for number, server in enumerate(servers, 1):
            text += (
                f'[targets.eu{number}]\nkind = "influxdb3"\nurl = "{server.url}"\ncapacity = 3\n'
            )
        config.write_text(text, encoding="utf-8")
        environment = {**registry.environment, "INFLUXOPS_CONFIG": str(config)}
        yield replace(stage, environment=environment), servers


def run(stage: Stage, playbook: str, *arguments: str) -> Played:
    return stage.playbook(ROOT / f"playbooks/{playbook}.yml", *arguments)


def held(servers: list[StandIn]) -> list[str]:
    return sorted(name for server in servers for name in databases(server))


def test_the_playbooks_see_a_tenant_through_its_life(fleet: tuple[Stage, list[StandIn]]) -> None:
    stage, servers = fleet
    names = [f"telemetry_{tenant}" for tenant in TENANTS]

    before = run(stage, "audit")
    assert before.code != 0
    assert "no database: acme" in before.output

    assert run(stage, "ensure_registry", "--check").code == 0
    assert held(servers) == []
    first = run(stage, "ensure_registry")
    assert first.code == 0
    assert "changed=1" in first.output
    assert held(servers) == names
    assert "changed=0" in run(stage, "ensure_registry").output

    one = run(stage, "ensure_tenant", "-e", "influx_tenant=newcomer")
    assert one.code == 0
    assert f"newcomer writes to telemetry_newcomer on {servers[1].url}" in one.output

    report = stage.folder / "audit.json"
    orphaned = run(stage, "audit", "-e", f"audit_report={report}")
    assert orphaned.code == 0, orphaned.output
    told = json.loads(report.read_text(encoding="utf-8"))
    assert [row["tenant"] for row in told["databases"]] == list(TENANTS)
    assert [f["kind"] for f in told["findings"]] == ["orphan", "no-ledger"]

    shown = run(stage, "retire_tenant", "-e", "influx_tenant=newcomer")
    assert shown.code == 0
    assert "telemetry_newcomer on eu2 with 0 rows" in shown.output
    assert "changed=0" in shown.output
    assert "telemetry_newcomer" in held(servers)
    retired = run(stage, "retire_tenant", "-e", "influx_tenant=newcomer", "-e", "confirm=newcomer")
    assert retired.code == 0
    assert "changed=1" in retired.output
    assert held(servers) == names
    mistyped = run(stage, "retire_tenant", "-e", "influx_tenant=acne")
    assert mistyped.code == 0
    assert "nothing to drop for acne" in mistyped.output
    confirmed = run(stage, "retire_tenant", "-e", "influx_tenant=acne", "-e", "confirm=acne")
    assert confirmed.code != 0
    assert "nothing to drop for acne" in confirmed.output


def test_of_a_tenant_on_two_servers_both_copies_are_shown_and_the_named_one_is_retired(
    fleet: tuple[Stage, list[StandIn]],
) -> None:
    stage, servers = fleet
    for server in servers:
        stage.ensure(url=server.url, tenant="dbl")
    write(servers[0], "telemetry_dbl", "telemetry v=1")
    shown = run(stage, "retire_tenant", "-e", "influx_tenant=dbl", "-e", "confirm=dbl")
    assert shown.code != 0
    assert "telemetry_dbl on eu1 with 1 rows" in shown.output
    assert "telemetry_dbl on eu2 with 0 rows" in shown.output
    assert "add -e influx_target=eu2" in shown.output
    assert held(servers) == ["telemetry_dbl"] * 2
    named = ("-e", "influx_tenant=dbl", "-e", "influx_target=eu2")
    assert run(stage, "retire_tenant", *named).code == 0
    assert held(servers) == ["telemetry_dbl"] * 2
    retired = run(stage, "retire_tenant", *named, "-e", "confirm=dbl")
    assert retired.code == 0, retired.output
    assert databases(servers[0]) == ["telemetry_dbl"]
    assert databases(servers[1]) == []


def test_a_playbook_finds_the_configuration_in_the_folder_that_it_is_called_from(
    stage: Stage, server: StandIn
) -> None:
    (stage.folder / "influxops.toml").write_text(
        f'[sources.s]\nkind = "static"\ntenants = ["a"]\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    assert run(stage, "ensure_registry").code == 0
    assert databases(server) == ["telemetry_a"]


def test_an_audit_fails_on_what_needs_a_decision(fleet: tuple[Stage, list[StandIn]]) -> None:
    stage, servers = fleet
    assert run(stage, "ensure_registry").code == 0
    servers[1].stop()
    audit = run(stage, "audit")
    assert audit.code != 0
    assert servers[1].url in audit.output
    assert "umbrella" in audit.output


def test_information_tells_what_is_there_and_what_is_not(stage: Stage, server: StandIn) -> None:
    stage.ensure(url=server.url, tenants=["a", "b"], retention="30d")
    write(
        server,
        "telemetry_a",
        "telemetry v=1 1799999999000000000\ntelemetry v=2 1800000000000000000\n"
        "cpu v=1 1800000060000000000",
    )
    info = stage.tasks(
        {"influx_tenant_db_info": {"url": server.url, "tenants": ["a", "b", "c"]}}
    ).result
    a, b, c = info["databases"]
    assert not info["changed"]
    assert (a["exists"], a["marker"], a["retention"]) == (True, True, "30d")
    assert a["desired"] == "unmanaged"
    assert a["telemetry_count"] == 2
    assert a["rows"] == 3
    assert a["last_write"] == "2027-01-15T08:01:00Z"
    assert [(table["name"], table["rows"]) for table in a["tables"]] == [
        ("cpu", 1),
        ("telemetry", 2),
    ]
    assert (b["telemetry_count"], b["last_write"]) == (0, None)
    assert (c["exists"], c["target"], c["telemetry_count"]) == (False, None, None)
    (target,) = info["targets"]
    assert (target["edition"], target["databases"], target["free_slots"]) == ("Core", 2, 3)
    assert target["cluster_uuid"]
    assert databases(server) == ["telemetry_a", "telemetry_b"]


def test_information_fails_only_where_it_could_not_read(stage: Stage, server: StandIn) -> None:
    half = {"here": {"url": server.url}, "there": {"url": NOWHERE, "retries": 0}}
    held, fails, warns = stage.tasks(
        {"influx_tenant_db_info": {"url": server.url, "tenants": ["a", "a b"]}},
        {"influx_tenant_db_info": {"targets": half, "tenant": "a"}},
        {"influx_tenant_db_info": {"targets": half, "tenant": "a", "unreachable": "warn"}},
    ).results
    assert not held["failed"]
    assert [finding["kind"] for finding in held["findings"]] == ["invalid-name"]
    assert fails["failed"]
    assert NOWHERE in fails["msg"]
    assert "telemetry_a" in fails["msg"]
    assert not warns["failed"]
    assert warns["databases"][0]["exists"] is None
    assert [target["reachable"] for target in warns["targets"]] == [True, False]


def test_the_collection_offers_the_modules_with_defaults_for_both(
    stage: Stage, server: StandIn, tmp_path: Path
) -> None:
    stage_collection(tmp_path / "staged")
    name = "influxops.influxdb3"
    made, seen, found = stage.tasks(
        {f"{name}.influx_tenant_db": {"tenant": "a"}},
        {f"{name}.influx_tenant_db_info": {"tenant": "a"}},
        {"set_fact": {"place": f"{{{{ lookup('{name}.tenant', 'a', url='{server.url}') }}}}"}},
        play={"module_defaults": {f"group/{name}.influx": {"url": server.url}}},
        environment={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "staged")},
    ).results
    assert made["changed"]
    assert seen["databases"][0]["exists"]
    assert found["ansible_facts"]["place"]["url"] == server.url
