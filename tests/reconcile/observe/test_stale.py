"""What servers show and the ledger does not know: told, and nothing else is suspected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from influxops.domain.database import Database
from influxops.domain.finding import Finding, FindingKind
from influxops.plugin import ExitCode, Marker, Record, Report, State, Tenant
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import Books
from tests.reconcile.ledger.test_ledger import database

HOUR = timedelta(hours=1)


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench whose runs are remembered, with tenants `a` and `b` on the first of two."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b")
    assert bench.run().exit_code is ExitCode.OK
    books(bench).now += 48 * HOUR
    return bench


def books(bench: Bench) -> Books:
    return bench.world.books


def held(bench: Bench, target: str, tenant: str, at: datetime | None = None) -> None:
    """Let a server hold a tenant's database with its marker, made just now or then."""
    server = bench.server(target)
    server.databases[f"telemetry_{tenant}"] = database()
    server.markers[f"telemetry_{tenant}"] = Marker(tenant, at or books(bench).now)


def stale(report: Report) -> list[Finding]:
    return [each for each in report.findings if each.kind is FindingKind.STALE_LEDGER]


def told(bench: Bench, **arguments: object) -> list[tuple[str | None, str | None]]:
    """Give whom a plan suspects, and where."""
    found = stale(bench.run(dry_run=True, **arguments))  # type: ignore[arg-type]
    return [(each.tenant, each.target) for each in found]


def _second_place(bench: Bench) -> None:
    held(bench, "eu2", "a")


def _only_elsewhere(bench: Bench) -> None:
    held(bench, "eu2", "a")
    del bench.server().databases["telemetry_a"]


def _no_record(bench: Bench) -> None:
    held(bench, "eu2", "a")
    del bench.server().databases["telemetry_a"]
    del books(bench).records["a"]


def _wanted(bench: Bench) -> None:
    _no_record(bench)
    books(bench).records["a"] = Record("a", State.PENDING, version=1)


def _retired(bench: Bench) -> None:
    record = books(bench).records["a"]
    books(bench).records["a"] = replace(record, state=State.RETIRED)
    del bench.server().databases["telemetry_a"]
    held(bench, "eu2", "a")


def _no_source(bench: Bench) -> None:
    _no_record(bench)
    bench.tenants("b")


@pytest.mark.parametrize(
    "change", [_second_place, _only_elsewhere, _no_record, _wanted, _retired, _no_source]
)
def test_a_database_with_the_tenants_marker_that_no_record_explains_is_told(
    kept: Bench, change: Callable[[Bench], None]
) -> None:
    change(kept)
    assert told(kept) == [("a", "eu2")]
    (finding,) = stale(kept.run(dry_run=True))
    assert "was the ledger restored from a backup?" in finding.hint


def _dropped(bench: Bench) -> None:
    bench.tenants("b")
    del bench.server().databases["telemetry_a"]
    bench.server().deleted_ago["telemetry_a"] = 3600.0


def _missing(bench: Bench) -> None:
    bench.tenants("b")
    del bench.server().databases["telemetry_a"]


def _made_again(bench: Bench) -> None:
    bench.server().deleted_ago["telemetry_a"] = 3600.0


def _moved_and_dropped(bench: Bench) -> None:
    record = books(bench).records["a"]
    moving = replace(record, state=State.MOVING, secondary_target="eu2", secondary_identity="eu2")
    books(bench).records["a"] = moving
    held(bench, "eu2", "a")
    del bench.server().databases["telemetry_a"]
    bench.server().deleted_ago["telemetry_a"] = 3600.0


@pytest.mark.parametrize("change", [_dropped, _missing, _made_again, _moved_and_dropped])
def test_what_was_deleted_later_than_all_that_the_ledger_knows_is_told(
    kept: Bench, change: Callable[[Bench], None]
) -> None:
    change(kept)
    assert told(kept) == [("a", "eu1")]


def _nothing(bench: Bench) -> None:
    """Leave all as it is."""


def _another_marker(bench: Bench) -> None:
    held(bench, "eu2", "a")
    bench.server("eu2").markers["telemetry_a"] = Marker("b", books(bench).now)


def _no_marker_to_read(bench: Bench) -> None:
    held(bench, "eu2", "a")
    bench.server("eu2").markers.clear()


def _no_table(bench: Bench) -> None:
    bench.server("eu2").databases["telemetry_a"] = Database(complete=False)


def _older_than_its_record(bench: Bench) -> None:
    held(bench, "eu2", "a", books(bench).now - 72 * HOUR)


def _older_than_the_ledger(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    held(bench, "eu1", "c", books(bench).now - 72 * HOUR)


def _on_a_new_target(bench: Bench) -> None:
    bench.tenants("a", "b", "c")
    bench.targets = ("eu1", "eu2", "eu3")
    held(bench, "eu3", "c")


def _an_old_copy(bench: Bench) -> None:
    held(bench, "eu2", "a")
    record = books(bench).records["a"]
    books(bench).records["a"] = replace(record, secondary_target="eu2", secondary_identity="eu2")


def _of_a_new_source(bench: Bench) -> None:
    bench.extra["sources"] = {"more": {"kind": "memory", "world": bench.name, "host": "elsewhere"}}
    bench.tenants("c", source="more")
    held(bench, "eu1", "c")


def _deleted_before(bench: Bench) -> None:
    bench.server().deleted_ago["telemetry_a"] = 72 * 3600.0


def _deleted_at_about_the_same_time(bench: Bench) -> None:
    bench.server().deleted_ago["telemetry_a"] = 48 * 3600.0 - 5


def _retiring(bench: Bench) -> None:
    _dropped(bench)
    record = books(bench).records["a"]
    books(bench).records["a"] = replace(record, state=State.RETIRING)


def _hidden(bench: Bench) -> None:
    _missing(bench)
    bench.server().shows_all = False


def _renamed(bench: Bench) -> None:
    bench.targets = ("de1", "eu2")
    bench.world.servers["de1"] = bench.world.servers.pop("eu1")


@pytest.mark.parametrize(
    "change",
    [
        _nothing,
        _another_marker,
        _no_marker_to_read,
        _no_table,
        _older_than_its_record,
        _older_than_the_ledger,
        _on_a_new_target,
        _an_old_copy,
        _of_a_new_source,
        _deleted_before,
        _deleted_at_about_the_same_time,
        _retiring,
        _hidden,
        _renamed,
    ],
)
def test_nothing_else_is_suspected(kept: Bench, change: Callable[[Bench], None]) -> None:
    change(kept)
    assert told(kept) == []


def test_a_new_ledger_suspects_nothing_of_what_is_there(bench: Bench) -> None:
    bench.tenants("a", "b")
    for tenant in ("a", "b", "orphan"):
        held(bench, "eu1", tenant)
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    assert stale(bench.run()) == []


def test_what_another_run_makes_meanwhile_is_not_suspected(kept: Bench) -> None:
    held(kept, "eu1", "c")
    record = Record(
        "c", State.READY, "telemetry_c", "eu1", "eu1", created_at=books(kept).now, version=1
    )
    # It is recorded after the records were read, and before they are read again.
    calls = books(kept).calls
    calls.clear()

    def calling(hook: str) -> None:
        if hook == "load_records" and calls.count("load_records") == 2:
            books(kept).records["c"] = record

    books(kept).calling = calling
    assert told(kept) == []
    assert calls.count("load_records") == 2


def test_where_all_is_well_nothing_more_is_asked(kept: Bench) -> None:
    books(kept).calls.clear()
    reads = kept.server().reads
    assert told(kept) == []
    assert books(kept).calls.count("load_records") == 1
    assert kept.server().reads == reads + 1
    assert kept.server().asked_markers == []


def test_markers_are_read_of_no_more_than_a_hundred_databases(kept: Bench) -> None:
    for number in range(150):
        held(kept, "eu2", f"t{number:03}")
    held(kept, "eu2", "a")
    assert ("a", "eu2") in told(kept)
    assert len(kept.server("eu2").asked_markers) == 100


def test_only_whom_a_run_is_for_is_told_of(kept: Bench) -> None:
    held(kept, "eu2", "a")
    held(kept, "eu2", "b")
    assert told(kept, tenants=("b",)) == [("b", "eu2")]


def test_doctor_tells_it(kept: Bench) -> None:
    held(kept, "eu2", "a")
    with kept.engine() as engine:
        checks = [check for _, check in engine.doctor(RunContext())]
    (found,) = (check for check in checks if check.name == "up to date")
    assert found.ok is False
    assert "its database is on eu2 with its marker, and recorded on eu1" in found.message


def test_an_adopted_database_leaves_what_the_ledger_had_as_its_old_copy(kept: Bench) -> None:
    from influxops.reconcile.plan.adopt import Adopt

    held(kept, "eu2", "a")
    report = kept.run(tenants=("a",), targets=("eu2",), operation=Adopt({"a": "telemetry_a"}))
    assert report.exit_code is ExitCode.OK
    record = books(kept).records["a"]
    assert (record.target, record.secondary_target, record.secondary_identity) == (
        "eu2",
        "eu1",
        "eu1",
    )
    assert record.drop_after == books(kept).now + timedelta(days=7)
    assert kept.run().exit_code is ExitCode.OK
    assert told(kept) == []


def test_a_tenant_with_a_database_of_its_own_name_is_told_too(kept: Bench) -> None:
    kept.tenants("a", "b", Tenant("c", {"database": "factory7"}))
    kept.server("eu2").databases["factory7"] = Database(None, True, True)
    kept.server("eu2").markers["factory7"] = Marker("c", books(kept).now)
    assert told(kept) == [("c", "eu2")]
