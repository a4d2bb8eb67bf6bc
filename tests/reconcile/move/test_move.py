from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.domain.copy import CopyRequest
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.record import Event, Record, State, percent_of
from influxops.engine.operations import Drain, DropDue, Move, Rebalance
from influxops.errors import ConfigError
from influxops.plugin import ChangeResult, ExitCode, LedgerError, Report, TargetError, Tenant
from influxops.reconcile.move import backfill, execute, state
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import Books
from tests.reconcile.ledger.test_ledger import database, events, kinds, states, verdicts

ROWS = {f"k{number}": number for number in range(7)}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_BETWEEN", 0.01)
    monkeypatch.setattr(backfill, "_QUIET", 0.01)
    monkeypatch.setattr(backfill, "_NOT_PAUSED", 0.1)
    monkeypatch.setattr(backfill, "_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(backfill, "_EVERY", 0.0)


@pytest.fixture
def two(bench: Bench) -> Bench:
    """Give a bench with two targets, and tenant `a` with rows on the first."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name, "cache_ttl": "0s"}}
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.run()
    bench.server("eu1").write("telemetry_a", **ROWS)
    return bench


def books(bench: Bench) -> Books:
    return bench.world.books


def record(bench: Bench, tenant: str = "a") -> Record:
    return books(bench).records[tenant]


def move(
    bench: Bench,
    *tenants: str,
    to: str | None = "eu2",
    away: str | None = None,
    dry_run: bool = False,
    context: RunContext | None = None,
    **arguments: Any,
) -> Report:
    named = frozenset(tenants or ("a",)) if away is None else None
    targets = frozenset([away]) if away else None
    with bench.engine() as engine:
        context = context or RunContext(dry_run=dry_run, tenants=named, targets=targets)
        allow = arguments.pop("allow", ())
        operation = Move(to, **arguments) if away is None else Drain(away, **arguments)
        return engine.run(operation, context, allow=allow)


def why(report: Report, tenant: str = "a") -> str:
    finding = next(plan.finding for plan in report.tenants if plan.tenant == tenant)
    assert finding is not None
    return f"{finding.message} ({finding.hint})"


def told(report: Report, kind: FindingKind, tenant: str = "a") -> Finding:
    plan = next(plan for plan in report.tenants if plan.tenant == tenant)
    return next(note for note in plan.findings if note.kind is kind)


# What a move does


def test_a_tenant_is_moved_with_its_rows_and_its_retention(two: Bench) -> None:
    eu1, eu2 = two.server("eu1"), two.server("eu2")
    eu1.databases["telemetry_a"] = database(retention=7200)
    report = move(two)
    assert report.exit_code is ExitCode.OK
    assert verdicts(report) == {"a": "changed"}
    assert eu2.data["telemetry_a"] == ROWS == eu1.data["telemetry_a"]
    assert eu2.databases["telemetry_a"].retention == 7200
    now = record(two)
    assert (now.state, now.target, now.identity) == (State.READY, "eu2", "eu2")
    assert (now.secondary_target, now.secondary_identity) == ("eu1", "eu1")
    assert now.drop_after is not None
    week = timedelta(days=7)
    assert abs(now.drop_after - books(two).now - week) < timedelta(minutes=1)
    assert (now.progress, now.claimed_by, now.created_by) == ("", "", report.run_id)
    (plan,) = report.tenants
    assert (plan.target, plan.outcomes[-1].status) == ("eu2", ChangeResult.DONE)
    assert told(report, FindingKind.MOVED).facts["total"] == len(ROWS)


def test_the_history_tells_a_move_as_a_story(two: Bench) -> None:
    move(two)
    story = [
        (entry.event.value, entry.target, entry.before, entry.after)
        for entry in books(two).history
        if entry.tenant == "a"
    ]
    assert story == [
        ("created", "eu1", "", ""),
        ("moving", "eu1", "eu1", "eu2"),
        ("moved", "eu2", "eu1", "eu2"),
        ("retiring", "eu1", "", ""),
    ]
    assert "7 rows" in books(two).history[-2].message


def test_a_moved_tenant_is_well_and_its_old_copy_no_double(two: Bench) -> None:
    move(two)
    report = two.run()
    assert report.exit_code is ExitCode.OK
    assert verdicts(report) == {"a": "ok"}
    assert report.tenants[0].target == "eu2"
    assert [change for change in two.server("eu1").changes if change.tenant != "a"] == []


def test_a_tenant_that_is_there_already_is_left_alone(two: Bench) -> None:
    report = move(two, to="eu1")
    assert report.exit_code is ExitCode.OK
    assert verdicts(report) == {"a": "ok"}
    assert two.server("eu1").orders == []
    assert events(two, "a") == ["created"]


def test_a_plan_says_how_much_there_is_and_writes_nothing(two: Bench) -> None:
    calls = len(books(two).calls)
    report = move(two, dry_run=True)
    assert report.exit_code is ExitCode.OK
    assert [change.action.value for change in report.planned] == ["create", "move"]
    assert "7 rows in 1 table" in told(report, FindingKind.MOVING).message
    assert two.server("eu2").databases == {}
    assert [order.dry_run for order in two.server("eu1").orders] == [True]
    assert books(two).calls[calls:] == ["load_records"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_the_copying_would_refuse_is_refused_before_anything_is_written(
    two: Bench, dry_run: bool
) -> None:
    wall = Finding(FindingKind.NOTE, Severity.ERROR, "eu2 holds no more tables")
    two.server("eu1").in_the_way = (wall,)
    report = move(two, dry_run=dry_run)
    assert verdicts(report) == {"a": "blocked"}
    assert "no more tables" in why(report)
    assert two.server("eu2").databases == {}
    assert states(two) == {"a": "ready"}


def test_without_a_ledger_nothing_is_moved(two: Bench) -> None:
    two.extra = {}
    with pytest.raises(ConfigError, match="takes a ledger"):
        move(two)


def test_a_ledger_that_cannot_be_read_moves_nothing_whatever_is_allowed(two: Bench) -> None:
    books(two).broken["load_records"] = LedgerError("connection refused")
    report = move(two, allow=["unrecorded-changes"])
    assert report.exit_code is ExitCode.FAILED
    assert two.server("eu2").databases == {}


def test_a_target_or_tenant_that_nobody_knows_is_a_mistake(two: Bench) -> None:
    with pytest.raises(ConfigError, match="no target is called 'eu3'"):
        move(two, to="eu3")
    with pytest.raises(ConfigError, match="knows the tenant 'z'"):
        move(two, "a", "z")


# Who is not moved


def _draining(bench: Bench) -> None:
    bench.extra["targets"] = {"eu2": {"state": "draining"}}


def _full(bench: Bench) -> None:
    bench.extra["targets"] = {"eu2": {"capacity": 0}}


def _other_kind(bench: Bench) -> None:
    bench.extra["targets"] = {"eu2": {"kind": "otherdb"}}


def _pinned(bench: Bench) -> None:
    bench.extra["placement"] = {"pins": {"a": "eu1"}}


def _namesake(bench: Bench) -> None:
    bench.server("eu2").databases["telemetry_a"] = database()
    books(bench).records["a"] = replace(record(bench), secondary_target=None)


def _state(state: State) -> Callable[[Bench], None]:
    def put(bench: Bench) -> None:
        books(bench).records["a"] = replace(record(bench), state=state)

    return put


def _old_copy(bench: Bench) -> None:
    books(bench).records["a"] = replace(
        record(bench), secondary_target="eu3", drop_after=books(bench).now
    )


def _held(bench: Bench) -> None:
    books(bench).records["a"] = replace(record(bench), claimed_by="other")
    books(bench).living.add("other")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_draining, "draining"),
        (_full, "no free slot: eu2 is full"),
        (_pinned, "its target is to be eu1"),
        (_namesake, "and on eu2 (0 rows"),
        (_other_kind, "eu2 is of another kind (otherdb) than eu1 (memorydb)"),
        (_state(State.RETIRING), "retiring"),
        (_state(State.LOST), "recorded as lost"),
        (_state(State.UNCONFIRMED), "recorded as unconfirmed"),
        (_old_copy, "its old copy on eu3 is not dropped yet"),
        (_held, "another run (other)"),
    ],
)
def test_who_cannot_be_moved_is_held_with_the_reason(
    two: Bench, prepare: Callable[[Bench], None], reason: str
) -> None:
    prepare(two)
    there = dict(two.server("eu2").databases)
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert verdicts(report) == {"a": "blocked"}
    assert reason in why(report)
    assert two.server("eu2").databases == there


def test_a_database_that_the_ledger_does_not_know_is_recorded_first(two: Bench) -> None:
    two.tenants("a", "b")
    two.server("eu1").databases["telemetry_b"] = database()
    report = move(two, "b")
    assert "the ledger does not know it" in why(report, "b")
    two.run()
    assert move(two, "b").exit_code is ExitCode.OK


def test_a_tenant_whose_database_is_gone_is_not_moved(two: Bench) -> None:
    two.server("eu1").databases.clear()
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.LOST in kinds(report)
    assert two.server("eu2").databases == {}


@pytest.mark.parametrize("away", ["eu1", "eu2"])
def test_a_server_that_cannot_be_read_moves_nothing(two: Bench, away: str) -> None:
    two.server(away, down="connection refused")
    report = move(two)
    assert verdicts(report) == {"a": "unknown"}
    assert f"the target {away} cannot be read" in why(report)
    assert states(two) == {"a": "ready"}


@pytest.mark.parametrize("replaced", ["eu1", "eu2"])
def test_a_server_that_was_replaced_on_either_side_is_refused(two: Bench, replaced: str) -> None:
    two.server(replaced, uuid="another")
    report = move(two)
    assert report.exit_code is ExitCode.REFUSED
    assert [refusal.guard for refusal in report.refusals] == ["replaced-server"]
    assert "telemetry_a" not in two.server("eu2").databases


def test_others_go_on_where_one_cannot_be_moved(two: Bench) -> None:
    two.tenants("a", "b")
    two.run()
    books(two).records["a"] = replace(record(two), state=State.RETIRING)
    report = move(two, "a", "b")
    assert verdicts(report) == {"a": "blocked", "b": "changed"}
    assert record(two, "b").target == "eu2"


# While it is in use


def test_rows_that_come_while_it_is_copied_come_along(two: Bench) -> None:
    eu1 = two.server("eu1")
    late = itertools.count()

    def write(order: CopyRequest) -> None:
        if not order.only_missing and (number := next(late)) < 5:
            eu1.write("telemetry_a", **{f"early{number}": number})

    eu1.copying = write
    assert move(two).exit_code is ExitCode.OK
    assert two.server("eu2").data["telemetry_a"] == eu1.data["telemetry_a"]
    assert len(eu1.data["telemetry_a"]) == len(ROWS) + 5


class Clock:
    """A clock that tests may advance."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def passes(bench: Bench, monkeypatch: pytest.MonkeyPatch, *took: float) -> list[CopyRequest]:
    """Let the calls that copy from eu1 take so many seconds each; return all before the cut-over.

    Later ones take no time.
    """
    clock, left, seen = Clock(), [*took], list[CopyRequest]()
    for module in (backfill, execute, state):
        monkeypatch.setattr(module, "time", clock)

    def copying(order: CopyRequest) -> None:
        if not (seen and seen[-1] is order) and not order.only_missing:
            seen.append(order)
            clock.ahead += left.pop(0) if left else 0

    bench.server("eu1").copying = copying
    return seen


def test_it_is_cut_over_only_after_a_short_pass(
    two: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(two, monkeypatch, 900, 60, 11, 2)
    stages: list[str] = []
    context = RunContext(
        tenants=frozenset(["a"]), on_stage=lambda label, total: stages.append(label)
    )
    report = move(two, context=context)
    assert report.exit_code is ExitCode.OK
    assert [order.recent for order in seen] == [False, True, True, True]
    assert (
        "copying telemetry_a to eu2 (the pass before took 60 s, the cut-over waits for 10 s)"
        in stages
    )
    waited = "the cut-over waited for 3 passes, until one took less than 10 s"
    assert waited in [note.message for note in report.tenants[0].notes]


def test_a_short_pass_is_not_repeated(two: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(two, monkeypatch, 9)
    assert move(two).exit_code is ExitCode.OK
    assert len(seen) == 1


def test_one_whose_passes_stay_long_is_not_cut_over_and_goes_on_once_that_may_be(
    two: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(two, monkeypatch, *[20] * 30)
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert len(seen) == 13
    assert "the last of 12 passes took 20 s, and the cut-over waits for one of 10 s" in why(report)
    assert "`last_pass`" in why(report)
    assert (record(two).state, record(two).target) == (State.MOVING, "eu1")
    two.extra["ledger"]["last_pass"] = "30s"
    assert move(two).exit_code is ExitCode.OK
    assert record(two).target == "eu2"


def test_after_the_cut_over_old_rows_overwrite_nothing_and_conflicts_are_told(two: Bench) -> None:
    eu1, eu2 = two.server("eu1"), two.server("eu2")

    def write(order: CopyRequest) -> None:
        if order.only_missing:
            eu2.write("telemetry_a", k1=100)  # by a client that knows the new place
            eu1.write("telemetry_a", straggler=1)  # and by one that does not

    eu1.copying = write
    report = move(two)
    assert report.exit_code is ExitCode.OK
    assert eu2.data["telemetry_a"] == {**ROWS, "k1": 100, "straggler": 1}
    assert told(report, FindingKind.MOVED).facts["conflicts"] == 1
    assert "1 conflict" in books(two).history[-1].message


def test_a_pass_follows_once_no_client_can_use_the_old_place_any_more(two: Bench) -> None:
    two.extra["ledger"]["cache_ttl"] = "1s"
    eu1 = two.server("eu1")

    def stage(label: str, total: int) -> None:
        if label.startswith("waiting"):  # until the last client has looked it up again
            assert states(two) == {"a": "moving"}
            eu1.write("telemetry_a", straggler=1)

    context = RunContext(tenants=frozenset(["a"]), on_stage=stage)
    report = move(two, context=context)
    assert report.exit_code is ExitCode.OK
    assert two.server("eu2").data["telemetry_a"] == {**ROWS, "straggler": 1}


def test_right_after_the_cut_over_only_what_is_young_is_looked_at_and_at_the_end_all(
    two: Bench,
) -> None:
    two.extra["ledger"]["cache_ttl"] = "1s"
    move(two)
    passes_ = [order for order in two.server("eu1").orders if order.only_missing]
    assert [(order.recent, bool(order.progress)) for order in passes_] == [
        (True, True),
        (False, False),
    ]


def test_a_table_that_cannot_be_copied_keeps_the_tenant_until_it_is_left_out(two: Bench) -> None:
    eu1 = two.server("eu1")
    eu1.unread = {"odd one": "no record batch", "m": "no record batch"}
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert "2 tables cannot be copied, so that it waits; all others are: odd one (no" in why(report)
    assert "move a --to eu2 --without-table 'odd one' --without-table m" in why(report)
    assert "so that it waits" in record(two).error  # what the console shows
    assert states(two) == {"a": "moving"}
    assert record(two).target == "eu1"
    assert two.server("eu2").data["telemetry_a"] == ROWS
    some = move(two, without_tables=["m", "mistyped"])
    assert some.exit_code is ExitCode.FAILED
    assert "move a --to eu2 --without-table m --without-table 'odd one'" in why(some)
    done = move(two, without_tables=["m", "odd one"])
    assert done.exit_code is ExitCode.OK
    assert "without odd one and m, which cannot be copied" in told(done, FindingKind.MOVED).message
    (moved,) = [entry for entry in books(two).history if entry.event is Event.MOVED]
    assert "without odd one and m" in moved.message
    # The passes before the old copy is dropped know of it; of others they do not.
    known = record(two)
    assert known.drop_after is not None
    books(two).records["a"] = replace(known, drop_after=known.drop_after - timedelta(days=30))
    eu1.unread = {**eu1.unread, "another": "no record batch"}
    assert "another (no record batch)" in why(two.run(operation=DropDue()))
    assert "telemetry_a" in eu1.databases
    eu1.unread = {"odd one": "no record batch", "m": "no record batch"}
    assert two.run(operation=DropDue()).exit_code is ExitCode.OK
    assert "telemetry_a" not in eu1.databases


def test_what_a_look_at_the_copy_and_the_copying_notice_is_told_once(two: Bench) -> None:
    odd = Finding(FindingKind.NOTE, Severity.INFO, "2 tables without a time column", target="eu2")
    two.server("eu1").in_the_way = (odd,)
    report = move(two)
    assert report.exit_code is ExitCode.OK
    assert [note.message for note in report.findings].count(odd.message) == 1


def test_what_was_left_out_is_known_to_the_run_that_ends_the_move(two: Bench) -> None:
    eu1 = two.server("eu1")
    eu1.unread = {"m": "no record batch"}

    def end(order: CopyRequest) -> None:
        if order.only_missing:
            raise TargetError("connection refused")

    eu1.copying = end
    assert move(two, without_tables=["m"]).exit_code is ExitCode.FAILED
    assert record(two).target == "eu2"
    eu1.copying = lambda order: None
    assert move(two).exit_code is ExitCode.OK


@pytest.mark.parametrize("target", ["eu1", "eu2"])
def test_a_run_that_lost_a_tenant_to_another_one_leaves_it_alone(two: Bench, target: str) -> None:
    """Its lock was lost, and another run took over: before the cut-over, or after it."""
    taken: list[Record] = []

    def take(hook: str) -> None:
        now = record(two)
        if hook == "commit" and now.state is State.MOVING and now.target == target:
            books(two).living.add("other")
            other = replace(now, claimed_by="other", version=now.version + 1)
            books(two).records["a"] = other
            taken.append(other)

    two.server("eu1").copying = lambda order: setattr(books(two), "calling", take)
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert verdicts(report) == {"a": "blocked"}
    assert FindingKind.CLAIMED in kinds(report)
    assert record(two).claimed_by == "other"
    assert (record(two).state, record(two).target) == (State.MOVING, target)


def test_who_still_writes_to_the_old_place_for_ever_is_told(two: Bench) -> None:
    eu1 = two.server("eu1")
    seen: list[CopyRequest] = []

    def write(order: CopyRequest) -> None:
        if order.only_missing and not any(order is each for each in seen):
            seen.append(order)
            eu1.write("telemetry_a", **{f"z{len(seen):03}": 1})

    eu1.copying = write
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert "still written to on eu1" in why(report)
    assert (record(two).state, record(two).target) == (State.MOVING, "eu2")
    eu1.copying = lambda order: None
    assert move(two).exit_code is ExitCode.OK
    assert states(two) == {"a": "ready"}


def test_where_writers_are_paused_clients_are_not_waited_for(two: Bench) -> None:
    two.extra["ledger"]["cache_ttl"] = "1h"
    report = move(two, writers_paused=True)
    assert report.exit_code is ExitCode.OK
    assert states(two) == {"a": "ready"}
    # The copy, one that finds both sides equal, and one after the cut-over.
    only_missing = [order.only_missing for order in two.server("eu1").orders if not order.dry_run]
    assert only_missing == [False, False, True]


def test_writers_that_are_said_to_be_paused_and_are_not_are_waited_for(two: Bench) -> None:
    eu1 = two.server("eu1")
    seen: list[CopyRequest] = []

    def write(order: CopyRequest) -> None:
        if not order.only_missing and not any(order is each for each in seen):
            seen.append(order)
            eu1.write("telemetry_a", **{f"z{len(seen):03}": 1})

    eu1.copying = write
    report = move(two, writers_paused=True)
    assert report.exit_code is ExitCode.OK
    assert "its writers are not paused" in " ".join(f.message for f in report.findings)
    assert two.server("eu2").data["telemetry_a"] == eu1.data["telemetry_a"]


def test_an_ensure_in_between_leaves_a_moving_tenant_alone(two: Bench) -> None:
    reports = []

    def ensure(order: CopyRequest) -> None:
        if not order.dry_run:
            reports.append(two.run())

    two.server("eu1").copying = ensure
    assert move(two).exit_code is ExitCode.OK
    assert len(reports) > 3
    assert {report.exit_code for report in reports} == {ExitCode.OK}
    assert states(two) == {"a": "ready"}
    assert [c.action.value for c in two.server("eu2").changes] == ["create"]


def test_a_move_in_between_is_skipped(two: Bench) -> None:
    reports: list[Report] = []

    def again(order: CopyRequest) -> None:
        if not reports:
            reports.append(move(two))

    two.server("eu1").copying = again
    assert move(two).exit_code is ExitCode.OK
    assert verdicts(reports[0]) == {"a": "blocked"}
    assert FindingKind.CLAIMED in kinds(reports[0])


def test_another_run_that_was_faster_has_it(two: Bench) -> None:
    rival = replace(
        record(two), state=State.MOVING, secondary_target="eu2", claimed_by="other", version=9
    )
    books(two).living.add("other")
    books(two).rival = {"a": rival}
    report = move(two)
    assert FindingKind.CLAIMED in kinds(report)
    assert two.server("eu2").databases == {}
    assert record(two).claimed_by == "other"


# What breaks, and goes on


class Killed(BaseException):
    """The process is gone."""


class Bomb:
    """Kills the run at its nth step; nothing is written after that."""

    def __init__(self, bench: Bench, step: int, source: str = "eu1") -> None:
        self.left, self.bench, self.source = step, bench, source
        books = bench.world.books
        books.calling = books.called = lambda hook: self.tick()
        bench.server(source).copying = lambda order: self.tick()

    @property
    def went_off(self) -> bool:
        return self.left < 0

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def clear(self) -> None:
        books = self.bench.world.books
        books.calling = books.called = lambda hook: None
        self.bench.server(self.source).copying = lambda order: None
        books.living.clear()


def test_killed_at_any_point_and_started_again_it_ends_equal(two: Bench) -> None:
    """At each step: the tenant has one place, which holds all of its rows."""
    eu1, eu2 = two.server("eu1"), two.server("eu2")
    start = dict(books(two).records)
    points = set()
    for step in itertools.count(1):
        books(two).records = dict(start)
        eu1.data["telemetry_a"] = dict(ROWS)
        eu2.data.clear()
        eu2.databases.clear()
        bomb = Bomb(two, step)
        with contextlib.suppress(Killed):
            move(two)
        bomb.clear()
        now = record(two)
        points.add((now.state.value, now.target, bool(now.progress)))
        assert two.world.servers[now.target or ""].data["telemetry_a"].items() >= ROWS.items()
        ensured = two.run()
        assert ensured.exit_code is ExitCode.OK, step
        assert ensured.changed == ()
        if not bomb.went_off:
            break
        # In the meantime a client writes to the target that the ledger has.
        two.world.servers[record(two).target or ""].write("telemetry_a", writer=step)
        assert move(two).exit_code is ExitCode.OK, step
        assert eu2.data["telemetry_a"] == {**ROWS, "writer": step}, step
        now = record(two)
        assert (now.state, now.target, now.secondary_target) == (State.READY, "eu2", "eu1")
    assert points >= {
        ("ready", "eu1", False),
        ("moving", "eu1", False),
        ("moving", "eu1", True),
        ("moving", "eu2", False),
        ("moving", "eu2", True),
        ("ready", "eu2", False),
    }


def test_a_move_that_is_ended_says_what_to_do_and_goes_on_from_there(two: Bench) -> None:
    eu1 = two.server("eu1")
    context = RunContext(tenants=frozenset(["a"]))
    steps = itertools.count()

    def end(order: CopyRequest) -> None:
        if next(steps) == 2:
            context.cancel()

    eu1.copying = end
    report = move(two, context=context)
    assert report.exit_code is ExitCode.INTERRUPTED
    assert "influxops move a --to eu2" in why(report) or "`move a --to eu2`" in why(report)
    assert "it stays on eu1" in why(report)
    now = record(two)
    assert (now.state, now.target, now.claimed_by) == (State.MOVING, "eu1", "")
    assert percent_of(now.progress) == (now.copied, "k3")
    assert now.copied in range(1, 100)
    eu1.copying = lambda order: None
    eu1.orders.clear()
    assert move(two).exit_code is ExitCode.OK
    assert next(o for o in eu1.orders if not o.dry_run).progress == "k3"
    assert two.server("eu2").data["telemetry_a"] == ROWS


def test_a_copy_that_fails_is_told_and_recorded_and_goes_on(two: Bench) -> None:
    eu1 = two.server("eu1")

    def fail(order: CopyRequest) -> None:
        raise TargetError("connection refused", hint="start it")

    eu1.copying = fail
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert "connection refused" in why(report)
    assert "start it" in why(report)
    assert record(two).error == "connection refused"
    assert [e.outcome for e in books(two).history if e.tenant == "a"][-1] == "failed"
    eu1.copying = lambda order: None
    assert move(two).exit_code is ExitCode.OK
    assert record(two).error == ""


def test_a_copy_that_was_lost_meanwhile_begins_anew(two: Bench) -> None:
    eu1, eu2 = two.server("eu1"), two.server("eu2")
    eu2.databases["telemetry_a"] = database()
    books(two).records["a"] = replace(
        record(two),
        state=State.MOVING,
        secondary_target="eu2",
        secondary_identity="eu2",
        progress="k3",
    )
    del eu2.databases["telemetry_a"]
    assert move(two).exit_code is ExitCode.OK
    assert next(o for o in eu1.orders if not o.dry_run).progress == ""
    assert eu2.data["telemetry_a"] == ROWS


def test_a_ledger_that_breaks_at_the_cut_over_leaves_it_open(two: Bench) -> None:
    def broken(hook: str) -> None:
        now = record(two)
        if hook == "commit" and percent_of(now.progress)[1] == "~" and now.claimed_by:
            raise LedgerError("the connection broke")

    eu1 = two.server("eu1")
    eu1.copying = lambda order: setattr(books(two), "calling", broken)
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    eu1.copying = lambda order: None
    books(two).calling = lambda hook: None
    assert move(two).exit_code is ExitCode.OK
    assert (record(two).state, record(two).target) == (State.READY, "eu2")


# Other ways to go on


def _begun(bench: Bench) -> None:
    """Let a move to eu2 be begun, and killed."""
    bench.server("eu2").databases["telemetry_a"] = database()
    bench.server("eu2").write("telemetry_a", k0=0)
    books(bench).records["a"] = replace(
        record(bench),
        state=State.MOVING,
        secondary_target="eu2",
        secondary_identity="eu2",
        progress="k0",
    )


def test_a_move_that_was_begun_is_finished_before_another_one(two: Bench) -> None:
    two.targets = ("eu1", "eu2", "eu3")
    _begun(two)
    report = move(two, to="eu3")
    assert verdicts(report) == {"a": "blocked"}
    assert "move a --to eu2" in why(report)
    assert "move a --to eu1" in why(report)
    assert two.server("eu3").databases == {}


def test_a_move_that_was_begun_can_be_given_up(two: Bench) -> None:
    _begun(two)
    report = move(two, to="eu1")
    assert report.exit_code is ExitCode.OK
    now = record(two)
    assert (now.state, now.target, now.secondary_target, now.progress) == (
        State.READY,
        "eu1",
        "eu2",
        "",
    )
    assert now.drop_after is not None
    assert two.run().exit_code is ExitCode.OK


# Back to the old copy


def diverged(bench: Bench) -> None:
    """Let tenant `a` be on eu2, and both servers have rows that the other one has not."""
    move(bench)
    bench.server("eu2").write("telemetry_a", k0=50, new=1)
    bench.server("eu1").write("telemetry_a", k1=70, late=1)


#: What the tenant has once it is back: the values of eu2, and the rows of both.
MERGED = {**ROWS, "k0": 50, "new": 1, "late": 1}


def back(bench: Bench, **arguments: Any) -> Report:
    return move(bench, to=None, back=True, **arguments)


@pytest.mark.parametrize("arguments", [{"back": True, "to": None}, {"to": "eu1"}])
def test_a_moved_tenant_goes_back_to_its_old_copy_which_keeps_what_only_it_has(
    two: Bench, arguments: dict[str, Any]
) -> None:
    diverged(two)
    report = move(two, **arguments)
    assert report.exit_code is ExitCode.OK
    assert two.server("eu1").data["telemetry_a"] == MERGED
    now = record(two)
    assert (now.state, now.target, now.secondary_target) == (State.READY, "eu1", "eu2")
    assert now.drop_after is not None
    assert now.progress == ""
    note = told(report, FindingKind.MOVING).message
    assert note == "kept: 1 row (or fields of rows) that only eu1 has"
    assert told(report, FindingKind.MOVING).facts == {"kept": 1}
    moved = [e.message for e in books(two).history if e.event is Event.MOVED][-1]
    assert note in moved


def test_a_plan_of_going_back_says_what_is_kept(two: Bench) -> None:
    diverged(two)
    before = record(two)
    report = back(two, dry_run=True)
    note = told(report, FindingKind.MOVING)
    assert "from eu2 to eu1: 8 rows in 1 table" in note.message
    assert "kept: 1 row (or fields of rows) that only eu1 has" in note.message
    assert "2 rows with other values there get those of eu2" in note.message
    assert (note.facts["kept"], note.facts["conflicts"]) == (1, 2)
    assert record(two) == before
    assert "new" not in two.server("eu1").data["telemetry_a"]


def test_a_tenant_without_an_old_copy_is_not_moved_back(two: Bench) -> None:
    report = back(two)
    assert verdicts(report) == {"a": "blocked"}
    assert "no old copy" in why(report)
    diverged(two)
    del two.server("eu1").databases["telemetry_a"]
    report = back(two)
    assert verdicts(report) == {"a": "blocked"}
    assert "its old copy on eu1 is gone" in why(report)
    assert "move a --to eu1" in why(report)
    assert two.server("eu1").databases == {}


def test_it_goes_back_also_before_the_last_rows_were_looked_for(two: Bench) -> None:
    _cut_over(two)
    two.server("eu2").write("telemetry_a", k0=50, new=1)
    two.server("eu1").write("telemetry_a", k1=70, late=1)
    assert back(two).exit_code is ExitCode.OK
    assert two.server("eu1").data["telemetry_a"] == MERGED
    assert (record(two).state, record(two).target) == (State.READY, "eu1")


def test_a_move_that_was_only_begun_is_given_up_by_going_back(two: Bench) -> None:
    _begun(two)
    assert back(two).exit_code is ExitCode.OK
    assert (record(two).state, record(two).target) == (State.READY, "eu1")


def test_going_back_that_was_killed_at_any_point_goes_on_and_keeps_the_same(two: Bench) -> None:
    eu1, eu2 = two.server("eu1"), two.server("eu2")
    diverged(two)
    start = dict(books(two).records)
    points = set()
    for step in itertools.count(1):
        books(two).records = dict(start)
        eu1.data["telemetry_a"] = {**ROWS, "k1": 70, "late": 1}
        eu2.data["telemetry_a"] = {**ROWS, "k0": 50, "new": 1}
        bomb = Bomb(two, step, "eu2")
        with contextlib.suppress(Killed):
            back(two)
        bomb.clear()
        now = record(two)
        is_back, text = "back:" * now.progress.startswith("back:"), percent_of(now.progress)[1]
        points.add((now.state.value, now.target, f"{is_back}{text[:1]}"))
        assert two.run().exit_code is ExitCode.OK, step
        if not bomb.went_off:
            break
        # In the meantime a client writes to the target that the ledger has.
        there = record(two).target or ""
        two.world.servers[there].write("telemetry_a", writer=step)
        finished = (State.READY, "eu1", "eu2")
        now = record(two)
        if (now.state, now.target, now.secondary_target) != finished:
            again = back(two) if there == "eu2" else move(two, to="eu1")
            assert again.exit_code is ExitCode.OK, step
        assert eu1.data["telemetry_a"] == {**MERGED, "writer": step}, step
        now = record(two)
        assert (now.state, now.target, now.secondary_target) == finished
    assert points >= {
        ("moving", "eu2", "back:"),
        ("moving", "eu2", "back:k"),
        ("moving", "eu1", ""),
        ("ready", "eu1", ""),
    }


def test_an_old_copy_gets_the_retention_period_that_it_lacks(two: Bench) -> None:
    eu1, eu2 = two.server("eu1"), two.server("eu2")
    diverged(two)
    eu1.databases["telemetry_a"] = database(retention=7200)
    eu2.databases["telemetry_a"] = database(retention=9000)
    assert back(two).exit_code is ExitCode.OK
    assert eu1.databases["telemetry_a"].retention == 9000
    eu2.databases["telemetry_a"] = database(retention=7200)
    assert back(two).exit_code is ExitCode.OK  # and there again
    assert eu2.databases["telemetry_a"].retention == 9000


def _cut_over(bench: Bench) -> None:
    """Let a move to eu2 be cut over, and killed before the last pass."""
    bench.server("eu2").databases["telemetry_a"] = database()
    bench.server("eu2").write("telemetry_a", **ROWS)
    books(bench).records["a"] = replace(
        record(bench),
        state=State.MOVING,
        target="eu2",
        identity="eu2",
        secondary_target="eu1",
        secondary_identity="eu1",
        drop_after=books(bench).now,
    )
    two_servers = books(bench).servers
    two_servers["eu2"] = replace(two_servers["eu1"], target="eu2", identity="eu2")


def test_after_the_cut_over_it_is_moved_on_only_once_that_is_finished(two: Bench) -> None:
    _cut_over(two)
    report = move(two, to="eu1")
    assert verdicts(report) == {"a": "blocked"}
    assert "move a --to eu2" in why(report)


def test_an_old_place_that_cannot_be_read_any_more_waits_for_an_allowance(two: Bench) -> None:
    _cut_over(two)
    two.server("eu1", down="connection refused")
    report = move(two)
    assert "unreachable" in [refusal.guard for refusal in report.refusals]
    assert states(two) == {"a": "moving"}
    report = move(two, allow=["unreachable"])
    assert report.exit_code is ExitCode.OK
    assert (record(two).state, record(two).target, record(two).secondary_target) == (
        State.READY,
        "eu2",
        "eu1",
    )
    assert "cannot be read" in " ".join(f.message for f in report.findings)


def test_an_old_place_whose_server_was_replaced_waits_for_an_allowance(two: Bench) -> None:
    _cut_over(two)
    two.server("eu1", uuid="another").databases.clear()
    report = move(two)
    assert [r.guard for r in report.refusals] == ["replaced-server"]
    assert verdicts(report) == {"a": "guarded"}
    assert states(two) == {"a": "moving"}
    report = move(two, allow=["replaced-server"])
    assert report.exit_code is ExitCode.OK
    assert (record(two).state, record(two).secondary_target) == (State.READY, None)


# Room


def test_a_server_that_turns_out_to_be_full_leaves_the_tenant_where_it_is(two: Bench) -> None:
    two.server("eu2", limit=0)
    report = move(two)
    assert report.exit_code is ExitCode.FAILED
    assert "eu2 is full" in why(report)
    assert (record(two).state, record(two).target, record(two).secondary_target) == (
        State.READY,
        "eu1",
        None,
    )


# Draining


@pytest.fixture
def three(two: Bench) -> Bench:
    """Give a bench with three targets, and three tenants on the first."""
    two.targets = ("eu1", "eu2", "eu3")
    two.tenants("a", "b", "c")
    two.run()
    for tenant in "bc":
        two.server("eu1").write(f"telemetry_{tenant}", **ROWS)
    two.extra["targets"] = {"eu1": {"state": "draining"}}
    two.extra["placement"] = {"policy": "spread"}
    return two


def test_draining_moves_all_to_where_they_are_placed(three: Bench) -> None:
    report = move(three, away="eu1")
    assert report.exit_code is ExitCode.OK
    assert verdicts(report) == dict.fromkeys("abc", "changed")
    places = {id_: record(three, id_).target for id_ in "abc"}
    assert set(places.values()) == {"eu2", "eu3"}
    for id_, target in places.items():
        assert three.server(target or "").data[f"telemetry_{id_}"] == ROWS
    assert report.is_limited
    again = move(three, away="eu1")
    assert (again.exit_code, again.tenants) == (ExitCode.OK, ())
    assert "3 old copies" in " ".join(note.message for note in again.notes)


def test_draining_goes_on_where_one_cannot_be_moved(three: Bench) -> None:
    three.extra["placement"]["pins"] = {"b": "eu1"}
    report = move(three, away="eu1")
    assert report.exit_code is ExitCode.FAILED
    assert verdicts(report) == {"a": "changed", "b": "blocked", "c": "changed"}
    assert "its target is to be eu1" in why(report, "b")


def test_draining_finds_another_place_where_a_server_is_full(three: Bench) -> None:
    three.server("eu2", limit=1)
    report = move(three, away="eu1")
    assert report.exit_code is ExitCode.OK
    assert sorted(str(record(three, id_).target) for id_ in "abc") == ["eu2", "eu3", "eu3"]
    assert set(states(three).values()) == {"ready"}


def test_draining_takes_tenants_along_that_no_source_has_any_more(three: Bench) -> None:
    three.tenants("a", "b")
    report = move(three, away="eu1", allow=["mass-change"])
    assert verdicts(report) == dict.fromkeys("abc", "changed")


def test_draining_tells_what_stays(three: Bench) -> None:
    three.server("eu1").databases["sandbox"] = database()
    three.extra["targets"] = {}
    report = move(three, away="eu1", dry_run=True)
    messages = " ".join(note.message for note in report.notes)
    assert "1 database of no known tenant will stay" in messages
    assert "it is active" in messages


def test_draining_that_is_ended_goes_on_when_it_is_run_again(three: Bench) -> None:
    eu1 = three.server("eu1")
    context = RunContext(targets=frozenset(["eu1"]))
    steps = itertools.count()

    def end(order: CopyRequest) -> None:
        if next(steps) == 7:
            context.cancel()

    eu1.copying = end
    report = move(three, away="eu1", context=context)
    assert report.exit_code is ExitCode.INTERRUPTED
    assert {r.claimed_by for r in books(three).records.values()} == {""}
    eu1.copying = lambda order: None
    assert three.run().exit_code is ExitCode.OK
    assert move(three, away="eu1").exit_code is ExitCode.OK
    for id_ in "abc":
        now = record(three, id_)
        assert now.state is State.READY
        assert three.server(now.target or "").data[f"telemetry_{id_}"] == ROWS


def test_draining_many_tenants_moves_each(two: Bench) -> None:
    names = [f"t{number:03}" for number in range(40)]
    two.tenants("a", *names)
    two.run()
    two.extra["targets"] = {"eu1": {"state": "draining"}}
    report = move(two, away="eu1")
    assert report.exit_code is ExitCode.OK
    assert {r.target for r in books(two).records.values()} == {"eu2"}


def test_a_pin_that_is_given_by_a_source_is_followed(three: Bench) -> None:
    three.tenants(Tenant("a", {"target": "eu3"}), "b", "c")
    report = move(three, away="eu1")
    assert record(three, "a").target == "eu3"
    assert report.exit_code is ExitCode.OK


def test_who_should_be_elsewhere_is_told_how_to_move_there(two: Bench) -> None:
    two.extra["placement"] = {"pins": {"a": "eu2"}}
    report = two.run()
    assert report.exit_code is ExitCode.OK
    assert "move a --to eu2" in told(report, FindingKind.MISPLACED).hint
    assert move(two).exit_code is ExitCode.OK
    assert FindingKind.MISPLACED not in kinds(two.run())


# A ledger that was restored to the middle of a move


@pytest.fixture
def restored(two: Bench) -> Bench:
    """Give a bench whose tenant was moved, and whose ledger says that the move is under way."""
    before = record(two)
    assert move(two).exit_code is ExitCode.OK
    books(two).records["a"] = replace(
        before, state=State.MOVING, secondary_target="eu2", secondary_identity="eu2", progress="k1"
    )
    two.server("eu1").orders.clear()
    return two


def test_a_move_that_had_ended_and_is_taken_up_again_writes_over_nothing(restored: Bench) -> None:
    restored.server("eu2").write("telemetry_a", k1=100, k5=500, new=1)
    restored.server("eu1").write("telemetry_a", late=2)
    report = move(restored)
    assert report.exit_code is ExitCode.OK
    there = {**ROWS, "k1": 100, "k5": 500, "new": 1, "late": 2}
    assert restored.server("eu2").data["telemetry_a"] == there
    assert record(restored).target == "eu2"
    (note,) = (n for n in report.tenants[0].notes if n.severity is Severity.WARNING)
    assert "1 row that eu1 lacks and 2 rows with other values" in note.message
    assert "restored" in note.hint


def test_one_whose_new_place_cannot_tell_what_only_it_has_writes_over_nothing(
    restored: Bench,
) -> None:
    restored.server("eu1").knows_no_ahead = True
    restored.server("eu2").write("telemetry_a", k1=100)
    assert move(restored).exit_code is ExitCode.OK
    assert restored.server("eu2").data["telemetry_a"] == {**ROWS, "k1": 100}


def test_one_that_has_nothing_newer_goes_on_where_it_was(restored: Bench) -> None:
    report = move(restored)
    assert report.exit_code is ExitCode.OK
    copied = [order for order in restored.server("eu1").orders if not order.dry_run]
    assert (copied[0].progress, copied[0].only_missing) == ("k1", False)
    assert not [n for n in report.tenants[0].notes if n.severity is Severity.WARNING]


def test_a_first_move_does_not_look_at_the_empty_new_place(two: Bench) -> None:
    move(two)
    assert not any(order.ahead for order in two.server("eu1").orders)


def test_a_move_that_no_run_is_at_is_told_as_what_the_ledger_has(restored: Bench) -> None:
    (note,) = restored.run().tenants[0].notes
    assert note.message.startswith("the ledger has it as being copied to eu2 since 2026-")
    assert "writes over nothing that is newer there" in note.hint


# Rebalance


@pytest.fixture
def added(bench: Bench) -> Bench:
    """Give a bench with two full servers of five, and a third one that was added."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name, "cache_ttl": "0s"}}
    bench.targets = ("eu1", "eu2")
    bench.extra["targets"] = {name: {"capacity": 5} for name in ("eu1", "eu2", "eu3")}
    del bench.extra["targets"]["eu3"]
    bench.tenants(*"abcdefghij")
    assert bench.run().exit_code is ExitCode.OK
    bench.targets = ("eu1", "eu2", "eu3")
    bench.extra["targets"]["eu3"] = {"capacity": 5}
    return bench


def rebalance(bench: Bench, *, context: RunContext | None = None, **arguments: Any) -> Report:
    with bench.engine() as engine:
        dry_run = arguments.pop("dry_run", False)
        return engine.run(Rebalance(**arguments), context or RunContext(dry_run=dry_run))


def placed(bench: Bench) -> dict[str, str]:
    """Give the tenants of each target."""
    found: dict[str, str] = {}
    for id_, each in sorted(books(bench).records.items()):
        found[each.target or ""] = found.get(each.target or "", "") + id_
    return found


def test_as_few_are_moved_as_it_takes_that_no_target_is_full(added: Bench) -> None:
    plan = rebalance(added, dry_run=True)
    assert [change.action.value for change in plan.planned] == ["create", "move"] * 2
    (note,) = [note for note in plan.notes if note.kind is FindingKind.MOVING]
    assert note.message == "databases: eu1 5 → 4 of 5, eu2 5 → 4 of 5, eu3 0 → 2 of 5"
    assert "retire --copies" in str(note.remedy)
    assert placed(added) == {"eu1": "abcde", "eu2": "fghij"}
    report = rebalance(added)
    assert report.exit_code is ExitCode.OK
    assert placed(added) == {"eu1": "abcd", "eu2": "fghi", "eu3": "ej"}
    # The old copies still hold their slots, and no further tenant goes for that.
    assert len(added.server("eu1").databases) == 5
    again = rebalance(added)
    assert (again.exit_code, again.tenants) == (ExitCode.OK, ())


def test_with_the_policy_spread_all_hold_the_same_number(added: Bench) -> None:
    added.extra["placement"] = {"policy": "spread"}
    assert rebalance(added).exit_code is ExitCode.OK
    assert sorted(map(len, placed(added).values())) == [3, 3, 4]
    assert rebalance(added).tenants == ()


def test_pinned_tenants_stay_and_draining_targets_get_none(added: Bench) -> None:
    added.extra["placement"] = {"pins": {"e": "eu1", "d": "eu1"}}
    assert rebalance(added).exit_code is ExitCode.OK
    assert placed(added) == {"eu1": "abde", "eu2": "fghi", "eu3": "cj"}
    added.extra["targets"]["eu3"] = {"capacity": 0}
    added.targets = ("eu1", "eu2", "eu3", "eu4")
    added.extra["targets"]["eu4"] = {"state": "draining"}
    report = rebalance(added)
    assert report.tenants == ()
    assert added.server("eu4").databases == {}


def test_rebalancing_that_was_ended_goes_on_with_the_same_tenants(added: Bench) -> None:
    context = RunContext()
    added.server("eu1").write("telemetry_e", **ROWS)
    added.server("eu1").copying = lambda order: context.cancel()
    assert rebalance(added, context=context).exit_code is ExitCode.INTERRUPTED
    added.server("eu1").copying = lambda order: None
    assert record(added, "e").state is State.MOVING
    report = rebalance(added)
    assert report.exit_code is ExitCode.OK
    assert placed(added) == {"eu1": "abcd", "eu2": "fghi", "eu3": "ej"}
    assert added.server("eu3").data["telemetry_e"] == ROWS


def test_one_that_cannot_be_moved_is_passed_over(added: Bench) -> None:
    del added.server("eu1").databases["telemetry_e"]
    added.server("eu1").databases["other"] = database()
    report = rebalance(added)
    assert placed(added)["eu3"] == "dj"
    assert verdicts(report) == {"d": "changed", "j": "changed"}
