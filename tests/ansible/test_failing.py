"""What a task tells, and keeps, when not all could be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from influxops_devserver.testing import StandIn, running_stand_in
from tests.ansible.conftest import (
    NOWHERE,
    ROOT,
    Played,
    Stage,
    databases,
    stage_collection,
    write,
)
from tests.ansible.test_secrets_of_examples import examples
from tests.integration.proxy import Seen, running_proxy
from tests.pg import TestDatabase


def test_a_database_that_was_made_and_not_finished_is_changed_and_failed(stage: Stage) -> None:
    with running_stand_in(wal_flush_interval="50ms", max_tables=3) as server:
        write(server, "other", "a v=1\nb v=1\nc v=1")
        result = stage.ensure(url=server.url, tenant="f", retention="30d")
        assert "telemetry_f" in databases(server)
    assert result["failed"]
    assert result["changed"]
    (entry,) = result["databases"]
    assert (entry["status"], entry["action"], entry["changed"]) == ("failed", "create", True)
    assert entry["before"] is None
    assert (entry["after"]["retention"], entry["after"]["marker"]) == (30 * 86400, False)
    (diff,) = result["diff"]
    assert (diff["before"], diff["after"]) == ("", entry["after"])
    assert result["summary"]["changed"] == {"create": 1}


def test_what_nobody_knows_after_a_server_died_is_unknown(stage: Stage) -> None:
    names = [f"t{number:03}" for number in range(60)]
    with (
        running_stand_in(wal_flush_interval="50ms", max_databases=None, max_tables=None) as server,
        running_proxy(server.url) as proxy,
    ):

        def die(seen: Seen) -> None:
            if seen.writes and len(proxy.writes) > 20 and server.process.poll() is None:
                server.process.kill()
                server.process.wait()

        proxy.after = die
        result = stage.ensure(url=proxy.url, tenants=names, details="all", timeout=20)
    assert result["failed"]
    assert result["changed"]
    by_state: dict[str, list[dict[str, Any]]] = {}
    for entry in result["databases"]:
        by_state.setdefault(entry["status"], []).append(entry)
    assert by_state["unknown"]
    for entry in by_state["unknown"]:
        assert entry["changed"] in (True, None)
        assert (entry["after"] is None) == (entry["changed"] is None)
    assert any(entry["changed"] is None for entry in by_state["unknown"])
    # Those that were not come to are known: nothing was asked for them.
    assert all("not tried" in entry["message"] for entry in by_state["failed"])
    assert {entry["changed"] for entry in by_state["failed"]} == {False}
    assert "run the task with `verify: true`" in result["msg"]
    told = sum(entry["changed"] is True for entry in result["databases"])
    assert len(result["diff"]) == told
    unsettled = {entry["tenant"] for name in ("unknown", "failed") for entry in by_state[name]}
    errors = [f for f in result["findings"] if f["severity"] == "error"]
    assert {finding["tenant"] for finding in errors} == unsettled


def test_each_database_is_claimed_by_the_one_host_that_made_it(
    stage: Stage, registry: TestDatabase, tmp_path: Path
) -> None:
    registry.registry(*(f"t{number:02}" for number in range(12)))
    hosts = ["one", "two", "three"]
    with running_stand_in(max_databases=None, max_tables=None) as server:
        made = {"url": server.url, "source": {"kind": "postgres"}}
        keep = {
            "content": "{{ made | to_json }}",
            "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        }
        book = stage.folder / "book.yml"
        tasks = [{"influx_tenant_db": made, "register": "made"}, {"copy": keep}]
        book.write_text(
            json.dumps(
                [{"hosts": "all", "gather_facts": False, "connection": "local", "tasks": tasks}]
            )
        )
        played = stage.playbook(
            book,
            *(
                "-i",
                ",".join(hosts),
                "-e",
                "ansible_python_interpreter={{ansible_playbook_python}}",
            ),
            environment=registry.environment,
        )
        assert played.code == 0, played.output
        assert len(databases(server)) == 12
    results = [json.loads((tmp_path / host).read_text()) for host in hosts]
    claimed = [e["tenant"] for each in results for e in each["databases"] if e["changed"]]
    assert len(claimed) == len(set(claimed)) == 12
    assert [each["changed"] for each in results] == [
        any(e["changed"] for e in each["databases"]) for each in results
    ]


def test_all_that_fails_a_task_is_among_its_findings_as_an_error(
    stage: Stage, server: StandIn
) -> None:
    stage.ensure(url=server.url, tenant="kept", retention="30d")
    empty = {"kind": "static", "tenants": []}
    config = stage.folder / "wrong.toml"
    config.write_text("[naming\n")
    refused, dropped, held, away, emptied, wrong = stage.tasks(
        {"influx_tenant_db": {"url": server.url, "tenant": "kept", "retention": "1d"}},
        {"influx_tenant_db": {"url": server.url, "tenant": "kept", "state": "absent"}},
        {"influx_tenant_db": {"url": server.url, "tenant": "a b"}},
        {"influx_tenant_db": {"url": NOWHERE, "tenant": "kept"}},
        {"influx_tenant_db": {"url": server.url, "source": empty}},
        {"influx_tenant_db": {"config": str(config), "tenant": "a"}},
    ).results
    kinds = {
        "guard": (refused, dropped, emptied),
        "invalid-name": (held,),
        "unreachable": (away,),
        "configuration": (wrong,),
    }
    for kind, results in kinds.items():
        for result in results:
            assert result["failed"], result
            errors = [f["kind"] for f in result["findings"] if f["severity"] == "error"]
            assert kind in errors, result["findings"]
    assert "`allow: [shorter-retention]`" in refused["findings"][0]["hint"]


def test_a_failure_that_is_a_warning_keeps_diff_and_handlers_and_says_who_it_is(
    stage: Stage, server: StandIn
) -> None:
    handler = {"name": "restart", "debug": {"msg": "handler ran"}}
    ensure = {"url": server.url, "tenants": ["good", "a b"], "on_failure": "warn"}
    played = stage.tasks(
        {"influx_tenant_db": ensure, "notify": "restart"},
        {"influx_tenant_db": {**ensure, "url": NOWHERE}},
        {"influx_tenant_db": {**ensure, "tenants": ["a"], "retention": "soon"}},
        {"influx_tenant_db": {"url": server.url, "on_failure": "warn", "source": _ABSENT}},
        arguments=["--diff"],
        play={"handlers": [handler]},
    )
    partly, away, wrong, unread = played.results
    assert not partly["failed"]
    assert partly["changed"]
    assert partly["not_as_desired"] == ["a b"]
    assert "'a b'" in str(partly["warnings"])
    assert len(partly["diff"]) == 1
    assert "+++ after: telemetry_good on default" in played.output
    assert "handler ran" in played.output
    assert not away["failed"]
    assert not away["changed"]
    assert away["not_as_desired"] == ["good", "a b"]
    # Which tenant that is about is unknown.
    assert wrong["failed"]
    assert unread["failed"]


def test_the_documented_ways_to_go_on_after_a_failure_go_on_only_then(stage: Stage) -> None:
    shown = examples(ROOT / "docs/ansible.md")
    (rescued,) = [task for task in shown if "block" in task]
    number = next(n for n, task in enumerate(shown) if "on_failure" in str(task))
    softened = shown[number : number + 2]
    (stage.folder / "restart.yml").write_text('- debug:\n    msg: "restarted {{ item }}"\n')
    listed = stage.folder / "tenants.csv"
    listed.write_text("tenant_id\na\nb\n")
    stage_collection(stage.folder / "collections")
    book = stage.folder / "book.yml"

    def play(tasks: list[Any], url: str) -> Played:
        (stage.folder / "influxops.toml").write_text(
            f'[targets.eu1]\nkind = "influxdb3"\nurl = "{url}"\ncapacity = 1\nretries = 0\n'
            f'[sources.s]\nkind = "file"\npath = "{listed}"\n'
        )
        text = json.dumps(
            [
                {
                    "hosts": "localhost",
                    "gather_facts": False,
                    "vars": {"tenants": ["a", "b"]},
                    "tasks": tasks,
                    "handlers": [{"name": "Reload the writers", "debug": {"msg": "reloaded"}}],
                }
            ]
        )
        book.write_text(text.replace("/etc/influxops/", f"{stage.folder}/"))
        path = {"ANSIBLE_COLLECTIONS_PATH": str(stage.folder / "collections")}
        return stage.playbook(book, environment=path)

    with running_stand_in() as server:
        partly = play(softened, server.url)
        full = play([rescued], server.url)
    away = play([rescued], NOWHERE)
    assert partly.code == 0, partly.output
    assert "restarted a" in partly.output
    assert "restarted b" not in partly.output
    assert "reloaded" in partly.output
    assert full.code == 0, full.output
    assert "rescued=1" in full.output
    assert away.code == 2


_ABSENT = {"kind": "file", "path": "/no/such/tenants.csv"}


def test_a_failure_tells_what_is_not_as_it_should_be_and_counts_the_rest(stage: Stage) -> None:
    names = [f"tenant{number:04}" for number in range(1000)]
    with running_stand_in(max_databases=None, max_tables=None) as server:
        wanted: dict[str, Any] = {"url": server.url, "tenants": [*names, "a b"]}
        brief = stage.tasks({"influx_tenant_db": wanted})
        (whole,) = stage.tasks({"influx_tenant_db": {**wanted, "details": "all"}}).results
    result = brief.result
    assert result["failed"]
    assert result["changed"]
    assert [entry["tenant"] for entry in result["databases"]] == ["a b"]
    assert result["omitted"] == 1000
    assert result["summary"]["tenants"] == {"changed": 1000, "blocked": 1}
    assert len(brief.output) < 5_000
    assert (len(whole["databases"]), whole["omitted"]) == (1001, 0)


def test_a_retention_period_that_was_returned_is_accepted(stage: Stage, server: StandIn) -> None:
    made = stage.ensure(url=server.url, tenant="a", retention="30d")
    (info,) = stage.tasks({"influx_tenant_db_info": {"url": server.url, "tenant": "a"}}).results
    row = info["databases"][0]
    seconds = made["databases"][0]["after"]["retention"]
    for retention in (seconds, row["retention"], row["desired"], "unmanaged"):
        own = {"id": "a", "retention": retention}
        for said in ({"tenant": "a", "retention": retention}, {"tenants": [own]}):
            result = stage.ensure(url=server.url, **said)
            assert not result["failed"], result["msg"]
            assert not result["changed"], retention
    cleared = stage.ensure(url=server.url, tenant="a", retention="none")
    assert cleared["databases"][0]["after"]["retention"] is None
    (info,) = stage.tasks({"influx_tenant_db_info": {"url": server.url, "tenant": "a"}}).results
    assert info["databases"][0]["retention"] == "none"


def test_a_drop_warns_of_a_tenant_that_a_source_still_has(stage: Stage, server: StandIn) -> None:
    config = stage.folder / "influxops.toml"
    config.write_text(
        '[sources.s]\nkind = "static"\ntenants = ["known"]\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    stage.ensure(config=str(config), tenants=["known", "gone"])
    for tenant, warned in (("known", True), ("gone", False)):
        drop: dict[str, Any] = {"config": str(config), "tenant": tenant, "state": "absent"}
        result = stage.ensure(**drop, allow=["drop"])
        assert not result["failed"], result["msg"]
        assert result["changed"]
        kinds = [finding["kind"] for finding in result["findings"]]
        assert ("still-registered-after-drop" in kinds) == warned
        assert ("makes its database again" in str(result.get("warnings"))) == warned


def test_of_two_copies_only_the_one_that_is_named_is_dropped(stage: Stage) -> None:
    with running_stand_in() as eu1, running_stand_in() as eu2:
        for server in (eu1, eu2):
            stage.ensure(url=server.url, tenant="dbl")
        targets = {"eu1": {"url": eu1.url}, "eu2": {"url": eu2.url}}
        drop: dict[str, Any] = {"targets": targets, "state": "absent", "allow": ["drop"]}
        listed = stage.folder / "tenants.csv"
        listed.write_text("tenant_id,target\ndbl,eu1\n")
        pinned, known = stage.folder / "pinned.toml", stage.folder / "known.toml"
        servers = "".join(
            f'[targets.{name}]\nkind = "influxdb3"\nurl = "{url["url"]}"\n'
            for name, url in targets.items()
        )
        pinned.write_text(servers + '[placement.pins]\ndbl = "eu1"\n')
        known.write_text(servers + f'[sources.s]\nkind = "file"\npath = "{listed}"\n')
        for where in ({"targets": targets}, {"config": str(pinned)}, {"config": str(known)}):
            held = stage.ensure(**where, tenant="dbl", state="absent", allow=["drop"])
            assert held["failed"]
            assert not held["changed"]
            assert "telemetry_dbl is on eu1" in held["msg"]
            assert databases(eu1) == databases(eu2) == ["telemetry_dbl"]
        dropped = stage.ensure(**drop, tenants=[{"id": "dbl", "target": "eu1"}])
        assert not dropped["failed"], dropped["msg"]
        assert [entry["target"] for entry in dropped["databases"]] == ["eu1"]
        assert databases(eu1) == []
        assert databases(eu2) == ["telemetry_dbl"]
        # The other copy stays, so nothing is made again.
        assert "still-registered-after-drop" not in str(dropped["findings"])
