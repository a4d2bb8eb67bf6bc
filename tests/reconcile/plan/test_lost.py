"""Databases that were provisioned, are gone, and were created again by a client's write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.domain.database import UNKNOWN
from influxops.domain.finding import FindingKind
from influxops.domain.plan import ChangeResult
from influxops.engine.operations import DropDue, Ensure, Move
from influxops.engine.status import tenant_status
from influxops.plugin import Database, ExitCode, LedgerError, Record, Report, State
from influxops.reconcile.plan.adopt import Adopt
from influxops.reconcile.plan.retire import Retire, Unretire
from influxops.report.view import ReportView
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import REMOVED, Books

DAY = timedelta(days=1)
#: Tenants beside `a`, so that one of them is never many.
OTHERS = "bcdefghij"


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench whose runs are remembered, and have made the databases of ten tenants."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.tenants("a", *OTHERS)
    assert bench.run().exit_code is ExitCode.OK
    return bench


def written() -> Database:
    """Give a database as a client's write creates it: without a marker."""
    return Database(None, False, True)


def recreate(bench: Bench, *tenants: str, rows: int = 12) -> None:
    """Let somebody drop databases, and clients write to them."""
    server = bench.server()
    for tenant in tenants or ("a",):
        server.databases[f"telemetry_{tenant}"] = written()
        server.rows[f"telemetry_{tenant}"] = rows
        server.last[f"telemetry_{tenant}"] = datetime(2026, 11, 24, 11, tzinfo=UTC)


def books(bench: Bench) -> Books:
    return bench.world.books


def state(bench: Bench, tenant: str = "a") -> State:
    return books(bench).records[tenant].state


def events(bench: Bench, tenant: str = "a") -> list[str]:
    return [entry.event.value for entry in books(bench).history if entry.tenant == tenant]


def finding(report: Report, tenant: str = "a") -> Any:
    return next(plan for plan in report.tenants if plan.tenant == tenant).finding


def adopt(bench: Bench, tenant: str = "a", **arguments: Any) -> Report:
    return bench.run(tenants=(tenant,), operation=Adopt({tenant: None}), **arguments)


def test_a_client_s_database_is_left_alone_and_its_rows_are_named(kept: Bench) -> None:
    recreate(kept)
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert [refusal.guard for refusal in report.refusals] == ["recreate-lost"]
    found = finding(report)
    assert found.kind is FindingKind.LOST
    assert "a client has created another one of that name on eu1" in found.message
    assert "it holds 12 rows of telemetry, last written 2026-11-24 11:00:00 UTC" in found.message
    assert found.facts["recreated"]["rows"] == 12
    assert "adopt a takes what clients have written" in found.hint.replace("`", "")
    assert "ensure --recreate a --allow drop" in found.hint
    assert kept.server().databases["telemetry_a"] == written()
    assert state(kept) is State.LOST
    assert events(kept) == ["created", "recreated"]
    assert "it holds 12 rows" in books(kept).history[-1].message


def test_it_is_told_until_somebody_decides_and_recorded_once(kept: Bench) -> None:
    recreate(kept)
    for _ in range(3):
        assert kept.run().exit_code is ExitCode.FAILED
    assert kept.run(tenants=("a",)).exit_code is ExitCode.FAILED
    assert kept.run(tenants=("b",)).exit_code is ExitCode.OK
    assert events(kept) == ["created", "recreated"]
    assert kept.server().databases["telemetry_a"] == written()


def test_it_was_seen_to_be_gone_before_a_client_wrote(kept: Bench) -> None:
    del kept.server().databases["telemetry_a"]
    kept.run()
    recreate(kept)
    assert kept.run().exit_code is ExitCode.FAILED
    assert events(kept) == ["created", "lost"]
    assert adopt(kept).exit_code is ExitCode.OK
    assert state(kept) is State.READY


def test_adopting_the_tenant_takes_the_client_s_rows(kept: Bench) -> None:
    recreate(kept)
    kept.run()
    report = adopt(kept)
    assert report.exit_code is ExitCode.OK
    assert kept.server().databases["telemetry_a"] == replace(written(), complete=True)
    record = books(kept).records["a"]
    assert (record.state, record.target, record.created_by) == (State.READY, "eu1", report.run_id)
    assert events(kept) == ["created", "recreated", "adopted", "completed"]
    assert kept.run().exit_code is ExitCode.OK


def test_adopting_what_is_the_tenant_s_already_changes_nothing(kept: Bench) -> None:
    before = books(kept).records["a"]
    report = adopt(kept)
    assert (report.exit_code, report.changed) == (ExitCode.OK, ())
    assert replace(books(kept).records["a"], version=before.version) == before


def test_an_adopted_database_whose_marker_failed_is_not_ready(kept: Bench) -> None:
    recreate(kept)
    kept.run()
    kept.server(outcomes={"telemetry_a": ChangeResult.FAILED})
    assert adopt(kept).exit_code is ExitCode.FAILED
    assert state(kept) is State.LOST


@pytest.mark.parametrize("allow", [("recreate-lost",), ("drop",)])
def test_one_allowance_alone_neither_drops_nor_takes_a_client_s_rows(
    kept: Bench, allow: tuple[str, ...]
) -> None:
    recreate(kept)
    report = kept.run(allow=allow)
    assert report.exit_code is not ExitCode.OK
    assert kept.server().databases["telemetry_a"] == written()
    assert not report.changed


@pytest.mark.parametrize(
    "arguments", [{"allow": ["recreate-lost", "drop"]}, {"operation": Ensure(frozenset({"a"}))}]
)
def test_both_allowances_drop_the_client_s_and_create_an_empty_one(
    kept: Bench, arguments: dict[str, Any]
) -> None:
    recreate(kept)
    kept.run()
    arguments = {"allow": ["drop"], **arguments}
    report = kept.run(**arguments)
    assert report.exit_code is ExitCode.OK
    plan = next(plan for plan in report.tenants if plan.tenant == "a")
    assert (
        ReportView(report).action_text(plan) == "dropped (data until 2026-11-27 12:00 UTC), created"
    )
    assert ReportView(report).counts["created"] == 1
    assert plan.outcomes[0].change.until == REMOVED
    assert kept.server().databases["telemetry_a"] == Database(None, True, False)
    assert state(kept) is State.READY
    assert events(kept) == ["created", "recreated", "dropped", "created"]
    assert "made again, empty" in books(kept).history[-1].message


def test_nothing_is_created_where_the_client_s_could_not_be_dropped(kept: Bench) -> None:
    recreate(kept)
    kept.server(outcomes={"telemetry_a": ChangeResult.FAILED})
    report = kept.run(allow=["recreate-lost", "drop"])
    assert report.exit_code is ExitCode.FAILED
    assert [o.status for o in report.tenants[0].outcomes] == [
        ChangeResult.FAILED,
        ChangeResult.SKIPPED,
    ]
    assert not report.tenants[0].made
    assert kept.server().databases["telemetry_a"] == written()
    assert state(kept) is State.LOST


def test_a_run_that_died_between_dropping_and_creating_leaves_it_lost(kept: Bench) -> None:
    recreate(kept)
    kept.server(cancels_after=len(kept.server().changes) + 1)
    kept.run(allow=["recreate-lost", "drop"])
    assert "telemetry_a" not in kept.server().databases
    kept.server(cancels_after=None)
    assert kept.run().exit_code is ExitCode.FAILED
    assert kept.run(operation=Ensure(frozenset({"a"}))).exit_code is ExitCode.OK
    assert state(kept) is State.READY


def test_a_second_look_is_taken_once_a_run_before_anything_is_called_lost(kept: Bench) -> None:
    server = kept.server()
    server.reads = 0
    kept.run()
    assert server.reads == 1
    recreate(kept, "a", "b")
    del server.databases["telemetry_c"]
    server.reads = 0
    kept.run(allow=["mass-change"])
    assert server.reads == 2
    assert {state(kept, id_) for id_ in "abc"} == {State.LOST}
    server.reads = 0
    kept.run(allow=["mass-change"])  # it is known by now
    assert server.reads == 1


@pytest.mark.parametrize("first", ["missing", "without a marker"])
def test_what_the_second_look_finds_is_not_lost(kept: Bench, first: str) -> None:
    server = kept.server()
    whole = server.databases["telemetry_a"]
    server.reads = 0
    del server.databases["telemetry_a"]
    if first != "missing":
        recreate(kept)

    def back(hook: str) -> None:
        if server.reads == 1:
            server.databases["telemetry_a"] = whole

    server.before_reading = back
    assert kept.run().exit_code is ExitCode.OK
    assert events(kept) == ["created"]


def test_a_target_that_is_away_at_the_second_look_leaves_it_unknown(kept: Bench) -> None:
    server = kept.server()
    recreate(kept)
    server.reads = 0

    def away(hook: str) -> None:
        server.down = "connection refused" if server.reads == 1 else ""

    server.before_reading = away
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert finding(report).kind is FindingKind.NOT_READ
    assert state(kept) is State.READY


@pytest.mark.parametrize("gone", [True, False])
def test_a_tenant_that_another_run_claims_meanwhile_is_not_lost(kept: Bench, gone: bool) -> None:
    recreate(kept)
    if gone:
        del kept.server().databases["telemetry_a"]
    kept.server().reads = 0

    def claim(hook: str) -> None:
        if kept.server().reads == 1:
            record = books(kept).records["a"]
            books(kept).records["a"] = replace(record, claimed_by="other", version=9)
            books(kept).living.add("other")

    kept.server().before_reading = claim
    report = kept.run()
    assert finding(report).kind is FindingKind.CLAIMED
    assert events(kept) == ["created"]


def test_a_ledger_that_is_away_at_the_second_look_leaves_it_as_it_is(kept: Bench) -> None:
    recreate(kept)

    def breaks(hook: str) -> None:
        if books(kept).calls.count("load_records") == 2:
            books(kept).broken["load_records"] = LedgerError("connection refused")

    books(kept).calls.clear()
    books(kept).calling = breaks
    assert kept.run().exit_code is ExitCode.FAILED
    assert state(kept) is State.READY
    assert kept.server().databases["telemetry_a"] == written()


def test_where_an_inventory_is_incomplete_nothing_is_known_to_be_lost(kept: Bench) -> None:
    server = kept.server(shows_all=False)
    del server.databases["telemetry_a"]
    server.databases["telemetry_b"] = replace(server.databases["telemetry_b"], complete=UNKNOWN)
    report = kept.run()
    assert finding(report).kind is FindingKind.NOT_READ
    assert finding(report, "b") is None
    assert (state(kept), state(kept, "b")) == (State.READY, State.READY)


def test_what_is_lost_is_not_found_again_where_its_marker_cannot_be_read(kept: Bench) -> None:
    recreate(kept)
    kept.run()
    found = replace(written(), complete=UNKNOWN)
    kept.server(shows_all=False).databases["telemetry_a"] = found
    report = kept.run()
    assert finding(report).kind is FindingKind.NOT_READ
    assert state(kept) is State.LOST


def test_a_replaced_server_that_clients_write_to_is_refused_and_then_lost(kept: Bench) -> None:
    server = kept.server(uuid="another")
    server.databases.clear()
    recreate(kept, "a", "b")
    report = kept.run()
    assert report.exit_code is ExitCode.REFUSED
    assert [refusal.guard for refusal in report.refusals] == ["replaced-server"]
    assert state(kept) is State.READY

    report = kept.run(allow=["replaced-server", "mass-change"])
    assert report.exit_code is ExitCode.FAILED
    assert "another server answers" in finding(report).message
    assert {record.state for record in books(kept).records.values()} == {State.LOST}
    assert server.databases == {"telemetry_a": written(), "telemetry_b": written()}
    assert (events(kept)[-1], events(kept, "c")[-1]) == ("recreated", "lost")
    done = kept.run(allow=["recreate-lost", "drop", "mass-change"])
    assert done.exit_code is ExitCode.OK
    assert {record.identity for record in books(kept).records.values()} == {"another"}


@pytest.mark.parametrize("before", [State.ALLOCATED, State.UNCONFIRMED])
@pytest.mark.parametrize("seen", [True, False])
def test_what_a_run_that_died_left_without_a_marker_is_completed(
    kept: Bench, before: State, seen: bool
) -> None:
    record = books(kept).records["a"]
    confirmed = record.last_seen_at if seen else None
    books(kept).records["a"] = replace(record, state=before, last_seen_at=confirmed)
    recreate(kept)
    assert kept.run().exit_code is ExitCode.OK
    assert state(kept) is State.READY
    assert kept.server().databases["telemetry_a"].complete is True


def test_what_an_answer_without_an_identity_does_not_show_is_not_lost(kept: Bench) -> None:
    server = kept.server()
    identity, server.uuid = server.uuid, None
    there = dict(server.databases)
    server.databases.clear()
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert finding(report).kind is FindingKind.NOT_READ
    assert "what answered there did not say which server it is" in finding(report).message
    assert state(kept) is State.READY
    server.uuid = identity
    server.databases.update(there)
    assert kept.run().exit_code is ExitCode.OK


def test_one_that_was_seen_without_a_marker_is_lost_once_it_is_gone(kept: Bench) -> None:
    record = books(kept).records["a"]
    books(kept).records["a"] = replace(record, state=State.UNCONFIRMED)
    del kept.server().databases["telemetry_a"]
    assert kept.run().exit_code is ExitCode.FAILED
    assert state(kept) is State.LOST


def test_one_that_was_seen_is_confirmed_by_the_inventory_alone(kept: Bench) -> None:
    record = books(kept).records["a"]
    books(kept).records["a"] = replace(record, state=State.UNCONFIRMED)
    server = kept.server()
    server.reads, server.verify = 0, []
    assert kept.run().exit_code is ExitCode.OK
    assert (server.reads, server.verify) == (1, [frozenset()])
    assert state(kept) is State.READY
    assert events(kept) == ["created"]


def test_what_is_found_and_cannot_be_seen_to_be_complete_is_not_ready(bench: Bench) -> None:
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.tenants("a")
    found = Database(None, UNKNOWN)
    bench.server(shows_all=False, databases={"telemetry_a": found})
    assert bench.run().exit_code is ExitCode.OK
    assert state(bench) is State.UNCONFIRMED
    bench.run(tenants=("a",), operation=Adopt({"a": None}))
    assert state(bench) is State.UNCONFIRMED
    bench.server(shows_all=True).databases["telemetry_a"] = replace(found, complete=True)
    assert bench.run().exit_code is ExitCode.OK
    assert state(bench) is State.READY


def test_a_marker_whose_row_is_lost_is_written_again(kept: Bench) -> None:
    """The table stays as long as the database: nobody has created that again."""
    whole = kept.server().databases["telemetry_a"]
    kept.server().databases["telemetry_a"] = replace(whole, complete=False, marked=True)
    assert kept.run().exit_code is ExitCode.OK
    assert state(kept) is State.READY
    assert events(kept) == ["created", "completed"]


def test_a_tenant_that_comes_back_while_it_is_retiring_is_lost_too(kept: Bench) -> None:
    kept.tenants(*OTHERS)
    kept.run(tenants=("a",), operation=Retire(("a",)))
    recreate(kept)
    held = kept.run(tenants=("a",), operation=Unretire(("a",)))
    assert held.exit_code is ExitCode.FAILED
    assert finding(held).kind is FindingKind.LOST
    assert state(kept) is State.RETIRING
    kept.tenants("a", *OTHERS)
    assert kept.run().exit_code is ExitCode.FAILED
    assert state(kept) is State.LOST
    assert adopt(kept).exit_code is ExitCode.OK
    assert (state(kept), books(kept).records["a"].drop_after) == (State.READY, None)


def test_what_a_client_wrote_for_a_retired_tenant_is_dropped_with_a_word(kept: Bench) -> None:
    kept.tenants(*OTHERS)
    recreate(kept)
    kept.server().last["telemetry_a"] = books(kept).now - 3 * DAY
    retired = kept.run(tenants=("a",), operation=Retire(("a",)))
    assert retired.exit_code is ExitCode.OK
    books(kept).now += 8 * DAY
    dropped = kept.run(operation=DropDue())
    for report in (retired, dropped):
        told = [
            note for plan in report.tenants for note in plan.notes if note.kind is FindingKind.LOST
        ]
        assert "a client has created another one" in told[0].message
    assert "telemetry_a" not in kept.server().databases


def test_a_moved_tenant_s_old_copy_is_kept_where_its_new_place_was_created_again(
    kept: Bench,
) -> None:
    """So that `retire --due` copies what only the old copy has, after somebody has decided."""
    kept.targets = ("eu1", "eu2")
    kept.server("eu2").databases["telemetry_a"] = Database(None, True, True)
    due = books(kept).now + 7 * DAY
    record = replace(
        books(kept).records["a"], secondary_target="eu2", secondary_identity="eu2", drop_after=due
    )
    books(kept).records["a"] = record
    recreate(kept)
    assert kept.run().exit_code is ExitCode.FAILED
    assert adopt(kept).exit_code is ExitCode.OK
    record = books(kept).records["a"]
    assert (record.state, record.secondary_target, record.drop_after) == (State.READY, "eu2", due)


def test_a_lost_tenant_is_not_moved(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.run()
    recreate(kept)
    with kept.engine() as engine:
        context = RunContext(tenants=frozenset(["a"]))
        report = engine.run(Move("eu2"), context)
    assert finding(report).kind is FindingKind.LOST
    assert "it holds 12 rows" in finding(report).message
    assert "telemetry_a" not in kept.server("eu2").databases


def test_status_and_view_say_that_the_tenant_has_no_database(kept: Bench) -> None:
    recreate(kept)
    with kept.engine() as engine:
        context = RunContext(dry_run=True)
        view = ReportView(engine.run(Ensure(), context, tell=False))
        row = tenant_status(engine, view, context)[0]
    assert view.report.exit_code is ExitCode.FAILED
    assert (row["tenant"], row["exists"], row["marker"]) == ("a", False, False)
    assert (row["target"], row["telemetry_count"]) == ("eu1", 12)
    assert "it holds 12 rows" in row["message"]
    assert state(kept) is State.READY


def test_the_full_runs_of_an_application_tell_and_record_it_too(kept: Bench) -> None:

    recreate(kept)
    report = kept.run(operation=Ensure(only_create=True))
    assert finding(report).kind is FindingKind.LOST
    assert events(kept) == ["created", "recreated"]
    assert kept.server().databases["telemetry_a"] == written()


def test_without_a_ledger_it_is_completed_as_ever(bench: Bench) -> None:
    bench.tenants("a")
    bench.server(databases={"telemetry_a": written()})
    assert bench.run().exit_code is ExitCode.OK
    assert bench.server().databases["telemetry_a"].complete is True


def test_a_new_tenant_s_database_that_a_client_created_first_is_completed(kept: Bench) -> None:
    kept.tenants("a", "new", *OTHERS)
    kept.server().databases["telemetry_new"] = written()
    books(kept).records["new"] = Record("new", State.PENDING, version=1)
    assert kept.run().exit_code is ExitCode.OK
    assert state(kept, "new") is State.READY
