"""What a run does, told by what servers hold and reports say afterwards."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.cli.selection import Selection
from influxops.config.load import parse_config
from influxops.domain.database import UNKNOWN, Database, TableStats
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Action, ChangeResult, TenantStatus
from influxops.domain.tenant import Tenant
from influxops.engine.engine import Engine
from influxops.engine.operations import Drop, Ensure, Export
from influxops.errors import ConfigError, LockBusy
from influxops.plugin import Check, Source, hookimpl
from influxops.plugin_host.validation import validate_hooks
from influxops.report.document import report_document
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import KINDS


def kinds(report: object) -> Counter[str]:
    return Counter(f.kind for f in report.findings)  # type: ignore[attr-defined]


def states(report: object) -> dict[str, str]:
    return {t.tenant: t.status.value for t in report.tenants}  # type: ignore[attr-defined]


def may_exceed_capacity(report: Report) -> list[str]:
    return [plan.tenant for plan in report.tenants if plan.may_exceed_capacity]


def why(report: Report, number: int) -> str:
    finding = report.tenants[number].finding
    return finding.message if finding else ""


def there(name: str, **values: object) -> dict[str, Database]:
    return {name: Database(**{"retention": None, "complete": True, **values})}  # type: ignore[arg-type]


def test_missing_databases_are_made_and_read_again(bench: Bench) -> None:
    bench.tenants("a", "b")
    report = bench.run()
    assert set(bench.server().databases) == {"telemetry_a", "telemetry_b"}
    assert bench.server().reads == 2
    assert states(report) == {"a": "changed", "b": "changed"}
    assert report.exit_code == 0


def test_a_second_run_writes_nothing_and_reads_once(bench: Bench) -> None:
    bench.tenants("a")
    bench.run()
    bench.server(changes=[], reads=0)
    report = bench.run()
    assert bench.server().changes == []
    assert bench.server().reads == 1
    assert states(report) == {"a": "ok"}


def test_a_dry_run_plans_what_the_real_run_then_does(bench: Bench) -> None:
    bench.tenants("a", "b")
    bench.server(databases=there("telemetry_a", complete=False))
    planned = bench.run(dry_run=True)
    assert bench.server().changes == []
    assert states(planned) == {"a": "pending", "b": "pending"}
    done = bench.run()
    assert tuple(bench.server().changes) == planned.planned
    assert done.changed == planned.planned


def test_one_failure_ends_nothing_else(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    bench.server(outcomes={"telemetry_b": ChangeResult.FAILED})
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "failed", "c": "changed"}
    assert report.exit_code == 1


def test_what_a_target_says_is_done_but_is_not_there_has_failed(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(lies=frozenset({"telemetry_a"}))
    report = bench.run()
    assert states(report) == {"a": "failed"}
    assert "no such database" in why(report, 0)
    assert report.exit_code == 1


def test_a_change_without_an_outcome_is_settled_by_reading_again_closely(bench: Bench) -> None:
    bench.tenants("a", "b")
    server = bench.server(outcomes={"telemetry_a": None, "telemetry_b": None})
    report = bench.run()
    assert states(report) == {"a": "failed", "b": "failed"}
    assert server.verify == [frozenset(), frozenset({"telemetry_a", "telemetry_b"})]


def test_a_plugin_that_breaks_after_making_a_database_is_told_although_it_is_there(
    bench: Bench,
) -> None:
    bench.tenants("a")
    bench.server(breaks_after="telemetry_a")
    report = bench.run()
    assert states(report) == {"a": "changed"}
    fault = next(f for f in report.findings if f.kind == "plugin-fault")
    assert "ZeroDivisionError" in fault.message and fault.target == "eu1"
    assert report.exit_code == 1


def test_a_plugin_that_yields_no_outcome_is_told_although_all_is_there(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(silent=True)
    report = bench.run()
    assert states(report) == {"a": "changed"}
    assert kinds(report)["plugin-fault"] == 1
    assert report.exit_code == 1


def test_what_was_made_and_is_not_confirmed_is_never_called_good(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(unconfirmed="telemetry_a")
    report = bench.run()
    assert states(report) == {"a": "unknown"}
    assert kinds(report)["unconfirmed"] == 1
    assert [change.database for change in report.changed] == ["telemetry_a"]
    assert report.tenants[0].finding and "ensure --verify" in str(report.tenants[0].finding.remedy)
    assert report.exit_code == 1


def test_a_database_that_lost_its_marker_at_once_is_completed_in_the_same_run(
    bench: Bench,
) -> None:
    bench.tenants("a", "b")
    bench.server(loses={"telemetry_a"})
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "changed"}
    assert bench.server().databases["telemetry_a"].complete is True
    assert Counter(c.action for c in report.changed) == {Action.CREATE: 2}
    assert report.exit_code == 0


def test_a_run_that_verifies_looks_closely_and_completes_what_is_not(bench: Bench) -> None:
    bench.tenants("a", "b")
    bench.run()
    bench.server(hidden={"telemetry_a"}, verify=[])
    assert bench.run(dry_run=True).exit_code == 0
    assert states(bench.run(dry_run=True, verify=True)) == {"a": "pending", "b": "ok"}
    report = bench.run(verify=True)
    assert states(report) == {"a": "changed", "b": "ok"}
    assert [c.action for c in report.changed] == [Action.COMPLETE]
    assert frozenset({"telemetry_a", "telemetry_b"}) in bench.server().verify


def test_a_server_that_dies_in_the_middle_is_told_as_away_and_its_changes_as_unknown(
    bench: Bench,
) -> None:
    bench.tenants("a", "b")
    bench.server(dies_after=2, capacity=200)
    report = bench.run()
    assert states(report) == {"a": "unknown", "b": "unknown"}
    (target,) = report.targets
    assert not target.reachable and target.free_slots is None
    assert kinds(report)["unreachable"] == 1
    assert report.exit_code == 1


def test_a_tenant_on_two_targets_is_an_error_that_shows_what_each_copy_holds(
    bench: Bench,
) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.server("eu1", databases=there("telemetry_a"))
    bench.server("eu2", databases=there("telemetry_a"), rows={"telemetry_a": 3})
    report = bench.run(dry_run=True)
    assert report.exit_code == 1
    (plan,) = report.tenants
    assert plan.status is TenantStatus.BLOCKED and plan.finding
    assert "on eu1 (0 rows of telemetry) and on eu2 (3 rows of telemetry)" in plan.finding.message
    assert [copy["rows"] for copy in plan.finding.facts["copies"]] == [0, 3]


def test_copies_show_what_is_in_all_of_their_tables(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    last = datetime(2026, 11, 24, 11, 30, tzinfo=UTC)
    tables = (TableStats("cpu", 800, last_write=last), TableStats("m", 81, at_most=True))
    bench.server("eu1", databases=there("telemetry_a"), tables={"telemetry_a": tables})
    bench.server("eu2", databases=there("telemetry_a"), tables={"telemetry_a": (TableStats("m"),)})
    (plan,) = bench.run(dry_run=True).tenants
    assert plan.finding
    said = "on eu1 (at most 881 rows in cpu and m) and on eu2 (rows unknown)"
    assert said in plan.finding.message
    one, two = plan.finding.facts["copies"]
    assert (one["rows"], two["rows"]) == (881, None)
    assert one["tables"][0] == {
        "name": "cpu",
        "rows": 800,
        "at_most": False,
        "last_write": "2026-11-24T11:30:00Z",
    }


def test_a_drop_names_one_copy_of_two_and_no_pin_or_registry_does(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants(Tenant("a", {"target": "eu2"}))
    bench.extra = {"placement": {"pins": {"a": "eu2"}}}
    for name in bench.targets:
        bench.server(name, databases=there("telemetry_a"))
    drop: dict[str, Any] = {"operation": Drop(), "allow": ["drop"]}
    assert states(bench.run(tenants=("a",), **drop)) == {"a": "blocked"}
    assert states(supplemented(bench, Tenant("a"), **drop)) == {"a": "blocked"}
    assert bench.server("eu1").databases and bench.server("eu2").databases
    report = supplemented(bench, Tenant("a", {"target": "eu1"}), **drop)
    assert report.exit_code == 0
    assert not bench.server("eu1").databases and bench.server("eu2").databases


def test_a_drop_finds_a_database_that_is_not_where_its_pin_says(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.extra = {"placement": {"pins": {"a": "eu2"}}}
    bench.server("eu1", databases=there("telemetry_a"))
    report = bench.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert states(report) == {"a": "changed"}
    assert not bench.server("eu1").databases


def test_nobody_is_in_an_empty_scope(bench: Bench) -> None:
    bench.tenants("a")
    report = bench.run(context=RunContext(tenants=frozenset()))
    assert report.tenants == ()
    assert not bench.server().databases


def test_a_tenant_that_no_source_knows_fails_nobody_else_of_its_scope(bench: Bench) -> None:
    bench.tenants("acme", "b")
    report = bench.run(tenants=("acmee", "b"))
    assert states(report) == {"b": "changed", "acmee": "blocked"}
    assert report.exit_code == 1


def test_a_target_without_its_secret_is_away_and_the_others_are_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    bench.targets = ("eu1", "eu2")
    bench.extra = {
        "targets": {"eu1": {"token": {"env": "NOT_SET"}}},
        "placement": {"pins": {"a": "eu2"}},
    }
    bench.tenants("a")
    report = bench.run()
    assert states(report) == {"a": "changed"}
    assert "NOT_SET" in next(f for f in report.findings if f.kind == "unreachable").message
    assert report.exit_code == 1
    assert len(bench.world.reports) == 1


def test_a_capacity_that_the_server_contradicts_is_told(bench: Bench) -> None:
    bench.extra = {"targets": {"eu1": {"capacity": 10}}}
    bench.tenants("a", "b")
    bench.server(limit=1)
    report = bench.run()
    finding = next(f for f in report.findings if f.kind == "capacity")
    assert "set to 10, but it took no more than 1" in finding.message


def test_a_registry_that_shrank_is_told(bench: Bench) -> None:
    bench.tenants("a")
    for name in "abcdef":
        bench.server().databases.update(there(f"telemetry_{name}"))
    report = bench.run()
    warned = [f for f in report.findings if f.severity is Severity.WARNING]
    assert "5 of 6 tenant databases belong to no tenant" in warned[0].message


def test_many_ids_of_one_name_are_told_briefly(bench: Bench) -> None:
    bench.tenants(*(Tenant(f"t{n}", {"database": "telemetry_x"}) for n in range(500)))
    report = bench.run(dry_run=True)
    assert len(report.tenants) == 500
    assert max(len(f.message) for f in report.findings) < 200
    assert any("and 496 more" in finding.message for finding in report.findings)


def test_a_hanging_target_delays_nobody_for_longer_than_reading_may_take(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.extra = {"run": {"target_read_timeout": "1s"}}
    bench.tenants("a")
    bench.server("eu1", databases=there("telemetry_a"))
    bench.server("eu2", hangs=True)
    report = bench.run()
    assert states(report) == {"a": "ok"}
    message = next(f for f in report.findings if f.kind == "unreachable").message
    assert "no answer within 1 s" in message
    assert report.seconds < 10


def test_a_plugin_that_breaks_is_named_and_the_rest_goes_on(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.extra = {"placement": {"pins": {"a": "eu1", "b": "eu2"}}}
    bench.tenants("a", "b")
    bench.server("eu1", error=ZeroDivisionError("oops"))
    report = bench.run()
    assert states(report) == {"a": "failed", "b": "changed"}
    fault = next(f for f in report.findings if f.kind == "plugin-fault")
    assert fault.target == "eu1"
    assert "memorydb" in fault.message and "ZeroDivisionError" in fault.message


def test_a_failed_source_leaves_the_others_tenants_and_no_orphans(bench: Bench) -> None:
    bench.extra = {"sources": {"other": {"kind": "memory", "world": bench.name}}}
    bench.tenants("a")
    bench.tenants("b", source="other")
    bench.world.broken["other"] = RuntimeError("gone")
    bench.server(databases=there("telemetry_x"))
    report = bench.run()
    assert states(report) == {"a": "changed"}
    assert kinds(report)["failed-source"] == 1
    assert kinds(report)["orphan"] == 0
    assert report.exit_code == 1


def test_a_failing_reporter_is_a_warning_and_changes_no_result(bench: Bench) -> None:
    bench.tenants("a")
    bench.world.broken["memo"] = RuntimeError("no network")
    report = bench.run()
    assert report.exit_code == 0
    assert [f.severity for f in report.findings if f.kind == "reporter"] == [Severity.WARNING]


def test_a_reporter_without_its_secret_is_a_warning_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    bench.tenants("a")
    bench.extra = {"reporters": {"memo": {"webhook": {"env": "NOT_SET"}}}}
    report = bench.run()
    assert report.exit_code == 0
    assert "NOT_SET" in next(f for f in report.findings if f.kind == "reporter").message


def test_a_source_without_its_secret_is_refused_before_anything_is_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    bench.tenants("a")
    bench.extra = {"sources": {"registry": {"password": {"env": "NOT_SET"}}}}
    with pytest.raises(ConfigError, match=r"source:registry: .* NOT_SET"):
        bench.run()
    assert bench.server().reads == 0


def test_a_full_target_passes_its_tenants_on(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b", "c")
    bench.server("eu1", limit=1)
    report = bench.run()
    assert list(bench.server("eu1").databases) == ["telemetry_a"]
    assert list(bench.server("eu2").databases) == ["telemetry_b", "telemetry_c"]
    assert report.exit_code == 0
    assert {t.tenant: t.target for t in report.tenants} == {"a": "eu1", "b": "eu2", "c": "eu2"}


def test_a_target_that_is_full_for_what_needs_no_place_has_failed(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(
        databases=there("telemetry_a", complete=False),
        outcomes={"telemetry_a": ChangeResult.NO_CAPACITY},
    )
    report = bench.run()
    assert states(report) == {"a": "failed"}
    assert report.exit_code == 1


def test_who_finds_no_place_anywhere_is_named(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    bench.server(limit=2, capacity=2, edition="Core")
    planned = bench.run(dry_run=True)
    assert planned.exit_code == 0  # an estimate, which the server may disprove
    assert "3 to create, ~2 slots free" in planned.findings[0].message
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "changed", "c": "blocked"}
    assert [f.tenant for f in report.findings if f.kind == "over-capacity"] == [None, "c"]
    assert report.exit_code == 1


def test_who_may_find_no_place_is_not_sent_where_others_just_found_none(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b", "c", "d")
    bench.server("eu1", limit=1, capacity=2)
    bench.server("eu2", capacity=1)
    assert may_exceed_capacity(bench.run(dry_run=True)) == ["d"]
    report = bench.run()
    assert states(report) == dict.fromkeys("abcd", "changed")
    assert set(bench.server("eu2").databases) == {"telemetry_b", "telemetry_c", "telemetry_d"}
    assert report.exit_code == 0


def test_a_wrong_estimate_is_forgotten_once_the_server_has_decided(bench: Bench) -> None:
    bench.tenants(*"abcdefg")
    bench.server(capacity=5)
    planned = bench.run(dry_run=True)
    assert (planned.exit_code, kinds(planned)["over-capacity"]) == (0, 2)
    report = bench.run()
    assert len(bench.server().databases) == 7
    assert report.exit_code == 0
    assert kinds(report)["over-capacity"] == 0


def test_an_unreachable_target_keeps_missing_tenants_from_being_made_elsewhere(
    bench: Bench,
) -> None:
    bench.targets = ("eu1", "eu2")
    bench.extra = {"placement": {"pins": {"pinned": "eu2"}}}
    bench.tenants("old", "new", "pinned")
    bench.server("eu1", down="connection refused")
    bench.server("eu2", databases=there("telemetry_old"))
    report = bench.run()
    assert states(report) == {"old": "ok", "new": "guarded", "pinned": "changed"}
    assert report.exit_code == 1
    report = bench.run(allow=["unreachable"])
    assert states(report)["new"] == "changed"
    assert report.exit_code == 0


def test_a_run_for_one_tenant_minds_no_fault_elsewhere(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("old", "new")
    bench.world.tenants["registry"].append(Finding(FindingKind.EMPTY_ID, Severity.ERROR, "a NULL"))
    bench.server("eu1", down="connection refused")
    bench.server("eu2", databases=there("telemetry_old"))
    assert bench.run(tenants=("old",)).exit_code == 0
    assert bench.run(tenants=("new",)).exit_code == 1


def test_a_run_for_one_tenant_minds_no_lack_of_places_for_others(bench: Bench) -> None:
    bench.tenants("old", "new", "newer")
    bench.server(databases=there("telemetry_old"), capacity=1)
    report = bench.run(tenants=("old",))
    assert kinds(report)["over-capacity"] == 0
    assert report.exit_code == 0
    note = bench.run(tenants=("new",), dry_run=True).notes[0]
    assert "1 to create, ~0 slots free" in note.message


def test_whom_a_guard_refuses_wants_no_place(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("old", "new")
    bench.server("eu1", down="connection refused")
    bench.server("eu2", databases=there("telemetry_old"), capacity=1)
    for dry_run in (True, False):
        report = bench.run(dry_run=dry_run)
        assert states(report) == {"old": "ok", "new": "guarded"}
        assert kinds(report)["over-capacity"] == 0
    assert kinds(bench.run(dry_run=True, allow=["unreachable"]))["over-capacity"] == 2


def test_a_fault_in_a_source_that_is_all_in_the_scope_is_not_elsewhere(bench: Bench) -> None:
    bench.server()
    bench.tenants("a", "b")
    bench.world.tenants["registry"].append(Finding(FindingKind.EMPTY_ID, Severity.ERROR, "a blank"))
    report = bench.run(tenants=("a", "b"))
    assert report.exit_code == 1
    assert len(report.changed) == 2


def test_an_unknown_tenant_or_target_in_the_scope_is_refused_with_the_nearest(
    bench: Bench,
) -> None:
    bench.tenants("acme")
    with pytest.raises(ConfigError, match="did you mean acme"):
        bench.run(tenants=("acmee",))
    with pytest.raises(ConfigError, match="did you mean eu1"):
        bench.run(targets=("eu11",))


def test_two_targets_that_are_one_server_are_refused(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.server("eu1", uuid="same")
    bench.server("eu2", uuid="same")
    with pytest.raises(ConfigError, match="are one server"):
        bench.run()
    assert not bench.server("eu1").changes


def test_another_server_behind_the_url_gets_no_write(bench: Bench) -> None:
    bench.extra = {"targets": {"eu1": {"uuid": "expected"}}}
    bench.tenants("a")
    bench.server(uuid="somebody-else")
    report = bench.run()
    assert not bench.server().changes
    assert kinds(report)["wrong-server"] == 1
    assert report.exit_code == 1


@pytest.mark.parametrize("targets", [("eu1",), ("eu1", "eu2")])
def test_every_run_that_writes_holds_the_lock(bench: Bench, targets: tuple[str, ...]) -> None:
    bench.targets = targets
    bench.tenants("a")
    bench.world.lock = "busy"
    with pytest.raises(LockBusy):
        bench.run()
    with pytest.raises(LockBusy):
        bench.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert bench.run(dry_run=True).exit_code == 0


def test_one_target_without_a_lock_is_no_warning(bench: Bench) -> None:
    bench.tenants("a")
    bench.world.lock = "none"
    report = bench.run()
    assert [f.severity for f in report.findings if f.kind == "no-lock"] == [Severity.INFO]
    assert "configured targets" in report.findings[-1].message


def test_without_a_lock_the_run_warns_and_looks_for_doubles(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.world.lock = "none"
    report = bench.run()
    assert kinds(report)["no-lock"] == 1
    assert report.exit_code == 0
    assert bench.server("eu2").reads == 2


def test_a_run_that_is_over_before_it_starts_reads_and_writes_nothing(bench: Bench) -> None:
    bench.tenants("a")
    run = RunContext()
    run.cancel()
    report = bench.run(context=run)
    assert report.exit_code == 130
    assert bench.server().reads == 0


def test_an_interrupted_run_tells_what_it_did(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    bench.server(cancels_after=2)
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "changed", "c": "failed"}
    assert report.exit_code == 130
    assert report.interrupted
    assert bench.world.reports == [report]


def test_a_run_that_ends_while_its_only_change_is_under_way_was_interrupted(
    bench: Bench,
) -> None:
    bench.tenants("a")
    bench.server(cancels_with=ChangeResult.UNKNOWN)
    assert bench.run().exit_code == 130


def test_an_interrupt_does_not_wait_for_a_plugin_that_hangs(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    run, never, server = RunContext(), threading.Event(), bench.server()

    def hang() -> None:
        if server.changes:
            run.cancel()
            never.wait(60)

    server.before_change = hang
    begin = time.monotonic()
    try:
        report = bench.run(context=run)
    finally:
        never.set()
    assert time.monotonic() - begin < 4
    assert report.exit_code == 130
    assert states(report) == {"a": "changed", "b": "unknown", "c": "unknown"}


def test_a_run_without_time_left_fails_instead_of_hanging(bench: Bench) -> None:
    bench.tenants("a")
    report = bench.run(context=RunContext(timeout=0))
    assert report.exit_code == 1
    assert kinds(report)["deadline"] == 1


def test_an_empty_registry_is_said_and_guarded_where_databases_exist(bench: Bench) -> None:
    bench.tenants()
    report = bench.run()
    assert report.exit_code == 0
    assert report.findings[0].message == "No tenants found in the registry"
    bench.server(databases=there("telemetry_a"))
    report = bench.run()
    assert report.exit_code == 4
    assert [r.guard for r in report.refusals] == ["empty-source"]
    assert bench.run(allow=["empty-source"]).exit_code == 0


def test_a_guard_that_was_renamed_is_named_as_it_is_called_now(bench: Bench) -> None:
    bench.tenants("a")
    with pytest.raises(ConfigError, match="guard 'lost' was renamed to 'recreate-lost'") as caught:
        bench.run(allow=["lost"])
    assert caught.value.hint == "use `--allow recreate-lost`"
    assert bench.server().reads == 0


def test_shortening_retention_waits_to_be_allowed(bench: Bench) -> None:
    bench.extra = {"database": {"retention": "30d"}}
    bench.tenants("a", "b")
    bench.server(databases=there("telemetry_a", retention=60 * 86400))
    report = bench.run()
    assert states(report) == {"a": "guarded", "b": "changed"}
    assert report.exit_code == 4
    report = bench.run(allow=["shorter-retention"])
    assert bench.server().databases["telemetry_a"].retention == 30 * 86400
    assert report.exit_code == 0


def test_databases_of_absent_tenants_are_dropped_only_when_allowed(bench: Bench) -> None:
    bench.tenants("a", "b")
    bench.run()
    report = bench.run(tenants=("a",), operation=Drop())
    assert report.exit_code == 4
    assert set(bench.server().databases) == {"telemetry_a", "telemetry_b"}
    report = bench.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert report.exit_code == 0
    assert set(bench.server().databases) == {"telemetry_b"}
    assert [c.action for c in report.changed] == [Action.DROP]
    again = bench.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert not again.planned
    assert again.tenants[0].status is TenantStatus.OK


def test_an_unknown_guard_is_refused_with_the_nearest(bench: Bench) -> None:
    bench.tenants("a")
    with pytest.raises(ConfigError, match="did you mean unreachable"):
        bench.run(allow=["unreachabel"])


def test_doctor_goes_on_after_a_check_that_breaks(bench: Bench) -> None:
    bench.world.broken["registry"] = RuntimeError("oops")
    with bench.engine() as engine:
        checks = [check for _, check in engine.doctor(RunContext())]
    assert [check.ok for check in checks[:2]] == [True, False]
    assert "oops" in checks[1].message


def test_doctor_goes_on_after_the_checks_of_a_command_that_break(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[influxops.checks]\naaa = no_such_module:checks\n")
    monkeypatch.syspath_prepend(tmp_path)
    with bench.engine() as engine:
        checks = [check for name, check in engine.doctor(RunContext()) if name == "aaa"]
    assert [check.ok for check in checks] == [False]
    assert "broken 1.0 broke: ModuleNotFoundError" in checks[0].message


def test_the_same_tenant_from_two_sources_is_one_unless_they_disagree(bench: Bench) -> None:
    bench.extra = {"sources": {"other": {"kind": "memory", "world": bench.name}}}
    bench.tenants("a", Tenant("b", {"retention": "30d"}))
    bench.tenants("a", Tenant("b", {"retention": "60d"}), source="other")
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "blocked"}
    assert report.exit_code == 1


def test_a_change_that_did_not_take_is_found_out(bench: Bench) -> None:
    bench.extra = {"database": {"retention": "30d"}}
    bench.tenants("a", "b")
    bench.server(
        databases={**there("telemetry_a", retention=86400), **there("telemetry_b")},
        lies=frozenset({"telemetry_a", "telemetry_b"}),
    )
    report = bench.run(tenants=("a",))
    assert "another retention period" in why(report, 0)
    assert report.exit_code == 1
    report = bench.run(tenants=("b",), operation=Drop(), allow=["drop"])
    assert states(report) == {"b": "failed"}


def test_tenants_move_on_until_every_target_has_said_that_it_is_full(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2", "eu3")
    bench.tenants("a", "b", "c", "d")
    for name in bench.targets:
        bench.server(name, limit=1)
    report = bench.run()
    assert [len(bench.server(name).databases) for name in bench.targets] == [1, 1, 1]
    assert states(report)["d"] == "blocked"
    assert report.exit_code == 1


def test_a_double_that_another_run_made_meanwhile_is_an_error(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.world.lock = "none"
    bench.server("eu1", rival=there("telemetry_a"), rival_of=bench.server("eu2"))
    report = bench.run()
    assert kinds(report)["in-two-targets"] == 1
    assert report.exit_code == 1


def test_wrappers_of_other_plugins_still_apply(bench: Bench) -> None:
    bench.extra = {"reporters": {"tracing": {"kind": "wrapping", "world": bench.name}}}
    bench.tenants("a", "b")
    report = bench.run()
    assert bench.world.wrapped == [2]
    assert report.exit_code == 0


def test_a_registry_that_could_not_be_read_is_not_called_empty(bench: Bench) -> None:
    bench.tenants()
    bench.world.broken["registry"] = RuntimeError("gone")
    bench.server(databases=there("telemetry_a"))
    report = bench.run()
    assert not report.refusals
    assert kinds(report)["no-tenants"] == 0
    assert report.exit_code == 1


def test_the_name_of_a_held_tenant_goes_to_nobody_else(bench: Bench) -> None:
    bench.tenants(
        Tenant("a", {"retention": "30 parsecs"}), Tenant("b", {"database": "telemetry_a"})
    )
    report = bench.run()
    assert states(report) == {"a": "blocked", "b": "blocked"}
    assert not bench.server().databases


@pytest.mark.parametrize("given", [None, [], {"telemetry_a": "yes"}])
def test_a_target_that_gives_nonsense_is_its_own_failure(bench: Bench, given: object) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.server("eu2", databases=there("telemetry_a"))
    bench.server("eu1", nonsense=(given,))
    report = bench.run()
    assert states(report) == {"a": "ok"}
    finding = next(f for f in report.findings if f.kind == "unreachable")
    assert finding.target == "eu1" and "(kind memorydb" in finding.message


def test_a_hook_that_ends_the_process_does_not(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(error=SystemExit(3))
    assert states(bench.run()) == {"a": "failed"}


def test_an_attribute_that_is_no_text_is_read_as_text(bench: Bench) -> None:
    attributes = {"retention": None, "target": "eu1", "floor": 7}
    bench.tenants(Tenant("a", attributes))  # type: ignore[arg-type]
    assert bench.run().exit_code == 0


def test_a_lock_that_breaks_when_it_is_given_back_loses_no_report(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.world.lock = "breaks"
    report = bench.run()
    assert states(report) == {"a": "changed"}
    assert kinds(report)["no-lock"] == 1
    assert bench.server("eu2").reads == 2
    assert report.exit_code == 0


def test_reporters_hear_of_a_run_that_was_refused_as_a_whole(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.world.lock = "busy"
    with pytest.raises(LockBusy):
        bench.run()
    assert [r.exit_code for r in bench.world.reports] == [5]
    bench.server("eu1", uuid="same")
    bench.server("eu2", uuid="same")
    bench.world.lock = "free"
    with pytest.raises(ConfigError):
        bench.run()
    assert [r.exit_code for r in bench.world.reports] == [5, 2]
    with pytest.raises(ConfigError):
        bench.run(tenants=("typo",))
    assert len(bench.world.reports) == 2


def test_a_period_that_nobody_manages_fails_no_creation(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(makes=Database(86400, True))
    report = bench.run()
    assert states(report) == {"a": "changed"}
    assert report.exit_code == 0


def test_a_marker_that_did_not_take_is_found_out(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(databases=there("telemetry_a", complete=False), lies=frozenset({"telemetry_a"}))
    report = bench.run()
    assert "not complete" in why(report, 0)
    assert report.exit_code == 1


def test_no_lock_is_no_warning_where_nothing_is_to_be_placed(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.run()
    bench.world.lock = "none"
    assert kinds(bench.run())["no-lock"] == 0


def test_a_scope_of_targets_is_not_refused_for_who_belongs_elsewhere(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2", "eu3")
    bench.extra = {"targets": {"eu1": {"capacity": 1}}}
    bench.tenants("a", "b")
    bench.server("eu1", databases=there("telemetry_a"))
    bench.server("eu3", down="connection refused")
    assert bench.run(targets=("eu1",)).exit_code == 0


def test_doctor_tells_of_a_secret_that_is_missing_and_looks_at_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    bench.extra = {
        "sources": {"registry": {"password": {"env": "NOT_SET"}}},
        "reporters": {"memo": {"webhook": {"env": "NOT_SET"}}},
    }
    with bench.engine() as engine:
        checks = [(name, check.ok) for name, check in engine.doctor(RunContext())]
    assert checks == [("source:registry", False), ("reporter:memo", False), ("ledger", None)]


def test_instances_are_closed_with_their_engine(bench: Bench) -> None:
    with bench.engine():
        assert bench.world.closed == 0
    assert bench.world.closed == 1


def test_a_report_grows_with_its_tenants_and_not_with_their_square(bench: Bench) -> None:
    def size(count: int) -> int:
        names = [f"t{number:04}" for number in range(count)]
        bench.tenants(*names)
        bench.server(databases={k: v for n in names for k, v in there(f"telemetry_{n}").items()})
        return len(json.dumps(report_document(bench.run(dry_run=True))))

    bench.extra = {"database": {"retention": "20d"}}
    small, large = size(50), size(500)
    assert large < 15 * small


def test_a_refused_change_is_refused_whatever_else_was_done(bench: Bench) -> None:
    bench.extra = {"database": {"retention": "30d"}}
    bench.tenants("a")
    bench.server(databases=there("telemetry_a", complete=False))
    planned = bench.run(dry_run=True)
    done = bench.run()
    assert states(planned) == states(done) == {"a": "guarded"}
    assert [c.action for c in done.changed] == [Action.COMPLETE]
    assert "retention kept for ever → 30d" in why(done, 0)
    assert done.exit_code == 4


def test_what_a_full_target_said_is_why_a_tenant_has_no_place(bench: Bench) -> None:
    bench.tenants("a", "b")
    bench.server(limit=1, says="too many tables")
    report = bench.run()
    assert "eu1 is full (too many tables)" in why(report, 1)


def test_acknowledged_tenants_come_last_and_are_no_error_where_there_is_no_room(
    bench: Bench,
) -> None:
    bench.extra = {"tenants": {"ignore": ["a"]}}
    bench.tenants("a", "b")
    bench.server(limit=1, capacity=1)
    planned = bench.run(dry_run=True)
    assert planned.exit_code == 0
    assert may_exceed_capacity(planned) == ["a"]
    report = bench.run()
    assert states(report) == {"a": "blocked", "b": "changed"}
    assert report.exit_code == 0


def test_a_pin_that_is_misspelt_is_told_with_the_nearest_tenant(bench: Bench) -> None:
    bench.extra = {"placement": {"pins": {"amce": "eu1"}}}
    bench.tenants("acme")
    finding = next(f for f in bench.run().findings if f.kind == "unknown-tenant")
    assert finding.severity is Severity.WARNING
    assert "acme" in finding.hint


def test_doctor_tells_of_two_targets_that_are_one_server(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.server("eu1", uuid="same")
    bench.server("eu2", uuid="same")
    with bench.engine() as engine:
        checks = [check for name, check in engine.doctor(RunContext()) if name == "targets"]
    assert [check.ok for check in checks] == [False]


def test_nobody_is_dropped_while_a_server_that_may_hold_them_cannot_be_read(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.server("eu1", databases=there("telemetry_a"))
    bench.server("eu2", down="connection refused")
    report = bench.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert report.exit_code == 1
    assert bench.server("eu1").databases
    report = bench.run(tenants=("a",), operation=Drop(), allow=["drop", "unreachable"])
    assert report.exit_code == 0
    assert not bench.server("eu1").databases


def supplemented(bench: Bench, *tenants: Tenant, **arguments: Any) -> Report:
    sources = {"registry": _memory(bench), "task": _memory(bench)}
    config = parse_config({**bench.merged(), "sources": sources})
    sections = tuple(
        replace(section, supplements=section.name == "task") for section in config.sections
    )
    bench.tenants(*tenants, source="task")
    with Engine(replace(config, sections=sections), kinds=KINDS) as engine:
        named = frozenset(tenant.id for tenant in tenants)
        operation = arguments.pop("operation", None) or Ensure()
        return engine.run(operation, RunContext(tenants=named), **arguments)


def _memory(bench: Bench) -> dict[str, str]:
    return {"kind": "memory", "world": bench.name, "host": "localhost"}


def test_a_supplementing_source_adds_whom_nobody_knows_and_overrides_the_rest(
    bench: Bench,
) -> None:
    bench.extra = {}
    bench.tenants(Tenant("a", {"database": "own", "retention": "1d"}), "z")
    supplemented(bench, Tenant("a", {"retention": "2d"}), Tenant("new"))
    made = bench.server().databases
    assert set(made) == {"own", "telemetry_new"}
    assert made["own"].retention == 2 * 86400


def test_a_supplementing_source_makes_nothing_of_tenants_that_could_not_be_looked_up(
    bench: Bench,
) -> None:
    bench.world.broken["registry"] = RuntimeError("gone")
    report = supplemented(bench, Tenant("a"))
    assert report.exit_code == 1
    assert not bench.server().databases


def test_a_run_that_ends_while_it_reads_again_tells_what_it_made(bench: Bench) -> None:
    bench.tenants("a", "b")
    bench.server(cancels_reading=2)
    report = bench.run()
    assert states(report) == {"a": "changed", "b": "changed"}
    assert len(report.changed) == 2
    assert report.exit_code == 130


def test_a_lost_marker_says_nothing_of_a_retention_period_that_was_set(bench: Bench) -> None:
    bench.extra = {"database": {"retention": "30d"}}
    bench.tenants("a")
    bench.server(
        databases=there("telemetry_a", retention=86400, complete=False),
        loses={"telemetry_a"},
    )
    report = bench.run()
    assert kinds(report)["plugin-fault"] == 0
    assert {c.action for c in report.changed} == {Action.SET_RETENTION, Action.COMPLETE}
    assert report.exit_code == 0


def test_a_reporter_that_breaks_at_the_start_is_a_warning(bench: Bench) -> None:
    bench.tenants("a")
    bench.world.broken["memo started"] = RuntimeError("oops")
    report = bench.run()
    assert kinds(report)["reporter"] == 1
    assert report.exit_code == 0


def test_what_even_a_close_look_does_not_show_is_counted(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(databases=there("telemetry_a", complete=UNKNOWN))
    report = bench.run(verify=True)
    assert report.exit_code == 0
    assert "whether 1 database had a marker is unknown" in report.findings[0].message


def test_a_target_that_looks_at_no_clock_is_left_behind(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.extra = {"run": {"target_read_timeout": "1s"}}
    bench.tenants("a")
    stuck = threading.Event()
    bench.server("eu1", databases=there("telemetry_a"))
    bench.server("eu2", stuck=stuck)
    try:
        report = bench.run(dry_run=True)
    finally:
        stuck.set()
    assert states(report) == {"a": "ok"}
    assert "no answer within 1 s" in next(f for f in report.findings if f.target).message


def test_a_misspelt_attribute_holds_its_tenant(bench: Bench) -> None:
    bench.tenants(Tenant("a", {"retenion": "30d"}), Tenant("b", {"floor": "7"}))
    report = bench.run()
    assert states(report) == {"a": "blocked", "b": "changed"}
    assert any("did you mean retention?" in finding.hint for finding in report.findings)


def test_a_source_that_gives_nothing_at_all_is_a_fault(bench: Bench) -> None:
    bench.tenants("a")
    bench.world.tenants["registry"] = None  # type: ignore[assignment]
    report = bench.run()
    assert "does it lack a `yield`?" in report.findings[0].message
    assert report.exit_code == 1


@pytest.mark.parametrize("attributes", [None, "", ()])
def test_attributes_that_are_no_mapping_are_a_fault_of_their_source(
    bench: Bench, attributes: Any
) -> None:
    bench.tenants("a", Tenant("b", attributes))
    report = bench.run()
    assert "attributes are " in report.findings[0].message
    assert report.findings[0].source == "registry"
    assert (report.tenants, report.exit_code) == ((), 1)


@pytest.mark.parametrize("chosen", [{"targets": ("eu2",)}, {"states": ("ok",)}])
def test_a_tenant_with_two_databases_is_not_left_out_of_an_export_without_a_word(
    bench: Bench, tmp_path: Path, chosen: dict[str, Any]
) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b")
    for name in bench.targets:
        bench.server(name, databases=there("telemetry_a"))
    report = bench.run(operation=Export(tmp_path, chosen=Selection(**chosen)))
    assert (states(report), report.exit_code) == ({"a": "blocked"}, 1)
    assert "telemetry_a is on eu1" in why(report, 0)


def test_what_is_found_comes_in_the_same_order_in_each_process(bench: Bench) -> None:
    names = [f"gone{number:02}" for number in range(20)]
    bench.extra = {"tenants": {"ignore": names[::-1]}}
    report = bench.run()
    found = [each.message for each in report.findings if each.kind is FindingKind.UNKNOWN_TENANT]
    assert found == [f"[tenants] ignore names '{name}', which no source knows" for name in names]


class Unmarked(Source):
    def influxops_tenants(self, context: RunContext) -> list[Tenant]:
        return []


class Misnamed(Source):
    @hookimpl
    def influxops_tenant(self) -> list[Tenant]:
        return []

    @hookimpl
    def influxops_check(self, ctx: RunContext) -> list[Check]:
        return []


def test_what_is_wrong_with_hooks_is_named() -> None:
    assert validate_hooks(Unmarked) == "influxops_tenants lacks @hookimpl"
    wrong = validate_hooks(Misnamed)
    assert "influxops_check has no argument ctx; it may take context" in wrong
    assert "no hook is called influxops_tenant (did you mean influxops_tenants?)" in wrong


def test_with_two_registries_doubles_are_looked_for_although_a_lock_is_held(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.extra = {"sources": {"other": {"kind": "memory", "world": bench.name}}}
    bench.tenants("a")
    bench.tenants(source="other")
    bench.server("eu1", rival=there("telemetry_a"), rival_of=bench.server("eu2"))
    report = bench.run()
    assert kinds(report)["in-two-targets"] == 1
    assert report.exit_code == 1


def test_a_retention_period_that_was_asked_for_and_cannot_be_read_back_is_a_warning(
    bench: Bench,
) -> None:
    bench.extra = {"database": {"retention": "30d"}}
    bench.tenants("a")
    bench.server(makes=Database(UNKNOWN, complete=True))
    report = bench.run()
    assert kinds(report)["retention-not-read"] == 1
