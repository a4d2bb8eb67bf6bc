from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from influxops.domain.finding import FindingKind
from influxops.domain.plan import ChangeResult, TenantStatus
from influxops.engine.operations import Move
from influxops.plugin import (
    ConfigError,
    Database,
    ExitCode,
    LedgerError,
    Record,
    Report,
    State,
    Tenant,
)
from influxops.reconcile.plan.adopt import Adopt
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import Books


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench whose runs are remembered, with a database whose name belongs to no tenant."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.tenants("a", "b")
    bench.server().databases["factory7"] = Database(7200, False, True)
    return bench


def books(bench: Bench) -> Books:
    return bench.world.books


def events(bench: Bench, tenant: str) -> list[str]:
    return [entry.event.value for entry in books(bench).history if entry.tenant == tenant]


def kinds(report: Report) -> set[FindingKind]:
    return {finding.kind for finding in report.findings}


def adopt(bench: Bench, *, targets: tuple[str, ...] = (), dry_run: bool = False, **names: str):  # type: ignore[no-untyped-def]
    return bench.run(tenants=tuple(names), targets=targets, dry_run=dry_run, operation=Adopt(names))


def test_an_adopted_database_is_marked_and_recorded_and_its_retention_kept(kept: Bench) -> None:
    report = adopt(kept, a="factory7")
    assert report.exit_code is ExitCode.OK
    assert kept.server().databases["factory7"] == Database(7200, True, True)
    record = books(kept).records["a"]
    assert (record.state, record.database, record.target) == (State.READY, "factory7", "eu1")
    assert (record.identity, record.created_by, record.claimed_by) == ("eu1", report.run_id, "")
    assert events(kept, "a") == ["adopted", "completed"]
    assert [change.action.value for change in report.changed] == ["adopt", "add-marker"]
    assert "b" not in books(kept).records


def test_the_adopted_name_outranks_the_template_from_then_on(kept: Bench) -> None:
    adopt(kept, a="factory7")
    assert kept.run().exit_code is ExitCode.OK
    assert sorted(kept.server().databases) == ["factory7", "telemetry_b"]
    kept.tenants(Tenant("a", {"database": "telemetry_a"}), "b")
    report = kept.run()
    assert FindingKind.CONFLICT in kinds(report)
    assert report.exit_code is ExitCode.FAILED


def test_a_plan_to_adopt_writes_nothing(kept: Bench) -> None:
    report = adopt(kept, a="factory7", dry_run=True)
    assert report.exit_code is ExitCode.OK
    assert [change.action.value for change in report.planned] == ["adopt", "add-marker"]
    assert books(kept).records == {}
    assert kept.server().changes == []


def test_adopting_again_changes_nothing(kept: Bench) -> None:
    adopt(kept, a="factory7")
    before = list(books(kept).history)
    report = adopt(kept, a="factory7")
    assert (report.exit_code, report.changed) == (ExitCode.OK, ())
    assert books(kept).history == before


def test_what_the_tenant_had_before_becomes_an_orphan_and_that_is_told(kept: Bench) -> None:
    kept.run()
    report = adopt(kept, a="factory7")
    (note,) = report.tenants[0].notes
    assert note.kind is FindingKind.ORPHAN
    assert "telemetry_a on eu1 belongs to no tenant from now on" in note.message
    assert "telemetry_a" in kept.server().databases
    (entry,) = [e for e in books(kept).history if e.event.value == "adopted"]
    assert (entry.before, entry.after) == ("telemetry_a on eu1", "factory7")
    later = kept.run()
    assert later.exit_code is ExitCode.OK
    assert any("telemetry_a on eu1 belongs to no tenant" in n.message for n in later.notes)


def test_a_database_that_another_tenant_has_is_held(kept: Bench) -> None:
    kept.run()
    report = adopt(kept, a="telemetry_b")
    assert report.exit_code is ExitCode.FAILED
    (plan,) = report.tenants
    assert plan.finding is not None
    assert plan.finding.kind is FindingKind.NAME_COLLISION
    assert "is recorded for tenant 'b'" in plan.finding.message
    assert books(kept).records["a"].database == "telemetry_a"


def test_a_database_that_another_tenant_is_meant_to_have_is_held(kept: Bench) -> None:
    kept.server().databases["telemetry_b"] = Database(None, True, True)
    report = adopt(kept, a="telemetry_b")
    assert FindingKind.NAME_COLLISION in kinds(report)
    assert books(kept).records == {}


def test_a_database_of_a_retired_tenant_can_be_adopted_and_one_that_is_retiring_cannot(
    kept: Bench,
) -> None:
    for state, held in ((State.RETIRING, True), (State.RETIRED, False)):
        books(kept).records["old"] = Record("old", state, "factory7", "eu1", version=1)
        report = adopt(kept, a="factory7", dry_run=True)
        assert (FindingKind.NAME_COLLISION in kinds(report)) is held


def test_a_database_on_two_targets_is_held_until_one_is_named(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.server("eu2").databases["factory7"] = Database(None, True, True)
    report = adopt(kept, a="factory7")
    (plan,) = report.tenants
    assert plan.finding is not None
    assert plan.finding.kind is FindingKind.IN_TWO_TARGETS
    assert "--target eu1" in plan.finding.hint
    assert adopt(kept, a="factory7", targets=("eu2",)).exit_code is ExitCode.OK
    assert books(kept).records["a"].target == "eu2"
    assert kept.server("eu1").changes == []


def test_a_database_that_may_be_on_a_target_that_cannot_be_read_waits(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.server("eu2", down="connection refused")
    report = adopt(kept, a="factory7")
    assert FindingKind.NOT_READ in kinds(report)
    assert report.exit_code is ExitCode.FAILED
    assert books(kept).records == {}
    adopt(kept, a="factory7", targets=("eu1",))
    assert books(kept).records["a"].target == "eu1"


def test_a_database_that_is_nowhere_is_held_with_the_nearest_name(kept: Bench) -> None:
    report = adopt(kept, a="factory8")
    (plan,) = report.tenants
    assert plan.finding is not None
    assert plan.finding.kind is FindingKind.NO_DATABASE
    assert "factory7" in plan.finding.hint
    assert report.exit_code is ExitCode.FAILED


def test_a_tenant_that_no_source_knows_is_refused_with_the_nearest_id(kept: Bench) -> None:
    kept.tenants("acme", "b")
    with pytest.raises(ConfigError, match=r"no source knows the tenant 'amce'") as raised:
        adopt(kept, amce="factory7")
    assert "acme" in raised.value.hint


def test_two_tenants_cannot_adopt_one_database(kept: Bench) -> None:
    with pytest.raises(ConfigError, match="two tenants are to adopt"):
        adopt(kept, a="factory7", b="factory7")


def test_what_could_not_be_marked_is_not_recorded(kept: Bench) -> None:
    kept.server().outcomes = {"factory7": ChangeResult.FAILED}
    report = adopt(kept, a="factory7")
    assert report.exit_code is ExitCode.FAILED
    assert [(o.change.action.value, o.status.value) for o in report.outcomes] == [
        ("adopt", "skipped"),
        ("add-marker", "failed"),
    ]
    assert books(kept).records["a"].state is State.PENDING
    assert books(kept).records["a"].database == ""


def test_what_could_not_be_recorded_is_told_as_failed(kept: Bench) -> None:
    books(kept).broken["commit"] = LedgerError("the connection broke")
    report = adopt(kept, a="factory7")
    assert report.exit_code is ExitCode.FAILED
    assert report.outcomes[0].status is ChangeResult.FAILED
    assert "a" not in books(kept).records or books(kept).records["a"].state is State.PENDING


def test_a_tenant_that_another_run_took_first_is_left_to_it(kept: Bench) -> None:
    books(kept).rival = {"a": Record("a", State.READY, "telemetry_a", "eu1", version=1)}
    report = adopt(kept, a="factory7")
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.CLAIMED in kinds(report)
    assert books(kept).records["a"].database == "telemetry_a"
    assert kept.server().changes == []


def test_a_ledger_that_cannot_be_read_adopts_nothing(kept: Bench) -> None:
    books(kept).broken["load_records"] = LedgerError("connection refused")
    report = adopt(kept, a="factory7")
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.FAILED_LEDGER in kinds(report)
    assert kept.server().changes == []


def test_the_source_and_the_retention_that_say_otherwise_are_told(kept: Bench) -> None:
    kept.tenants(Tenant("a", {"database": "elsewhere", "retention": "30d"}), "b")
    report = adopt(kept, a="factory7")
    messages = [note.message for note in report.tenants[0].notes]
    assert any("its source calls its database elsewhere" in message for message in messages)
    assert any("`ensure` sets it to 30d" in message for message in messages)
    assert kept.server().databases["factory7"].retention == 7200


def test_a_misplaced_database_is_adopted_where_it_was_found(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.run()
    kept.server("eu2").databases["telemetry_a"] = kept.server("eu1").databases.pop("telemetry_a")
    assert adopt(kept, a="telemetry_a").exit_code is ExitCode.OK
    assert books(kept).records["a"].target == "eu2"
    assert kept.run().exit_code is ExitCode.OK


def test_a_tenant_that_left_a_copy_behind_is_held(kept: Bench) -> None:
    kept.run()
    books(kept).records["a"] = replace(books(kept).records["a"], secondary_target="eu2")
    assert FindingKind.MOVING in kinds(adopt(kept, a="factory7"))


# What is left of a tenant that was moved


@pytest.fixture
def moved(bench: Bench) -> Bench:
    """Give a bench whose tenant `a` was moved from eu1 to eu2."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name, "cache_ttl": "0s"}}
    bench.targets = ("eu1", "eu2")
    bench.tenants("a")
    bench.run()
    bench.server("eu1").write("telemetry_a", k0=0)
    with bench.engine() as engine:
        report = engine.run(Move("eu2"), RunContext(tenants=frozenset(["a"])))
    assert report.exit_code is ExitCode.OK
    return bench


def test_the_old_copy_is_adopted_where_the_new_one_is_gone(moved: Bench) -> None:
    del moved.server("eu2").databases["telemetry_a"]
    (held,) = (finding for finding in moved.run().findings if finding.kind is FindingKind.MISPLACED)
    assert "is gone from eu2" in held.message
    assert "adopt a=telemetry_a" in held.hint
    report = adopt(moved, a="telemetry_a")
    assert report.exit_code is ExitCode.OK
    record = books(moved).records["a"]
    assert (record.state, record.target, record.identity) == (State.READY, "eu1", "eu1")
    assert (record.secondary_target, record.secondary_identity, record.drop_after) == (
        None,
        None,
        None,
    )
    assert any("since it was moved there" in finding.message for finding in report.findings)
    assert moved.run().exit_code is ExitCode.OK


@pytest.mark.parametrize("due", [True, False], ids=["cut over", "not cut over"])
def test_what_a_move_that_was_begun_has_left_is_adopted_where_the_rest_is_gone(
    moved: Bench, due: bool
) -> None:
    record = books(moved).records["a"]
    moving = replace(record, state=State.MOVING, drop_after=record.drop_after if due else None)
    books(moved).records["a"] = moving
    del moved.server("eu2").databases["telemetry_a"]
    (held,) = (finding for finding in moved.run().findings if finding.tenant == "a")
    assert "adopt a=telemetry_a" in held.hint
    assert adopt(moved, a="telemetry_a").exit_code is ExitCode.OK
    assert books(moved).records["a"].state is State.READY
    assert books(moved).records["a"].target == "eu1"


def _is_there(bench: Bench) -> None:
    """Leave the database where it is recorded."""


def _is_down(bench: Bench) -> None:
    bench.server("eu2").down = "connection refused"


def _hides_some(bench: Bench) -> None:
    bench.server("eu2").shows_all = False
    del bench.server("eu2").databases["telemetry_a"]


def _is_another(bench: Bench) -> None:
    bench.server("eu2").uuid = "another"
    bench.server("eu2").databases.clear()


@pytest.mark.parametrize("change", [_is_there, _is_down, _hides_some, _is_another])
def test_the_old_copy_is_not_adopted_unless_it_is_known_that_the_new_one_is_gone(
    moved: Bench, change: Callable[[Bench], None]
) -> None:
    change(moved)
    before = books(moved).records["a"]
    report = adopt(moved, targets=("eu1",), a="telemetry_a")
    assert report.exit_code in (ExitCode.FAILED, ExitCode.REFUSED)
    assert books(moved).records["a"].target == before.target
    assert books(moved).records["a"].secondary_target == before.secondary_target


def test_a_moved_tenant_whose_target_is_down_is_unknown_and_not_on_its_old_place(
    moved: Bench,
) -> None:
    moved.server("eu2").down = "connection refused"
    report = moved.run()
    (plan,) = report.tenants
    assert plan.status is TenantStatus.UNKNOWN
    assert "eu2" in plan.finding.message  # type: ignore[union-attr]
    assert "adopt" not in plan.finding.hint  # type: ignore[union-attr]


def test_the_old_copy_is_adopted_where_the_new_ones_server_was_replaced_and_that_is_allowed(
    moved: Bench,
) -> None:
    _is_another(moved)
    names = {"a": "telemetry_a"}
    report = moved.run(tenants=("a",), operation=Adopt(names), allow=["replaced-server"])
    assert report.exit_code is ExitCode.OK
    assert books(moved).records["a"].target == "eu1"
