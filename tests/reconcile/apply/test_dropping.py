"""Dropping the old copies of moved tenants: never without a last pass, and right after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.domain.copy import CopyRequest
from influxops.domain.database import Database
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.plan import Action, TenantStatus
from influxops.domain.record import Record, State
from influxops.engine.operations import Drop, DropCopies, DropDue, Move
from influxops.errors import ConfigError
from influxops.plugin import ChangeResult, ExitCode, LedgerError, Report, TargetError, Tenant
from influxops.reconcile.apply import drop_due as dropping
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.engine.test_engine import supplemented
from tests.fakes import Books, MemoryTarget

IDS = "abcdefgh"


@pytest.fixture
def old(bench: Bench) -> Bench:
    """Give a bench with eight tenants on eu2, each with an old copy on eu1 that is due."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.targets = ("eu1", "eu2")
    bench.tenants(*IDS)
    moved(bench, *IDS)
    return bench


@pytest.fixture
def one(bench: Bench) -> Bench:
    """Give one with one such tenant, `a`, for whom no client keeps an old target."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name, "cache_ttl": "0s"}}
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    moved(bench, "a")
    return bench


def moved(bench: Bench, *ids: str) -> None:
    """Let the ledger and both servers have tenants that were moved a week ago."""
    now = books(bench).now
    for id_ in ids:
        name = f"telemetry_{id_}"
        for server in ("eu1", "eu2"):
            bench.server(server).databases[name] = Database(None, True, True)
            bench.server(server).write(name, k0=0, k1=1)
        books(bench).records[id_] = Record(
            id_,
            State.READY,
            name,
            "eu2",
            "eu2",
            secondary_target="eu1",
            secondary_identity="eu1",
            drop_after=now,
            created_at=now - timedelta(days=7),
            version=1,
        )


def books(bench: Bench) -> Books:
    return bench.world.books


def record(bench: Bench, tenant: str = "a") -> Record:
    return books(bench).records[tenant]


def drop_due(bench: Bench, **arguments: Any) -> Report:
    return bench.run(operation=DropDue(), **arguments)


def traced(bench: Bench) -> list[tuple[str, str]]:
    """Give a list that gets each pass that begins and each drop, in their order."""
    trace: list[tuple[str, str]] = []
    eu1, seen = bench.server("eu1"), 0

    def copying(order: CopyRequest) -> None:
        nonlocal seen
        assert order.only_missing
        if len(eu1.orders) > seen:
            seen = len(eu1.orders)
            trace.append(("pass", order.database))

    eu1.copying = copying
    eu1.before_change = lambda: trace.append(("drop", ""))
    return trace


def at_pass(bench: Bench, number: int, happens: Callable[[], object]) -> None:
    """Let something happen when the pass of this number, counted from 1, begins."""
    eu1, seen = bench.server("eu1"), 0

    def copying(order: CopyRequest) -> None:
        nonlocal seen
        if len(eu1.orders) > seen:
            seen = len(eu1.orders)
            if seen == number:
                happens()

    eu1.copying = copying


def finding(report: Report, tenant: str = "a") -> Finding:
    found = next(plan.finding for plan in report.tenants if plan.tenant == tenant)
    assert found is not None
    return found


def is_there(bench: Bench, tenant: str = "a") -> bool:
    """Tell whether the old copy is there, and the ledger knows it; nobody holds the tenant."""
    known = record(bench, tenant)
    assert (known.state, known.target, known.claimed_by) == (State.READY, "eu2", "")
    there = f"telemetry_{tenant}" in bench.server("eu1").databases
    assert (known.secondary_target == "eu1") is there
    return there


# Pass and drop


def test_the_operation_alone_makes_sure_of_two_passes_before_the_drop(one: Bench) -> None:
    trace = traced(one)
    with one.engine() as engine:
        report = engine.run(DropDue(), RunContext())
    assert report.exit_code is ExitCode.OK
    assert trace == [("pass", "telemetry_a"), ("pass", "telemetry_a"), ("drop", "")]
    assert not is_there(one)
    assert "telemetry_a" in one.server("eu2").databases


def test_late_rows_are_never_dropped_by_the_operation_alone(
    one: Bench,
) -> None:
    one.server("eu1").write("telemetry_a", late=5)
    with one.engine() as engine:
        engine.run(DropDue(), RunContext())
    assert one.server("eu2").data["telemetry_a"]["late"] == 5
    assert is_there(one)


def test_after_a_long_pass_what_is_young_is_looked_at_again_right_before_the_drop(
    one: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropping, "_SHORT", -1.0)
    eu1 = one.server("eu1")
    at_pass(one, 3, lambda: eu1.write("telemetry_a", **{"~~young": 5}))
    assert drop_due(one).exit_code is ExitCode.FAILED
    assert [order.recent for order in eu1.orders] == [False, False, True]
    assert one.server("eu2").data["telemetry_a"]["~~young"] == 5
    assert is_there(one)
    assert drop_due(one).exit_code is ExitCode.OK
    assert not is_there(one)


def test_a_plan_copies_and_drops_nothing(one: Bench) -> None:
    report = drop_due(one, dry_run=True)
    assert [change.action for change in report.planned] == [Action.DROP]
    assert one.server("eu1").orders == []
    assert is_there(one)


def test_of_many_each_is_dropped_right_after_its_own_last_pass(old: Bench) -> None:
    trace = traced(old)
    report = drop_due(old)
    assert report.exit_code is ExitCode.OK
    assert len(trace) == 3 * len(IDS)
    drops = [place for place, (what, _) in enumerate(trace) if what == "drop"]
    last = [trace[place - 1] for place in drops]
    assert sorted(last) == [("pass", f"telemetry_{id_}") for id_ in IDS]
    dropped = [change.database for change in old.server("eu1").changes]
    assert dropped == [database for _, database in last]
    assert not any(is_there(old, id_) for id_ in IDS)


def test_the_last_pass_waits_until_all_that_was_acknowledged_is_visible(
    old: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        MemoryTarget, "capabilities", replace(MemoryTarget.capabilities, visible_after=0.2)
    )
    eu1 = old.server("eu1")
    ends: dict[str, float] = {}
    gaps: list[float] = []

    def copying(order: CopyRequest) -> None:
        began = ends.setdefault(order.database, time.monotonic())
        if len([each for each in eu1.orders if each.database == order.database]) == 2:
            gaps.append(time.monotonic() - began)

    eu1.copying = copying
    began = time.monotonic()
    assert drop_due(old).exit_code is ExitCode.OK
    assert len({*ends}) == len(IDS)
    assert min(gaps) >= 0.4
    assert time.monotonic() - began < 0.4 * len(IDS)  # the waits overlap


def test_thousands_of_old_copies_are_read_again_only_so_often(one: Bench) -> None:
    ids = [f"t{number}" for number in range(600)]
    one.tenants("a", *ids)
    moved(one, *ids)
    books(one).calls.clear()
    assert drop_due(one).exit_code is ExitCode.OK
    assert not any(is_there(one, id_) for id_ in ids)
    assert books(one).calls.count("load_records") <= 22
    assert one.server("eu1").reads <= 44


# Rows that come late


@pytest.mark.parametrize("number", [1, 2])
def test_rows_that_a_pass_finds_are_copied_and_postpone_the_drop(one: Bench, number: int) -> None:
    at_pass(one, number, lambda: one.server("eu1").write("telemetry_a", l1=1, l2=2, l3=3))
    report = drop_due(one)
    assert report.exit_code is ExitCode.FAILED
    assert is_there(one)
    assert one.server("eu2").data["telemetry_a"].keys() >= {"l1", "l2", "l3"}
    why = finding(report)
    assert why.kind is FindingKind.LATE_WRITES
    assert why.message == (
        "postponed: 3 rows (telemetry 3) came late to its old copy on eu1: copied to eu2 "
        "(postponed 1 of 3 times)"
    )
    assert "retire --due" in why.hint
    assert why.facts["tables"] == {"telemetry": 3}
    entry = books(one).history[-1]
    assert (entry.event.value, entry.outcome, entry.target) == ("dropped", "skipped", "eu1")
    assert "3 rows" in entry.message
    # A full run says so, for what watches it; one over what is due tells of that alone.
    (told,) = (f for f in one.run().findings if f.kind is FindingKind.LATE_WRITES)
    assert (told.severity.value, told.tenant, told.target) == ("warning", "a", "eu1")
    assert "still written to on eu1: " in told.message
    assert drop_due(one).exit_code is ExitCode.OK
    assert not is_there(one)
    assert not any(f.kind is FindingKind.LATE_WRITES for f in one.run().findings)


def test_what_is_postponed_three_times_is_held_until_it_is_allowed(one: Bench) -> None:
    eu1 = one.server("eu1")
    for number in range(3):
        eu1.write("telemetry_a", **{f"l{number}{row}": row for row in range(20)})
        books(one).now += timedelta(seconds=10)
        report = drop_due(one)
        assert report.exit_code is ExitCode.FAILED
    (plan,) = report.tenants
    assert plan.status is TenantStatus.BLOCKED
    why = finding(report)
    assert why.message.startswith("still written to on eu1: ")
    assert "rows a second; the last pass found 20 rows (telemetry 20)" in why.message
    assert "allow late-writes" in why.hint
    assert 1 < why.facts["rate"] < 3

    eu1.write("telemetry_a", last=1)
    orders = len(eu1.orders)
    report = drop_due(one)
    assert report.exit_code is ExitCode.REFUSED
    assert [refusal.guard for refusal in report.refusals] == ["late-writes"]
    assert "refused by the guard late-writes: still written to on eu1" in finding(report).message
    assert len(eu1.orders) == orders
    assert is_there(one)

    report = drop_due(one, allow=["late-writes"])
    assert report.exit_code is ExitCode.OK
    assert one.server("eu2").data["telemetry_a"]["last"] == 1
    assert not is_there(one)
    assert record(one).progress == ""


def test_what_is_allowed_is_copied_to_the_last_row_and_dropped(one: Bench) -> None:
    at_pass(one, 2, lambda: one.server("eu1").write("telemetry_a", last=1))
    report = drop_due(one, allow=["late-writes"])
    assert report.exit_code is ExitCode.OK
    assert one.server("eu2").data["telemetry_a"]["last"] == 1
    assert not is_there(one)
    (plan,) = report.tenants
    assert "1 row (telemetry 1) came late: copied to eu2 before the drop" in [
        note.message for note in plan.notes
    ]


def test_what_is_made_again_by_a_writer_at_once_is_told_and_stays_known(one: Bench) -> None:
    one.server("eu1").written = frozenset({"telemetry_a"})
    report = drop_due(one, allow=["late-writes"])
    assert report.exit_code is ExitCode.FAILED
    assert finding(report).message == (
        "it was dropped, and exists again: something probably still writes to it"
    )
    assert is_there(one)
    one.server("eu1").written = frozenset()
    assert drop_due(one).exit_code is ExitCode.OK
    assert not is_there(one)


def test_what_a_move_has_left_in_the_record_is_given_to_each_pass(one: Bench) -> None:
    books(one).records["a"] = replace(record(one), progress="a text")
    eu1 = one.server("eu1")
    eu1.write("telemetry_a", late=1)
    assert drop_due(one).exit_code is ExitCode.FAILED
    assert drop_due(one).exit_code is ExitCode.OK
    assert [order.progress for order in eu1.orders] == 3 * ["a text"]


def test_postponements_count_only_in_a_row_and_only_for_late_rows(one: Bench) -> None:
    def fails(order: CopyRequest) -> None:
        _raise()

    for _ in range(4):
        one.server("eu1").copying = fails
        assert finding(drop_due(one)).kind is FindingKind.MOVING
    one.server("eu1").copying = lambda order: None
    assert drop_due(one).exit_code is ExitCode.OK


def test_one_that_is_written_to_keeps_no_other(old: Bench) -> None:
    old.server("eu1").write("telemetry_c", late=1)
    report = drop_due(old)
    assert report.exit_code is ExitCode.FAILED
    assert [id_ for id_ in IDS if is_there(old, id_)] == ["c"]


# Another door


@pytest.mark.parametrize("state", [State.READY, State.MOVING])
def test_the_copy_of_a_move_is_not_dropped_by_a_task_that_names_its_target(
    one: Bench, state: State
) -> None:
    books(one).records["a"] = replace(record(one), state=state)
    one.server("eu1").write("telemetry_a", late=1)
    named = Tenant("a", {"target": "eu1"})
    report = supplemented(one, named, operation=Drop(), allow=["drop", "mass-change"])
    assert report.exit_code is ExitCode.FAILED
    assert "telemetry_a" in one.server("eu1").databases
    assert "may hold rows that eu2 lacks" in finding(report).message
    assert "retire --due" in finding(report).hint


# What goes wrong between pass and drop


def _raise() -> None:
    raise TargetError("too many files", hint="ask again")


@pytest.mark.parametrize("number", [1, 2])
def test_a_pass_that_fails_keeps_the_old_copy(one: Bench, number: int) -> None:
    at_pass(one, number, _raise)
    report = drop_due(one)
    assert report.exit_code is ExitCode.FAILED
    assert "could not be copied to eu2: too many files" in finding(report).message
    assert is_there(one)


def test_a_new_place_that_is_gone_keeps_the_old_copy(one: Bench) -> None:
    one.server("eu2").databases.clear()
    report = drop_due(one, allow=["late-writes"])
    assert "its database is gone from eu2" in finding(report).message
    assert is_there(one)


def test_a_claim_that_another_run_got_meanwhile_keeps_the_old_copy(one: Bench) -> None:
    def moved_back() -> None:
        books(one).living.add("other")
        books(one).records["a"] = replace(record(one), claimed_by="other", version=99)

    at_pass(one, 2, moved_back)
    report = drop_due(one)
    assert finding(report).kind is FindingKind.CLAIMED
    assert "is dropping the old copy of its database on eu1" in finding(report).message
    assert "telemetry_a" in one.server("eu1").databases
    assert record(one).claimed_by == "other"


@pytest.mark.parametrize("how", ["fails", "late"])
def test_a_ledger_that_fails_or_is_slow_after_the_last_pass_keeps_the_old_copy(
    one: Bench, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "fails":
        at_pass(one, 2, lambda: books(one).broken.update(claim=LedgerError("connection reset")))
    else:
        monkeypatch.setattr(dropping, "_BEGINS", 0.0)
    report = drop_due(one)
    assert report.exit_code is ExitCode.FAILED
    assert finding(report).kind is FindingKind.FAILED_LEDGER
    assert is_there(one)


@pytest.mark.parametrize("number", [2, 16])
def test_a_run_that_ends_before_a_drop_keeps_what_it_did_not_drop(old: Bench, number: int) -> None:
    """The passes are eight first ones, and then eight last ones."""
    context = RunContext()
    at_pass(old, number, context.cancel)
    report = drop_due(old, context=context)
    assert report.exit_code is ExitCode.INTERRUPTED
    books(old).living.clear()
    left = [id_ for id_ in IDS if f"telemetry_{id_}" in old.server("eu1").databases]
    assert len(left) == (8 if number == 2 else 1)
    for id_ in left:
        assert record(old, id_).secondary_target == "eu1"
        assert finding(report, id_).kind is FindingKind.NOT_ATTEMPTED
    assert not any(is_there(old, id_) for id_ in IDS if id_ not in left)
    assert drop_due(old).exit_code is ExitCode.OK
    assert not any(is_there(old, id_) for id_ in IDS)


def test_a_run_whose_time_would_end_before_the_last_pass_drops_nothing(
    old: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        MemoryTarget, "capabilities", replace(MemoryTarget.capabilities, visible_after=300)
    )
    report = drop_due(old, context=RunContext(60))
    assert {finding(report, id_).kind for id_ in IDS} == {FindingKind.NOT_ATTEMPTED}
    assert report.exit_code is not ExitCode.OK
    assert old.server("eu1").changes == []
    assert all(record(old, id_).secondary_target == "eu1" for id_ in IDS)


def test_a_drop_whose_end_is_not_known_is_told_as_that(one: Bench) -> None:
    eu1 = one.server("eu1")
    eu1.outcomes = {"telemetry_a": ChangeResult.UNKNOWN}
    eu1.dies_after = 1
    report = drop_due(one)
    assert report.exit_code is ExitCode.FAILED
    (plan,) = report.tenants
    assert plan.status is TenantStatus.UNKNOWN
    assert record(one).secondary_target == "eu1"
    eu1.dies_after, eu1.outcomes = None, {}
    del eu1.databases["telemetry_a"]
    report = drop_due(one)
    assert report.exit_code is ExitCode.OK
    assert books(one).history[-1].message == "it was gone already"


def test_a_run_that_was_killed_after_its_last_pass_is_followed_by_one_with_passes_of_its_own(
    one: Bench,
) -> None:
    with one.engine() as engine, pytest.raises(_Killed):
        one.server("eu1").before_change = _die
        engine.run(DropDue(), RunContext())
    one.server("eu1").before_change = lambda: None
    one.server("eu1").write("telemetry_a", late=1)
    assert drop_due(one).exit_code is ExitCode.FAILED
    assert one.server("eu2").data["telemetry_a"]["late"] == 1
    assert is_there(one)


@pytest.mark.parametrize("goal", [Move(back=True), Move("eu1")])
def test_nobody_is_moved_back_to_a_copy_whose_drop_may_still_come(one: Bench, goal: Move) -> None:
    with one.engine() as engine, pytest.raises(_Killed):
        one.server("eu1").before_change = _die
        engine.run(DropDue(), RunContext())
    books(one).living.clear()
    one.server("eu1").before_change = lambda: None
    report = one.run(operation=goal, tenants=("a",))
    assert report.exit_code is ExitCode.FAILED
    assert "eu1 may still carry that out" in finding(report).message
    assert "retire --copies a" in str(finding(report).remedy)
    assert record(one).target == "eu2"
    assert drop_copies(one, "a").exit_code is ExitCode.OK
    assert one.run(operation=Move("eu1"), tenants=("a",)).exit_code is ExitCode.OK
    assert record(one).target == "eu1"


class _Killed(BaseException):
    """The end of a process."""


def _die() -> None:
    raise _Killed


# Before it is due


def later(bench: Bench, *ids: str) -> None:
    """Let old copies be due in a week."""
    for id_ in ids:
        due = books(bench).now + timedelta(days=7)
        books(bench).records[id_] = replace(record(bench, id_), drop_after=due)


def drop_copies(bench: Bench, *tenants: str, **arguments: Any) -> Report:
    return bench.run(operation=DropCopies(tenants=tenants), **arguments)


def test_an_old_copy_that_is_not_due_is_dropped_after_the_same_passes(old: Bench) -> None:
    later(old, *IDS)
    assert drop_due(old).tenants == ()
    trace = traced(old)
    report = drop_copies(old, "a")
    assert report.exit_code is ExitCode.OK
    assert trace == [("pass", "telemetry_a"), ("pass", "telemetry_a"), ("drop", "")]
    assert [plan.tenant for plan in report.tenants] == ["a"]
    assert [is_there(old, id_) for id_ in IDS] == [False, *[True] * 7]
    (note,) = [note for note in report.notes if note.kind is FindingKind.RETIRING]
    assert "cannot be moved back (`move --back`)" in note.message
    assert drop_copies(old).exit_code is ExitCode.OK
    assert not any(is_there(old, id_) for id_ in IDS)


def test_rows_that_came_late_to_one_that_is_not_due_postpone_its_drop(one: Bench) -> None:
    later(one, "a")
    one.server("eu1").write("telemetry_a", late=7)
    report = drop_copies(one, "a")
    assert report.exit_code is ExitCode.FAILED
    assert "(postponed 1 of 3 times)" in finding(report).message
    assert "`retire --copies`" in str(finding(report).remedy)
    assert is_there(one)
    assert one.server("eu2").data["telemetry_a"]["late"] == 7
    assert record(one).drop_after == books(one).now + timedelta(days=7)


def test_a_tenant_that_is_still_moving_keeps_its_copy(one: Bench) -> None:
    books(one).records["a"] = replace(record(one), state=State.MOVING)
    report = drop_copies(one, "a")
    assert finding(report).kind is FindingKind.MOVING
    assert "telemetry_a" in one.server("eu1").databases
    assert drop_copies(one).tenants == ()


def test_the_old_copy_of_a_lost_tenant_stays(one: Bench) -> None:
    books(one).records["a"] = replace(record(one), state=State.LOST)
    del one.server("eu2").databases["telemetry_a"]
    report = drop_copies(one, "a")
    assert "recorded as lost, so its old copy on eu1 stays" in finding(report).message
    assert drop_copies(one).tenants == ()
    assert "telemetry_a" in one.server("eu1").databases


def test_one_without_an_old_copy_is_left_as_it_is(one: Bench) -> None:
    books(one).records["a"] = replace(record(one), secondary_target=None, drop_after=None)
    report = drop_copies(one, "a")
    assert report.exit_code is ExitCode.OK
    assert [note.message for note in report.tenants[0].notes] == ["it has no old copy"]
    with pytest.raises(ConfigError, match="knows no tenant 'z'"):
        drop_copies(one, "z")
