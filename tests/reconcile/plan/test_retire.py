from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.domain.database import TableStats
from influxops.domain.finding import FindingKind, Severity
from influxops.domain.plan import Action, ChangeResult, TenantStatus
from influxops.domain.record import LedgerSnapshot
from influxops.domain.route import routes_of
from influxops.engine.operations import Drop, DropDue
from influxops.plugin import (
    ConfigError,
    Database,
    ExitCode,
    LedgerError,
    Record,
    Report,
    SourceError,
    State,
)
from influxops.reconcile.plan.retire import Retire, Unretire
from influxops.report.view import ReportView
from tests.bench import Bench
from tests.fakes import REMOVED, Books

DAY = timedelta(days=1)
IDS = "abcdefghijklmnop"


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench that remembers 16 tenants, one of which, `a`, is in no source any more."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.tenants(*IDS)
    bench.run()
    bench.tenants(*IDS[1:])
    return bench


@pytest.fixture
def due(kept: Bench) -> Bench:
    """Give one where `a` is retiring, and due."""
    retire(kept, "a")
    books(kept).now += 8 * DAY
    books(kept).calls.clear()
    return kept


def books(bench: Bench) -> Books:
    return bench.world.books


def record(bench: Bench, tenant: str = "a") -> Record:
    return books(bench).records[tenant]


def events(bench: Bench, tenant: str = "a") -> list[str]:
    return [entry.event.value for entry in books(bench).history if entry.tenant == tenant]


def kinds(report: Report) -> set[FindingKind]:
    return {finding.kind for finding in report.findings}


def retire(bench: Bench, *tenants: str, after: float | None = None, **arguments: Any) -> Report:
    operation = Retire(tenants, after, arguments.pop("renew", False))
    return bench.run(tenants=tenants, operation=operation, **arguments)


def drop_due(bench: Bench, **arguments: Any) -> Report:
    return bench.run(operation=DropDue(), **arguments)


def guards(report: Report) -> list[str]:
    return [refusal.guard for refusal in report.refusals]


# retire


def test_a_retired_tenant_keeps_its_database_until_the_time_has_passed(kept: Bench) -> None:
    report = retire(kept, "a")
    assert report.exit_code is ExitCode.OK
    assert record(kept).state is State.RETIRING
    assert record(kept).drop_after == books(kept).now + 7 * DAY
    assert "telemetry_a" in kept.server().databases
    assert events(kept) == ["created", "retiring"]
    assert ReportView(report).action_text(report.tenants[0]) == (
        "retiring (data until 2026-12-01 12:00 UTC)"
    )


def test_the_time_comes_from_the_command_or_the_configuration(kept: Bench) -> None:
    kept.extra["ledger"]["retire_after"] = "2d"
    retire(kept, "a")
    assert record(kept).drop_after == books(kept).now + 2 * DAY
    retire(kept, "a", after=3600)
    assert record(kept).drop_after == books(kept).now + 2 * DAY
    retire(kept, "a", after=3600, renew=True)
    assert record(kept).drop_after == books(kept).now + timedelta(hours=1)


def test_a_plan_to_retire_writes_nothing(kept: Bench) -> None:
    report = retire(kept, "a", dry_run=True)
    assert [change.action for change in report.planned] == [Action.RETIRE]
    assert record(kept).state is State.READY


def test_retiring_again_changes_nothing(kept: Bench) -> None:
    retire(kept, "a")
    before = record(kept)
    books(kept).now += DAY
    report = retire(kept, "a")
    assert (report.exit_code, report.changed) == (ExitCode.OK, ())
    assert record(kept) == before
    assert "it is retiring already" in report.tenants[0].notes[0].message


def test_a_tenant_that_a_source_still_has_is_refused_until_that_is_allowed(kept: Bench) -> None:
    report = retire(kept, "b")
    assert report.exit_code is ExitCode.REFUSED
    assert guards(report) == ["still-registered"]
    assert record(kept, "b").state is State.READY
    report = retire(kept, "b", allow=["still-registered"])
    assert report.exit_code is ExitCode.OK
    assert record(kept, "b").state is State.RETIRING
    assert FindingKind.STILL_REGISTERED in kinds(report)


@pytest.mark.parametrize(("age", "refused"), [(timedelta(hours=23), True), (2 * DAY, False)])
def test_telemetry_of_the_last_day_is_refused_until_that_is_allowed(
    kept: Bench, age: timedelta, refused: bool
) -> None:
    kept.server().rows = {"telemetry_a": 3}
    kept.server().last = {"telemetry_a": books(kept).now - age}
    report = retire(kept, "a")
    assert guards(report) == (["recent-telemetry"] if refused else [])
    if refused:
        assert "telemetry came 2026-11-23 13:00 UTC" in report.tenants[0].finding.message  # type: ignore[union-attr]
        assert record(kept).state is State.READY
        assert retire(kept, "a", allow=["recent-telemetry"]).exit_code is ExitCode.OK
    assert record(kept).state is State.RETIRING


OLD, NEW = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 24, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tables", "refused", "said"),
    [
        ([TableStats("m", 3, last_write=NEW)], True, "telemetry came 2026-11-24 11:00 UTC in m"),
        ([TableStats("m", 3, last_write=NEW), TableStats("x")], True, "telemetry came"),
        ([TableStats("m", None, last_write=NEW)], True, "telemetry came"),
        ([TableStats("m", 3)], True, "when telemetry came is not told"),
        ([TableStats("m", 3, last_write=OLD), TableStats("x")], None, "could not be read"),
        ([TableStats("m", 9, True, OLD), TableStats("x", 0)], False, ""),
        ([TableStats("m", 3, last_write=NEW, is_telemetry=False)], False, ""),
        ([TableStats("m", is_telemetry=False)], False, ""),
        ([], False, ""),
    ],
    ids=[
        "new",
        "new beside unknown",
        "new and not counted",
        "without a time",
        "old beside unknown",
        "old beside empty",
        "new and no telemetry",
        "unknown and no telemetry",
        "no table",
    ],
)
def test_what_came_to_any_table_counts(
    kept: Bench, tables: list[TableStats], refused: bool | None, said: str
) -> None:
    def judged(report: Report) -> None:
        assert guards(report) == (["recent-telemetry"] if refused else [])
        assert (report.exit_code is ExitCode.OK) == (refused is False)
        if said:
            assert said in report.tenants[0].finding.message  # type: ignore[union-attr]

    kept.server().tables = {"telemetry_a": tuple(tables)}
    judged(retire(kept, "a"))
    retire(kept, "a", allow=["recent-telemetry"], after=0, renew=True)
    books(kept).now += timedelta(seconds=1)
    judged(drop_due(kept))
    assert ("telemetry_a" in kept.server().databases) == (refused is not False)


def test_telemetry_that_cannot_be_read_is_not_taken_for_none(kept: Bench) -> None:
    kept.server(mute="too many files")
    report = retire(kept, "a")
    assert report.exit_code is ExitCode.FAILED
    assert "too many files" in report.tenants[0].finding.message  # type: ignore[union-attr]
    assert record(kept).state is State.READY
    assert retire(kept, "a", allow=["recent-telemetry"]).exit_code is ExitCode.OK


def test_nothing_is_retired_while_a_source_or_the_target_cannot_be_read(kept: Bench) -> None:
    kept.world.broken["registry"] = SourceError("connection refused")
    assert retire(kept, "a").exit_code is ExitCode.FAILED
    kept.world.broken.clear()
    kept.targets = ("eu1", "eu2")
    kept.server(down="connection refused")
    assert retire(kept, "a").exit_code is ExitCode.FAILED
    assert record(kept).state is State.READY


def test_unknown_tenants_are_refused_with_the_nearest_id_and_nothing_is_done(kept: Bench) -> None:
    books(kept).records["acme"] = replace(record(kept), tenant="acme", version=1)
    with pytest.raises(ConfigError, match="the ledger knows no tenant 'amce'") as raised:
        retire(kept, "a", "amce")
    assert "acme" in raised.value.hint
    assert record(kept).state is State.READY


def test_many_at_once_are_refused_until_that_is_allowed(kept: Bench) -> None:
    kept.tenants(*IDS[5:])
    assert guards(retire(kept, *IDS[:5])) == ["mass-change"]
    assert retire(kept, *IDS[:5], allow=["mass-change"]).exit_code is ExitCode.OK


def test_an_empty_registry_retires_nobody(kept: Bench) -> None:
    kept.tenants()
    report = retire(kept, "a", allow=["mass-change"])
    assert guards(report) == ["empty-source"]
    assert record(kept).state is State.READY


def test_a_tenant_in_another_runs_hands_or_on_the_move_is_held(kept: Bench) -> None:
    books(kept).living.add("other")
    books(kept).records["a"] = replace(record(kept), claimed_by="other")
    assert FindingKind.CLAIMED in kinds(retire(kept, "a"))
    books(kept).living.clear()
    books(kept).records["a"] = replace(record(kept), state=State.MOVING, secondary_target="eu2")
    assert FindingKind.MOVING in kinds(retire(kept, "a"))
    books(kept).records["a"] = replace(record(kept), state=State.READY, drop_after=REMOVED)
    assert FindingKind.MOVING in kinds(retire(kept, "a"))


def test_a_tenant_without_a_database_needs_no_retiring(kept: Bench) -> None:
    books(kept).records["a"] = Record("a", State.PENDING, version=1)
    report = retire(kept, "a")
    assert (report.exit_code, report.changed) == (ExitCode.OK, ())
    assert record(kept).state is State.PENDING


def test_what_could_not_be_recorded_is_not_called_retired(kept: Bench) -> None:
    books(kept).broken["commit"] = LedgerError("the connection broke")
    report = retire(kept, "a")
    assert report.exit_code is ExitCode.FAILED
    assert report.changed == ()
    assert report.tenants[0].status is TenantStatus.FAILED
    assert record(kept).state is State.READY


def test_whom_another_run_changed_meanwhile_is_left_alone(kept: Bench) -> None:
    books(kept).rival = {"a": replace(record(kept), version=7)}
    report = retire(kept, "a")
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.CLAIMED in kinds(report)
    assert "retiring" not in events(kept)


# unretire


def test_a_retiring_tenant_can_be_kept(kept: Bench) -> None:
    retire(kept, "a")
    report = kept.run(tenants=("a",), operation=Unretire(("a",)))
    assert report.exit_code is ExitCode.OK
    assert (record(kept).state, record(kept).drop_after) == (State.READY, None)
    assert events(kept)[-1] == "unretired"
    assert FindingKind.OUTCOME_UNKNOWN not in kinds(report)
    again = kept.run(tenants=("a",), operation=Unretire(("a",)))
    assert (again.exit_code, again.changed) == (ExitCode.OK, ())


def test_who_keeps_a_tenant_hears_of_a_drop_that_a_run_did_not_live_to_see(kept: Bench) -> None:
    retire(kept, "a")
    books(kept).records["a"] = replace(record(kept), claimed_by="dead")
    report = kept.run(tenants=("a",), operation=Unretire(("a",)))
    assert FindingKind.OUTCOME_UNKNOWN in kinds(report)
    assert record(kept).state is State.READY


def test_what_was_dropped_cannot_be_kept_and_says_until_when_its_data_is_there(due: Bench) -> None:
    drop_due(due)
    report = due.run(tenants=("a",), operation=Unretire(("a",)))
    assert report.exit_code is ExitCode.FAILED
    message = report.tenants[0].finding.message  # type: ignore[union-attr]
    assert "was dropped" in message
    assert "eu1 keeps its data until 2026-11-27 12:00 UTC" in message


def test_ensure_unretires_who_is_back_and_a_plan_shows_it(kept: Bench) -> None:
    retire(kept, "a")
    kept.tenants(*IDS)
    plan = kept.run(dry_run=True)
    assert [change.action for change in plan.planned] == [Action.UNRETIRE]
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert FindingKind.UNRETIRED in kinds(report)
    assert (record(kept).state, record(kept).drop_after) == (State.READY, None)
    assert events(kept) == ["created", "retiring", "unretired"]
    assert kept.run().changed == ()


# retire --due


def test_what_is_due_is_dropped_and_the_ledger_says_until_when_its_data_is_there(
    due: Bench,
) -> None:
    report = drop_due(due)
    assert report.exit_code is ExitCode.OK
    assert "telemetry_a" not in due.server().databases
    assert (record(due).state, record(due).drop_after, record(due).claimed_by) == (
        State.RETIRED,
        None,
        "",
    )
    entry = books(due).history[-1]
    assert entry.event.value == "dropped"
    assert entry.message == "its data is kept until 2026-11-27 12:00 UTC"
    assert ReportView(report).action_text(report.tenants[0]) == (
        "dropped (data until 2026-11-27 12:00 UTC)"
    )
    assert due.run().exit_code is ExitCode.OK


def test_nothing_is_dropped_before_its_time(kept: Bench) -> None:
    retire(kept, "a")
    books(kept).now += 6 * DAY
    report = drop_due(kept)
    assert (report.exit_code, report.tenants) == (ExitCode.OK, ())
    assert any("1 tenant is retiring and not due" in note.message for note in report.notes)
    assert "telemetry_a" in kept.server().databases


def test_a_plan_of_what_is_due_drops_nothing(due: Bench) -> None:
    report = drop_due(due, dry_run=True)
    assert [change.action for change in report.planned] == [Action.DROP]
    assert "telemetry_a" in due.server().databases
    assert books(due).calls == ["load_records"]


def test_who_is_back_begins_anew_with_what_a_late_write_created(due: Bench) -> None:
    drop_due(due)
    before = record(due)
    due.server().databases["telemetry_a"] = Database(complete=False)
    due.tenants(*IDS)
    books(due).now += DAY
    report = due.run()
    (told,) = [f for f in report.findings if f.kind is FindingKind.RECREATED_AFTER_DROP]
    assert told.severity is Severity.WARNING
    assert "a source has the tenant again, so it is the tenant's; it holds" in told.message
    assert events(due)[-3:] == ["dropped", "found", "completed"]
    assert (record(due).state, record(due).created_at) == (State.READY, books(due).now)
    assert record(due).created_by != before.created_by
    assert FindingKind.RECREATED_AFTER_DROP not in kinds(due.run())


def test_who_is_back_is_unretired_instead_of_dropped(due: Bench) -> None:
    due.tenants(*IDS)
    report = drop_due(due)
    assert report.exit_code is ExitCode.OK
    assert FindingKind.UNRETIRED in kinds(report)
    assert record(due).state is State.READY
    assert "telemetry_a" in due.server().databases


def test_everything_is_tested_again_right_before_the_drop(due: Bench) -> None:
    def comes_back() -> None:
        due.tenants(*IDS)

    books(due).after_reserve = comes_back
    report = drop_due(due)
    assert report.exit_code is ExitCode.OK
    assert record(due).state is State.READY
    assert "telemetry_a" in due.server().databases
    assert Action.DROP not in [change.action for change in due.server().changes]


def test_telemetry_that_comes_meanwhile_stops_the_drop(due: Bench) -> None:
    def somebody_writes() -> None:
        due.server().rows = {"telemetry_a": 1}
        due.server().last = {"telemetry_a": books(due).now}

    books(due).after_reserve = somebody_writes
    report = drop_due(due)
    assert report.exit_code is ExitCode.REFUSED
    assert guards(report) == ["recent-telemetry"]
    assert "telemetry_a" in due.server().databases
    assert (record(due).state, record(due).claimed_by) == (State.RETIRING, "")


@pytest.mark.parametrize("broken", ["source", "target", "telemetry", "part"])
@pytest.mark.parametrize("after_claim", [False, True])
def test_what_cannot_be_read_postpones(due: Bench, broken: str, after_claim: bool) -> None:
    due.targets = ("eu1", "eu2")

    def breaks() -> None:
        match broken:
            case "source":
                due.world.broken["registry"] = SourceError("connection refused")
            case "target":
                due.server(down="connection refused")
            case "telemetry":
                due.server(mute="too many files")
            case "part":
                due.server(shows_all=False).databases.pop("telemetry_a")

    if after_claim:
        books(due).after_reserve = breaks
    else:
        breaks()
    report = drop_due(due)
    assert report.exit_code is ExitCode.FAILED
    assert report.tenants[0].status is TenantStatus.UNKNOWN
    assert "postponed" in report.tenants[0].finding.message  # type: ignore[union-attr]
    assert (record(due).state, record(due).claimed_by) == (State.RETIRING, "")
    assert due.server().changes[-1].action is Action.CREATE


def test_another_server_than_the_recorded_one_loses_nothing(due: Bench) -> None:
    due.server(uuid="another")
    report = drop_due(due)
    assert guards(report) == ["replaced-server"]
    assert "telemetry_a" in due.server().databases


def test_a_server_that_was_taken_over_since_loses_nothing_that_was_made_on_the_old_one(
    due: Bench,
) -> None:
    due.server(uuid="another")
    due.run(allow=["replaced-server"])
    report = drop_due(due)
    assert report.exit_code is ExitCode.REFUSED
    assert guards(report) == ["replaced-server"]
    assert "telemetry_a" in due.server().databases
    assert drop_due(due, allow=["replaced-server"]).exit_code is ExitCode.OK
    assert "telemetry_a" not in due.server().databases


def test_a_server_that_is_replaced_meanwhile_loses_nothing(due: Bench) -> None:
    def replaced() -> None:
        due.server(uuid="another")

    books(due).after_reserve = replaced
    report = drop_due(due)
    assert report.exit_code is ExitCode.REFUSED
    assert "telemetry_a" in due.server().databases


def test_who_was_unretired_by_another_run_meanwhile_is_kept(due: Bench) -> None:
    books(due).rival = {"a": replace(record(due), state=State.READY, drop_after=None, version=9)}
    report = drop_due(due)
    assert report.exit_code is ExitCode.FAILED
    assert "telemetry_a" in due.server().databases
    assert record(due).state is State.READY


def test_who_is_in_another_runs_hands_is_left_to_it(due: Bench) -> None:
    books(due).living.add("other")
    books(due).records["a"] = replace(record(due), claimed_by="other")
    report = drop_due(due)
    assert FindingKind.CLAIMED in kinds(report)
    assert "telemetry_a" in due.server().databases


def test_many_due_at_once_wait_until_that_is_allowed(kept: Bench) -> None:
    kept.tenants(*IDS[5:])
    retire(kept, *IDS[:5], allow=["mass-change"])
    books(kept).now += 8 * DAY
    assert guards(drop_due(kept)) == ["mass-change"]
    assert drop_due(kept, allow=["mass-change"]).exit_code is ExitCode.OK
    assert {record(kept, id_).state for id_ in IDS[:5]} == {State.RETIRED}


def test_what_is_gone_already_is_recorded_as_retired(due: Bench) -> None:
    del due.server().databases["telemetry_a"]
    report = drop_due(due)
    assert report.exit_code is ExitCode.OK
    assert record(due).state is State.RETIRED
    assert due.server().changes[-1].action is Action.CREATE
    assert books(due).history[-1].message == "it was gone already"


def test_what_a_run_that_died_has_dropped_is_recorded_with_the_time_at_which_its_data_goes(
    due: Bench,
) -> None:
    del due.server().databases["telemetry_a"]
    due.server().deleted["telemetry_a"] = REMOVED
    (tenant,) = drop_due(due).tenants
    assert tenant.outcomes[0].change.until == REMOVED
    assert "its data is kept until 2026-11-27 12:00 UTC" in books(due).history[-1].message


def test_a_drop_that_fails_stays_due(due: Bench) -> None:
    due.server().outcomes = {"telemetry_a": ChangeResult.FAILED}
    assert drop_due(due).exit_code is ExitCode.FAILED
    assert (record(due).state, record(due).attempts) == (State.RETIRING, 1)
    due.server().outcomes = {}
    assert drop_due(due).exit_code is ExitCode.OK
    assert record(due).state is State.RETIRED


def test_a_run_that_died_before_it_dropped_is_followed_by_one_that_does(due: Bench) -> None:
    books(due).records["a"] = replace(record(due), claimed_by="dead")
    assert drop_due(due).exit_code is ExitCode.OK
    assert record(due).state is State.RETIRED


def test_without_its_ledger_nothing_is_dropped(due: Bench) -> None:
    books(due).broken["load_records"] = LedgerError("connection refused")
    report = drop_due(due, allow=["unrecorded-changes"])
    assert report.exit_code is ExitCode.FAILED
    assert "telemetry_a" in due.server().databases


def test_thousands_are_read_again_only_so_often(kept: Bench) -> None:
    ids = [f"t{number}" for number in range(2_000)]
    for id_ in ids:
        name = f"telemetry_{id_}"
        kept.server().databases[name] = Database(None, True, False)
        books(kept).records[id_] = replace(
            record(kept), tenant=id_, database=name, state=State.RETIRING, version=1
        )
    books(kept).calls.clear()
    report = drop_due(kept, allow=["mass-change"])
    assert report.exit_code is ExitCode.OK
    assert {record(kept, id_).state for id_ in ids} == {State.RETIRED}
    assert books(kept).calls.count("load_records") <= 21


# what a late writer brought back


def test_what_a_late_writer_brought_back_is_named_and_can_be_retired_again(due: Bench) -> None:
    drop_due(due)
    due.server().databases["telemetry_a"] = Database(None, False, True)
    report = due.run()
    (note,) = [note for note in report.notes if note.kind is FindingKind.RECREATED_AFTER_DROP]
    assert (note.tenant, note.severity) == ("a", Severity.WARNING)
    assert "a late write probably created it" in note.message
    assert "retire a" in note.hint
    assert retire(due, "a").exit_code is ExitCode.OK
    assert record(due).state is State.RETIRING


def test_what_came_back_on_another_target_is_named_too(due: Bench) -> None:
    drop_due(due)
    due.targets = ("eu1", "eu2")
    due.server("eu2").databases["telemetry_a"] = Database(None, False, True)
    assert any("is on eu2 again" in note.message for note in due.run().notes)


def test_a_deleted_database_that_is_in_no_ledger_and_is_back_is_named(kept: Bench) -> None:
    kept.server().deleted["telemetry_z"] = REMOVED
    kept.server().databases["telemetry_z"] = Database(None, False, True)
    (note,) = [note for note in kept.run().notes if note.kind is FindingKind.RECREATED_AFTER_DROP]
    assert "a late write probably created it" in note.message


# taking a database away at once (state: absent)


def test_a_drop_that_nobody_retired_needs_its_guard(kept: Bench) -> None:
    kept.tenants(*IDS)
    report = kept.run(tenants=("a",), operation=Drop())
    assert guards(report) == ["drop"]
    assert kept.run(tenants=("a",), operation=Drop(), allow=["drop"]).exit_code is ExitCode.OK
    assert record(kept).state is State.RETIRED


def test_clients_are_led_nowhere_while_a_tenant_is_dropped_that_is_retiring_and_not_due(
    kept: Bench,
) -> None:
    kept.tenants(*IDS)
    retire(kept, "a", allow=["still-registered"])
    led: list[str] = []

    def claimed(hook: str) -> None:
        if hook == "claim":
            found = LedgerSnapshot({"a": record(kept)}, now=books(kept).now)
            led.extend(each.target for each in routes_of(found, {"eu1": "http://eu1"}, str).routes)

    assert record(kept).target == "eu1"
    books(kept).called = claimed
    report = kept.run(tenants=("a",), operation=Drop(), allow=["drop"])
    assert report.exit_code is ExitCode.OK
    assert led == [""]


# a record that was edited by hand


@pytest.mark.parametrize("other_is_recorded", [True, False])
def test_a_database_that_is_another_tenants_as_well_is_neither_retired_nor_dropped(
    kept: Bench, other_is_recorded: bool
) -> None:
    books(kept).records["a"] = replace(record(kept), database="telemetry_b")
    if not other_is_recorded:
        del books(kept).records["b"]
    report = retire(kept, "a")
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.NAME_COLLISION in kinds(report)
    assert record(kept).state is State.READY

    books(kept).records["a"] = replace(record(kept), state=State.RETIRING)
    report = drop_due(kept)
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.NAME_COLLISION in kinds(report)
    assert "telemetry_b" in kept.server().databases


def test_what_is_not_recorded_is_not_retired_with_a_database_that_another_tenant_has(
    kept: Bench,
) -> None:
    del books(kept).records["a"]
    books(kept).records["b"] = replace(record(kept, "b"), database="telemetry_a")
    kept.tenants(*IDS)
    report = kept.run(
        tenants=("a",), operation=Retire(("a",), found=True), allow=["still-registered"]
    )
    assert FindingKind.NAME_COLLISION in kinds(report)
    assert "a" not in books(kept).records
    assert "telemetry_a" in kept.server().databases


def test_absent_drops_no_database_that_another_tenant_has(kept: Bench) -> None:
    del books(kept).records["a"]
    books(kept).records["b"] = replace(record(kept, "b"), database="telemetry_a")
    kept.tenants("a")
    report = kept.run(tenants=("a",), operation=Drop(), allow=["drop", "mass-change"])
    assert "telemetry_a" in kept.server().databases, report
