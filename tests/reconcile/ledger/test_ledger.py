from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from influxops.config.load import parse_config
from influxops.domain.database import Inventory
from influxops.domain.finding import FindingKind
from influxops.domain.record import LedgerSnapshot, Server
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.plugin import (
    Database,
    ExitCode,
    LedgerError,
    Record,
    Report,
    State,
    Tenant,
    TenantStatus,
)
from influxops.reconcile.observe.ledger import ledger_view
from influxops.runtime.context import RunContext
from tests.bench import Bench
from tests.fakes import KINDS, Books


@pytest.fixture
def kept(bench: Bench) -> Bench:
    """Give a bench whose runs are remembered."""
    bench.extra = {"ledger": {"kind": "books", "world": bench.name}}
    return bench


def books(bench: Bench) -> Books:
    return bench.world.books


def states(bench: Bench) -> dict[str, str]:
    return {id_: record.state.value for id_, record in books(bench).records.items()}


def events(bench: Bench, tenant: str) -> list[str]:
    return [entry.event.value for entry in books(bench).history if entry.tenant == tenant]


def verdicts(report: Report) -> dict[str, str]:
    return {plan.tenant: plan.status.value for plan in report.tenants}


def kinds(report: Report) -> set[FindingKind]:
    return {finding.kind for finding in report.findings}


def database(**values: object) -> Database:
    return replace(Database(None, True, True), **values)


def test_what_was_made_is_recorded(kept: Bench) -> None:
    kept.tenants("a", "b")
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    record = books(kept).records["a"]
    assert record.state is State.READY
    assert (record.target, record.identity, record.database) == ("eu1", "eu1", "telemetry_a")
    assert (record.created_by, record.claimed_by) == (report.run_id, "")
    assert events(kept, "a") == ["created"]
    assert books(kept).servers["eu1"].identity == "eu1"
    assert books(kept).sources == {"memory:memory@localhost"}


def test_a_place_is_reserved_before_anything_is_written(kept: Bench) -> None:
    kept.tenants("a")
    server = kept.server(error=RuntimeError("the process was killed here"))
    kept.run()
    assert books(kept).calls[:4] == ["session", "load_records", "claim", "commit"]
    assert server.databases == {}


def test_what_is_written_is_reserved_by_then_and_recorded_only_after(kept: Bench) -> None:
    kept.tenants("a", "b")
    seen: list[tuple[dict[str, str], int]] = []
    kept.server(before_change=lambda: seen.append((states(kept), len(books(kept).history))))
    kept.run()
    reserved = {"a": "allocated", "b": "allocated"}
    assert seen == [(reserved, 0), (reserved, 0)]


def test_a_run_that_finds_nothing_to_do_reserves_nothing_and_keeps_the_history_short(
    kept: Bench,
) -> None:
    kept.tenants("a", "b")
    kept.run()
    before = list(books(kept).history)
    books(kept).calls.clear()
    assert kept.run().exit_code is ExitCode.OK
    assert "claim" not in books(kept).calls
    assert books(kept).history == before


def test_the_first_run_records_what_is_there_as_found_and_nothing_else_happens(kept: Bench) -> None:
    kept.tenants("a", "b")
    server = kept.server(databases={"telemetry_a": database(), "telemetry_b": database()})
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert server.changes == []
    assert states(kept) == {"a": "ready", "b": "ready"}
    assert events(kept, "a") == ["found"]


def test_a_plan_writes_nothing_to_the_ledger(kept: Bench) -> None:
    kept.tenants("a")
    kept.run(dry_run=True)
    assert books(kept).calls == ["load_records"]
    assert books(kept).records == {}


def test_a_database_that_is_gone_is_lost_and_not_made_again(kept: Bench) -> None:
    kept.tenants("a", "b")
    first = kept.run()
    del kept.server().databases["telemetry_a"]
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert "telemetry_a" not in kept.server().databases
    assert states(kept) == {"a": "lost", "b": "ready"}
    lost = next(plan for plan in report.tenants if plan.tenant == "a")
    assert lost.finding is not None
    assert lost.finding.kind is FindingKind.LOST
    assert first.run_id in lost.finding.message
    assert "same server" in lost.finding.message
    assert "ensure --recreate a" in lost.finding.hint
    assert events(kept, "a") == ["created", "lost"]


def test_what_is_lost_stays_lost_until_it_is_allowed(kept: Bench) -> None:
    kept.tenants("a", "b")
    kept.run()
    kept.server().databases.clear()
    kept.run()
    kept.run()
    assert states(kept) == {"a": "lost", "b": "lost"}
    assert events(kept, "a") == ["created", "lost"]
    report = kept.run(allow=["recreate-lost", "mass-change"])
    assert report.exit_code is ExitCode.OK
    assert states(kept) == {"a": "ready", "b": "ready"}
    assert books(kept).records["a"].created_by == report.run_id


def test_one_lost_tenant_can_be_made_again_by_its_name(kept: Bench) -> None:
    kept.tenants(*"abcdefghijklmn")
    kept.run()
    del kept.server().databases["telemetry_a"]
    del kept.server().databases["telemetry_b"]
    report = kept.run(operation=Ensure(frozenset({"a"})))
    assert report.exit_code is ExitCode.FAILED
    assert (states(kept)["a"], states(kept)["b"]) == ("ready", "lost")


def test_what_was_lost_and_is_there_again_is_told(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    gone = kept.server().databases.pop("telemetry_a")
    kept.run()
    kept.server().databases["telemetry_a"] = gone
    assert kept.run().exit_code is ExitCode.OK
    assert events(kept, "a") == ["created", "lost", "found-again"]


def test_a_server_that_was_replaced_gets_nothing_until_it_is_allowed(kept: Bench) -> None:
    kept.tenants("a", "b")
    kept.run()
    kept.server(uuid="another").databases.clear()
    report = kept.run()
    assert report.exit_code is ExitCode.REFUSED
    assert kept.server().databases == {}
    assert [refusal.guard for refusal in report.refusals] == ["replaced-server"]
    assert books(kept).servers["eu1"].identity == "eu1"

    report = kept.run(allow=["replaced-server", "mass-change"])
    assert report.exit_code is ExitCode.FAILED
    assert kept.server().databases == {}
    assert states(kept) == {"a": "lost", "b": "lost"}
    assert books(kept).servers["eu1"].identity == "another"
    lost = report.tenants[0].finding
    assert lost is not None
    assert "another server answers" in lost.message


def test_a_tenant_being_moved_is_not_lost_where_another_server_answers_for_a_while(
    kept: Bench,
) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a")
    kept.run()
    record = books(kept).records["a"]
    moving = replace(record, state=State.MOVING, secondary_target="eu2", secondary_identity="eu2")
    books(kept).records["a"] = moving
    kept.server("eu2").databases["telemetry_a"] = database()
    held = dict(kept.server().databases)
    kept.server(uuid="another").databases.clear()

    report = kept.run()

    assert report.exit_code is not ExitCode.OK
    finding = report.tenants[0].finding
    assert finding is not None
    assert "another server answers at eu1" in finding.message
    assert states(kept) == {"a": "moving"}
    assert "lost" not in events(kept, "a")
    kept.server(uuid="eu1").databases.update(held)
    assert kept.run().exit_code is ExitCode.OK
    assert states(kept) == {"a": "moving"}


def test_another_server_that_is_gone_again_when_it_is_read_again_changes_nothing(
    kept: Bench,
) -> None:
    kept.tenants("a")
    kept.run()
    server = kept.server(uuid="another")
    server.databases.clear()
    already = server.reads

    def gone(hook: str) -> None:
        server.down = "another server answers there" if server.reads > already else ""

    server.before_reading = gone
    report = kept.run()

    assert report.exit_code is ExitCode.FAILED
    assert verdicts(report) == {"a": "unknown"}
    assert states(kept) == {"a": "ready"}


def test_a_replaced_server_is_refused_also_where_nothing_is_to_be_written(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.server(uuid="restored from a backup")
    assert kept.run().exit_code is ExitCode.REFUSED
    assert kept.run(allow=["replaced-server"]).exit_code is ExitCode.OK
    assert kept.run().exit_code is ExitCode.OK


def test_a_target_with_another_name_is_a_rename(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.targets = ("west",)
    kept.world.servers["west"] = kept.world.servers["eu1"]
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert FindingKind.RENAMED_TARGET in kinds(report)
    assert books(kept).records["a"].target == "west"
    assert kept.run().notes == ()


def test_tenants_of_a_target_that_is_not_configured_any_more_are_unknown(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.extra["placement"] = {"policy": "spread"}
    kept.tenants("a", "b")
    kept.run()
    kept.targets = ("eu1",)
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert sorted(verdicts(report).values()) == ["ok", "unknown"]
    assert len(kept.server("eu1").databases) == 1
    assert FindingKind.NOT_CONFIGURED in kinds(report)


def test_a_tenant_recorded_on_an_unreachable_target_is_never_made_elsewhere(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a")
    kept.run()
    kept.tenants("a", "b")
    kept.server("eu1", down="connection refused")
    report = kept.run(allow=["unreachable"])
    assert verdicts(report) == {"a": "unknown", "b": "changed"}
    assert [*kept.server("eu2").databases] == ["telemetry_b"]


def test_a_database_found_elsewhere_than_recorded_is_misplaced(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a")
    kept.run()
    kept.server("eu2").databases["telemetry_a"] = kept.server("eu1").databases.pop("telemetry_a")
    report = kept.run()
    assert verdicts(report) == {"a": "blocked"}
    assert FindingKind.MISPLACED in kinds(report)
    assert states(kept) == {"a": "ready"}


def test_a_moving_tenant_on_both_its_targets_is_no_double(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a")
    kept.run()
    kept.server("eu2").databases["telemetry_a"] = database()
    record = books(kept).records["a"]
    books(kept).records["a"] = replace(record, state=State.MOVING, secondary_target="eu2")
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert states(kept) == {"a": "moving"}


def test_what_another_living_run_has_in_its_hands_is_left_alone(kept: Bench) -> None:
    kept.tenants("a", "b")
    books(kept).records["a"] = Record(
        "a", State.ALLOCATED, "telemetry_a", "eu1", claimed_by="other", version=1
    )
    books(kept).living.add("other")
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert verdicts(report) == {"a": "blocked", "b": "changed"}
    assert FindingKind.CLAIMED in kinds(report)
    assert [*kept.server().databases] == ["telemetry_b"]


def test_what_another_run_was_faster_with_is_left_to_it_and_looked_at_again(kept: Bench) -> None:
    kept.tenants("a", "b")
    kept.server().rival_of = kept.server()
    kept.server().rival = {"telemetry_a": database()}
    books(kept).rival = {
        "a": Record("a", State.READY, "telemetry_a", "eu1", created_at=books(kept).now, version=1)
    }
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert verdicts(report) == {"a": "ok", "b": "changed"}
    assert [change.tenant for change in kept.server().changes] == ["b"]


def test_the_reservation_of_a_dead_run_is_taken_over(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a", "b")
    books(kept).records["a"] = Record(
        "a", State.ALLOCATED, "telemetry_a", "eu2", claimed_by="dead", version=1
    )
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert [*kept.server("eu2").databases] == ["telemetry_a"]
    assert states(kept) == {"a": "ready", "b": "ready"}


def test_the_reservation_of_a_dead_run_holds_while_its_target_cannot_be_read(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a")
    kept.server("eu2", down="connection refused")
    books(kept).records["a"] = Record(
        "a", State.ALLOCATED, "telemetry_a", "eu2", claimed_by="dead", version=1
    )
    report = kept.run(allow=["unreachable"])
    assert verdicts(report) == {"a": "unknown"}
    assert kept.server("eu1").databases == {}


def test_what_a_dead_run_made_is_recorded_once_it_is_seen(kept: Bench) -> None:
    kept.tenants("a")
    kept.server(databases={"telemetry_a": database()})
    books(kept).records["a"] = Record(
        "a", State.ALLOCATED, "telemetry_a", "eu1", claimed_by="dead", version=1
    )
    assert kept.run().exit_code is ExitCode.OK
    assert states(kept) == {"a": "ready"}
    assert kept.server().changes == []
    assert frozenset({"telemetry_a"}) in kept.server().verify


def test_what_was_not_confirmed_is_confirmed_by_the_next_run_and_only_that(kept: Bench) -> None:
    kept.tenants("a", "b")
    server = kept.server(unconfirmed="telemetry_a")
    kept.run()
    assert states(kept) == {"a": "unconfirmed", "b": "ready"}
    server.unconfirmed = ""
    server.verify.clear()
    assert kept.run().exit_code is ExitCode.OK
    assert states(kept) == {"a": "ready", "b": "ready"}
    assert [names for names in server.verify if names] == [frozenset({"telemetry_a"})]
    assert events(kept, "a") == ["created", "confirmed"]


def test_what_failed_stays_wanted_with_its_error(kept: Bench) -> None:
    from influxops.plugin import ChangeResult

    kept.tenants("a")
    server = kept.server(outcomes={"telemetry_a": ChangeResult.FAILED})
    kept.run()
    kept.run()
    record = books(kept).records["a"]
    assert (record.state, record.attempts) == (State.PENDING, 2)
    assert record.error == "as the test wants it"
    server.outcomes = {}
    kept.run()
    record = books(kept).records["a"]
    assert (record.state, record.attempts, record.error) == (State.READY, 0, "")


def test_a_full_server_moves_the_reservation_on(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.tenants("a", "b")
    kept.server("eu1", limit=1)
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert {r.target for r in books(kept).records.values()} == {"eu1", "eu2"}
    assert states(kept) == {"a": "ready", "b": "ready"}


def test_many_recorded_tenants_that_are_gone_from_the_registry_stop_a_run(kept: Bench) -> None:
    kept.tenants(*"abcdefghij")
    kept.run()
    kept.tenants(*"abcdefg", "new")
    report = kept.run()
    assert report.exit_code is ExitCode.REFUSED
    assert [refusal.guard for refusal in report.refusals] == ["mass-change"]
    assert "telemetry_new" not in kept.server().databases
    assert kept.run(allow=["mass-change"]).exit_code is ExitCode.OK
    kept.extra["ledger"]["mass_change"] = 0.5
    assert kept.run().exit_code is ExitCode.OK


def test_a_source_that_is_new_in_a_namespace_waits(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.extra["sources"] = {"registry": {"host": "another.example"}}
    kept.tenants("a", "b")
    report = kept.run()
    assert report.exit_code is ExitCode.REFUSED
    assert [refusal.guard for refusal in report.refusals] == ["new-source"]
    assert [*kept.server().databases] == ["telemetry_a"]
    assert kept.run(allow=["new-source"]).exit_code is ExitCode.OK
    assert kept.run().exit_code is ExitCode.OK


def test_the_recorded_name_outranks_the_template(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.extra["naming"] = {"database": "t_{tenant_id}"}
    kept.tenants("a", "b")
    assert kept.run().exit_code is ExitCode.OK
    assert sorted(kept.server().databases) == ["t_b", "telemetry_a"]


def test_a_source_that_names_another_database_than_the_recorded_one_is_held(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.tenants(Tenant("a", {"database": "elsewhere"}))
    report = kept.run()
    assert verdicts(report) == {"a": "blocked"}
    assert FindingKind.CONFLICT in kinds(report)


def test_a_tenant_that_is_back_is_not_retired(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    record = books(kept).records["a"]
    due = datetime(2026, 12, 1, tzinfo=UTC)
    books(kept).records["a"] = replace(record, state=State.RETIRING, drop_after=due)
    report = kept.run()
    assert report.exit_code is ExitCode.OK
    assert FindingKind.UNRETIRED in kinds(report)
    assert (states(kept)["a"], books(kept).records["a"].drop_after) == ("ready", None)


def test_a_retiring_database_is_no_orphan_and_a_retired_one_that_is_back_is_told(
    kept: Bench,
) -> None:
    kept.tenants(*"abcdefghijkl")
    kept.run()
    for id_, state in (("a", State.RETIRING), ("b", State.RETIRED)):
        books(kept).records[id_] = replace(books(kept).records[id_], state=state)
    kept.tenants(*"cdefghijkl")
    report = kept.run()
    assert FindingKind.ORPHAN not in kinds(report)
    assert {FindingKind.RETIRING, FindingKind.RECREATED_AFTER_DROP} <= kinds(report)


@pytest.mark.parametrize("hook", ["load_records", "session"])
def test_without_its_ledger_a_run_plans_and_makes_nothing_unless_allowed(
    kept: Bench, hook: str
) -> None:
    kept.tenants("a")
    books(kept).broken[hook] = LedgerError("connection refused", hint="start it")
    plan = kept.run(dry_run=True)
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert kept.server().databases == {}
    assert [refusal.guard for refusal in report.refusals] == ["unrecorded-changes"]
    if hook == "load_records":
        assert "connection refused" in plan.notes[0].message
    assert kept.run(allow=["unrecorded-changes"]).exit_code is ExitCode.FAILED  # and yet
    assert [*kept.server().databases] == ["telemetry_a"]


def test_where_no_place_can_be_reserved_nothing_is_made(kept: Bench) -> None:
    kept.tenants("a")
    books(kept).broken["claim"] = LedgerError("it is a standby")
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert kept.server().databases == {}
    assert "it is a standby" in report.tenants[0].finding.message  # type: ignore[union-attr]


def test_what_could_not_be_recorded_is_told_and_settled_by_the_next_run(kept: Bench) -> None:
    kept.tenants("a")
    books(kept).broken["commit"] = LedgerError("the connection broke")
    report = kept.run()
    assert report.exit_code is ExitCode.FAILED
    assert FindingKind.FAILED_LEDGER in kinds(report)
    assert states(kept) == {"a": "allocated"}
    books(kept).broken.clear()
    assert kept.run().exit_code is ExitCode.OK
    assert states(kept) == {"a": "ready"}
    assert len(kept.server().changes) == 1


def test_a_run_that_is_ended_records_what_it_did(kept: Bench) -> None:
    kept.tenants("a", "b", "c")
    kept.server(cancels_after=1)
    context = RunContext()
    report = kept.run(context=context)
    assert report.interrupted
    assert states(kept) == {"a": "ready", "b": "pending", "c": "pending"}


def test_without_a_ledger_the_report_says_once_what_it_could_not_see(bench: Bench) -> None:
    bench.tenants("a", "b")
    config = replace(parse_config(bench.merged()), path="influxops.toml")
    with Engine(config, kinds=KINDS) as engine:
        report = engine.run(Ensure(), RunContext())
    assert [note.kind for note in report.notes] == [FindingKind.NO_LEDGER]
    assert report.exit_code is ExitCode.OK


def test_what_the_ledger_has_of_a_tenant_stands_in_the_report(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    report = kept.run()
    assert report.tenants[0].status is TenantStatus.OK
    assert report.tenants[0].record == books(kept).records["a"]
    assert report.ledger is not None
    assert report.ledger.records == 1


def test_places_that_another_run_has_reserved_are_taken(kept: Bench) -> None:
    kept.targets = ("eu1", "eu2")
    kept.extra["targets"] = {"eu1": {"capacity": 1}}
    kept.tenants("a", "b")
    books(kept).records["a"] = Record(
        "a", State.ALLOCATED, "telemetry_a", "eu1", claimed_by="other", version=1
    )
    books(kept).living.add("other")
    kept.run()
    assert [*kept.server("eu2").databases] == ["telemetry_b"]


def test_a_refused_server_that_has_the_same_databases_is_not_recorded_as_the_tenants(
    kept: Bench,
) -> None:
    kept.tenants("a", "b")
    kept.run()
    kept.server(uuid="another")
    del books(kept).records["b"]
    assert kept.run().exit_code is ExitCode.REFUSED
    assert books(kept).records["a"].identity == "eu1"
    assert "b" not in books(kept).records
    assert kept.run(allow=["replaced-server"]).exit_code is ExitCode.OK
    assert {record.identity for record in books(kept).records.values()} == {"another"}


def test_who_is_made_on_a_new_server_at_an_old_name_stays_recorded_there(kept: Bench) -> None:
    kept.tenants("a")
    kept.run()
    kept.targets = ("eu1", "west")
    kept.world.servers["west"] = kept.world.servers.pop("eu1")
    kept.server("eu1", uuid="a new one")
    kept.extra["placement"] = {"policy": "spread"}
    kept.tenants("a", "b", "c")
    assert kept.run().exit_code is ExitCode.OK
    made = {id_: record.target for id_, record in books(kept).records.items()}
    where = {name: kept.server(name).databases for name in ("eu1", "west")}
    assert made == {
        id_: name for name in where for id_ in "abc" if f"telemetry_{id_}" in where[name]
    }
    assert {*made.values()} == {"eu1", "west"}


@pytest.mark.parametrize(("gone", "left"), [("eu1", "eu2"), ("eu2", "eu1")])
def test_a_server_under_the_name_of_one_that_is_away_has_replaced_it(
    kept: Bench, gone: str, left: str
) -> None:
    kept.targets = ("eu1", "eu2")
    kept.extra["placement"] = {"policy": "spread"}
    kept.tenants(*"abcd")
    kept.run()
    before = {id_: record.target for id_, record in books(kept).records.items()}
    servers = dict(kept.world.servers)
    kept.targets = (gone,)
    kept.world.servers[gone] = servers[left]
    report = kept.run()
    assert [refusal.guard for refusal in report.refusals] == ["replaced-server"]
    assert FindingKind.LOST not in kinds(report)

    kept.targets = ("eu1", "eu2")
    kept.world.servers.update(servers)
    assert kept.run().exit_code is ExitCode.OK
    assert {id_: record.target for id_, record in books(kept).records.items()} == before


def test_a_run_for_others_does_not_see_a_database_that_is_gone(kept: Bench) -> None:
    kept.tenants("a", "b")
    kept.run()
    seen = books(kept).servers["eu1"].read
    kept.server().databases.pop("telemetry_a")
    books(kept).now += timedelta(hours=1)
    assert kept.run(tenants=("b",)).exit_code is ExitCode.OK
    assert books(kept).servers["eu1"].read == seen


def test_what_stands_on_a_replaced_server_is_not_called_right(kept: Bench) -> None:
    from influxops.report.view import ReportView

    kept.tenants("a")
    kept.run()
    kept.server(uuid="another")
    for dry_run in (True, False):
        report = kept.run(dry_run=dry_run)
        assert verdicts(report) == {"a": "guarded"}
        assert ReportView(report).exists(report.tenants[0]) is None
    assert books(kept).records["a"].identity == "eu1"


def test_a_server_that_does_not_say_which_one_it_is_has_replaced_none() -> None:
    memory = LedgerSnapshot(servers=(Server("eu1", "uuid-1"), Server("eu2", "uuid-2")))
    inventories = {"eu1": Inventory({}), "eu2": Inventory({}, identity="uuid-9")}
    assert ledger_view(memory, inventories).replaced.keys() == {"eu2"}
