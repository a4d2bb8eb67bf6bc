"""What is forgotten, what is not, and what full runs give up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from influxops.domain.finding import FindingKind
from influxops.domain.plan import Action, TenantStatus
from influxops.engine.operations import Forget
from influxops.plugin import Database, ExitCode, Record, Report, SourceError, State
from influxops.report.view import ReportView
from tests.bench import Bench
from tests.fakes import Books


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench that remembers three tenants; `a` is in no source any more, and waits."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.tenants("b", "c")
    bench.run()
    books(bench).records["a"] = Record(
        "a", State.PENDING, error="no such name", state_since=books(bench).now, version=1
    )
    return bench


def books(bench: Bench) -> Books:
    return bench.world.books


def forget(bench: Bench, *tenants: str, dry_run: bool = False) -> Report:
    return bench.run(tenants=tenants, operation=Forget(tenants), dry_run=dry_run)


def events(bench: Bench, tenant: str = "a") -> list[str]:
    return [entry.event.value for entry in books(bench).history if entry.tenant == tenant]


def test_a_tenant_without_a_database_is_forgotten_and_its_history_stays(kept: Bench) -> None:
    assert [change.action for change in forget(kept, "a", dry_run=True).planned] == [Action.FORGET]
    assert "a" in books(kept).records
    report = forget(kept, "a")
    assert report.exit_code is ExitCode.OK
    assert ReportView(report).action_text(report.tenants[0]) == "forgotten"
    assert books(kept).records.keys() == {"b", "c"}
    assert events(kept) == ["forgotten"]


@pytest.mark.parametrize("state", [State.LOST, State.RETIRED, State.READY, State.ALLOCATED])
def test_so_is_one_whose_database_is_gone(kept: Bench, state: State) -> None:
    books(kept).records["a"] = Record("a", state, "telemetry_a", "eu1", "eu1", version=1)
    assert forget(kept, "a").exit_code is ExitCode.OK
    assert "a" not in books(kept).records


def test_one_that_a_source_has_is_not(kept: Bench) -> None:
    kept.server().databases.pop("telemetry_b")
    report = forget(kept, "b")
    assert report.tenants[0].kind is FindingKind.STILL_REGISTERED
    assert report.exit_code is ExitCode.FAILED
    assert "b" in books(kept).records


@pytest.mark.parametrize("target", ["eu1", "eu2"])
@pytest.mark.parametrize("database", ["telemetry_a", "factory7"])
def test_one_whose_database_is_anywhere_is_not(kept: Bench, target: str, database: str) -> None:
    kept.targets = ("eu1", "eu2")
    books(kept).records["a"] = Record("a", State.RETIRED, "factory7", "eu1", "eu1", version=1)
    kept.server(target).databases[database] = Database()
    report = forget(kept, "a")
    assert report.tenants[0].kind is FindingKind.STILL_EXISTS
    assert f"{database} is on {target}" in report.tenants[0].reason
    assert "a" in books(kept).records


def test_what_is_another_tenants_does_not_keep_one(kept: Bench) -> None:
    others = replace(books(kept).records["b"], database="telemetry_a")
    books(kept).records["b"] = others
    kept.server().databases["telemetry_a"] = kept.server().databases.pop("telemetry_b")
    forget(kept, "a")
    assert "a" not in books(kept).records


@pytest.mark.parametrize("what", ["target", "rights", "unconfigured", "source"])
def test_while_something_cannot_be_read_it_is_unknown(kept: Bench, what: str) -> None:
    if what == "target":
        kept.server().down = "away"
    elif what == "rights":
        kept.server().shows_all = False
    elif what == "unconfigured":
        books(kept).records["a"] = Record("a", State.LOST, "telemetry_a", "eu7", version=1)
    else:
        kept.world.broken["registry"] = SourceError("gone")
    report = forget(kept, "a")
    assert report.tenants[0].status is TenantStatus.UNKNOWN
    assert report.exit_code is ExitCode.FAILED
    assert "a" in books(kept).records


def test_a_full_run_gives_up_who_waits_and_is_in_no_source_any_more(kept: Bench) -> None:
    slot = Record("d", State.ALLOCATED, "telemetry_d", "eu1", state_since=books(kept).now)
    books(kept).records["d"] = replace(slot, version=1)
    kept.run()
    assert books(kept).records["a"].state is State.PENDING  # it may be registered in a moment
    books(kept).now += timedelta(minutes=11)
    kept.run()
    for tenant in ("a", "d"):
        found = books(kept).records[tenant]
        assert (found.state, found.error, found.target) == (State.RETIRED, "", None)
        assert events(kept, tenant) == ["given-up"]
    kept.tenants("a", "b", "c")
    kept.run()
    assert books(kept).records["a"].state is State.READY


def test_a_full_run_gives_nobody_up_whose_database_may_be_there(kept: Bench) -> None:
    kept.tenants("b", "c", "e")
    slot = Record("d", State.ALLOCATED, "telemetry_d", "eu1", state_since=books(kept).now)
    books(kept).records["d"] = replace(slot, version=1)
    books(kept).now += timedelta(minutes=11)
    kept.server().databases["telemetry_d"] = Database()
    kept.run()
    assert books(kept).records["d"].state is State.ALLOCATED


def test_a_registry_that_is_empty_or_away_gives_nobody_up(kept: Bench) -> None:
    books(kept).now += timedelta(minutes=11)
    kept.tenants()
    kept.run()
    kept.world.broken["registry"] = SourceError("gone")
    kept.run()
    assert books(kept).records["a"].state is State.PENDING
