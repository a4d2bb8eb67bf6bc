"""What every database target has to do."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from influxops.domain.database import UNKNOWN, Database, Inventory
from influxops.domain.plan import Action, Change, ChangeResult, Outcome
from influxops.engine.operations import Ensure
from influxops.errors import Interrupted, TargetError
from influxops.plugin_host.target import TargetHandle, checked_capabilities
from influxops.runtime.context import RunContext
from influxops.testing.contract import TESTED, PluginContract, raised, skip

_DAY = 86400


class TargetContract(PluginContract):
    """The contract of a database target: say `plugin` and `settings`.

    It makes databases that `name` names, and drops them; what else the server holds it leaves
    alone. Say `write`, too, where the target can count rows, and `unreachable` for an address
    where no server answers.
    """

    role = "targets"
    #: Names that `validate_name` of the capabilities has to refuse.
    invalid_names: Sequence[str] = ()

    def name(self, number: int) -> str:
        """Return the name of a database that the tests may make."""
        return f"influxops_contract_{number}"

    def write(self, database: str) -> None:
        """Write a row of telemetry, timed now, to a database, as a tenant does."""
        skip("`write` is not said")

    @contextlib.contextmanager
    def target(self) -> Iterator[TargetHandle]:
        """Yield the tested target; drop what the tests made on it before and after."""
        with self.handle() as tested:
            self._clean(tested)
            try:
                yield tested
            finally:
                self._clean(tested)

    def _clean(self, tested: TargetHandle) -> None:
        there = {self.name(number) for number in range(3)} & {*self.inventory(tested).databases}
        if there:
            drops = [self.change(Action.DROP, name) for name in sorted(there)]
            outcomes, faults = tested.ensure(drops, RunContext())
            assert not faults, faults[0].message
            assert all(each.status is ChangeResult.DONE for each in outcomes), outcomes

    def inventory(self, tested: TargetHandle, verify: Collection[str] = ()) -> Inventory:
        """Return what the target holds."""
        return tested.list_databases(verify, RunContext())

    def change(self, action: Action, name: str, retention: Any = UNKNOWN) -> Change:
        """Return a change as the engine asks for it."""
        there = Database(retention, complete=True)
        before = None if action is Action.CREATE else Database(complete=True)
        after = None if action is Action.DROP else there
        return Change(action, f"contract {name}", TESTED, name, before, after)

    def create(self, tested: TargetHandle, *names: str, retention: Any = UNKNOWN) -> None:
        """Create databases."""
        self.ensure(tested, *(self.change(Action.CREATE, name, retention) for name in names))

    def ensure(self, tested: TargetHandle, *changes: Change) -> None:
        """Make changes, each of which has to be done."""
        outcomes, faults = tested.ensure(changes, RunContext())
        assert not faults, faults[0].message
        wrong = [each for each in outcomes if each.status is not ChangeResult.DONE]
        assert not wrong, f"{wrong[0].change.action}: {wrong[0].status}, {wrong[0].message}"

    def test_it_declares_what_the_engine_can_use(self) -> None:
        """Its capabilities have the right types, and its rules for names answer."""
        capabilities = checked_capabilities(self.plugin, self.plugin.__name__)
        assert capabilities.server, "`server` of its capabilities says nothing"
        rule = capabilities.validate_name(self.name(0))
        assert not rule, f"{self.name(0)} is refused: {rule}"
        for name in self.invalid_names:
            assert capabilities.validate_name(name), f"{name!r} is not refused"

    def test_a_database_is_created_and_found(self) -> None:
        """A creation is DONE once reading finds the database; it is complete then."""
        with self.target() as tested:
            before = {*self.inventory(tested).databases}
            self.create(tested, self.name(0))
            found = self.inventory(tested).databases
            assert {*found} == before | {self.name(0)}
            assert found[self.name(0)].complete is not False, "it is not complete"
            verified = self.inventory(tested, [self.name(0)]).databases[self.name(0)]
            assert verified.complete is not False, "it is not complete where it is verified"

    def test_creating_it_again_is_no_failure(self) -> None:
        """A run may be killed anywhere and started again."""
        with self.target() as tested:
            self.create(tested, self.name(0))
            outcomes, faults = tested.ensure(
                [self.change(Action.CREATE, self.name(0))], RunContext()
            )
            assert not faults, faults[0].message
            assert outcomes[0].status in (ChangeResult.DONE, ChangeResult.UNKNOWN), outcomes[0]
            assert self.name(0) in self.inventory(tested).databases

    def test_each_change_has_one_outcome(self) -> None:
        """All changes of a run come at once, of several kinds."""
        with self.target() as tested:
            self.create(tested, self.name(0))
            self.ensure(
                tested,
                self.change(Action.DROP, self.name(0)),
                self.change(Action.CREATE, self.name(1)),
                self.change(Action.CREATE, self.name(2)),
            )
            found = self.inventory(tested).databases
            assert self.name(0) not in found
            assert {self.name(1), self.name(2)} <= {*found}

    def test_what_it_calls_done_is_there_after_an_interrupt(self) -> None:
        """It begins no further change, and does not call one done that is not."""
        context, done = RunContext(), []
        changes = [self.change(Action.CREATE, self.name(number)) for number in range(3)]
        with self.target() as tested:
            with contextlib.suppress(Interrupted), tested.error_boundary():
                outcome: Outcome
                for outcome in tested.call("influxops_ensure", changes, context):
                    done += [outcome.change.database] * (outcome.status is ChangeResult.DONE)
                    context.cancel()
            assert {*done} <= {*self.inventory(tested).databases}

    def test_dropping_leaves_nothing_and_can_be_repeated(self) -> None:
        """What is dropped is not found any more; dropping what is gone breaks nothing."""
        with self.target() as tested:
            self.create(tested, self.name(0), self.name(1))
            self.ensure(tested, self.change(Action.DROP, self.name(0)))
            outcomes, faults = tested.ensure([self.change(Action.DROP, self.name(0))], RunContext())
            assert not faults, faults[0].message
            assert len(outcomes) == 1
            found = self.inventory(tested).databases
            assert self.name(0) not in found
            assert self.name(1) in found, "another database is gone, too"

    def test_it_keeps_retention_periods(self) -> None:
        """A period is set where a database is created, changed later, and cleared by None."""
        limits = self.plugin.capabilities.retention
        if limits is None:
            skip("it declares no retention periods")
        least, most = limits
        first, second = (min(max(days * _DAY, least), most) for days in (7, 14))
        with self.target() as tested:
            self.create(tested, self.name(0), retention=first)
            assert self.inventory(tested).databases[self.name(0)].retention == first
            for period in (second, None):
                self.ensure(tested, self.change(Action.SET_RETENTION, self.name(0), period))
                assert self.inventory(tested).databases[self.name(0)].retention == period

    def test_it_completes_what_is_there(self) -> None:
        """A `COMPLETE` change adds the marker, and may be repeated."""
        if not self.plugin.capabilities.completion_marker:
            skip("it declares no marker")
        with self.target() as tested:
            self.create(tested, self.name(0))
            self.ensure(tested, self.change(Action.COMPLETE, self.name(0)))
            assert self.inventory(tested).databases[self.name(0)].complete is True

    def test_its_server_is_the_same_each_time(self) -> None:
        """The identity tells a server from every other, so it does not change by itself."""
        with self.target() as tested, self.target() as again:
            assert self.inventory(tested).identity == self.inventory(again).identity

    def test_a_server_that_is_not_there_is_an_error_with_a_hint(self) -> None:
        """It raises TargetError, with what to do, and calls nothing done."""
        with self.handle(self.unreachable_settings()) as tested:
            self.told(raised(lambda: self.inventory(tested)), TargetError)
            outcomes, _ = tested.ensure([self.change(Action.CREATE, self.name(0))], RunContext())
            assert outcomes[0].status is not ChangeResult.DONE

    def test_a_run_makes_what_is_missing_and_changes_nothing_after(self) -> None:
        """Through the engine: plan, ensure, and a second run that has nothing to do."""
        ids = [self.name(number) for number in range(2)]
        tables: Mapping[str, Any] = {
            "naming": {"database": "{tenant_id}"},
            "sources": {"memory": {"kind": "memory", "tenants": ids}},
        }
        with self.target(), self.engine(**tables) as engine:
            planned = engine.run(Ensure(), RunContext(dry_run=True))
            made = engine.run(Ensure(), RunContext())
            again = engine.run(Ensure(), RunContext())
        assert {change.database for change in planned.planned} == {*ids}
        assert made.exit_code == 0, [finding.sentence for finding in made.findings]
        assert again.exit_code == 0, [finding.sentence for finding in again.findings]
        assert not again.planned, f"the second run has {again.planned} to do"

    def test_it_reads_single_databases(self) -> None:
        """It gives just those that exist, as a whole inventory does; of none, none."""
        self.needs("influxops_get_databases")
        with self.target() as tested:
            self.create(tested, self.name(0), self.name(1))
            found = tested.get_databases([self.name(0), self.name(2)], RunContext())
            assert {*found.databases} == {self.name(0)}
            assert found.identity == self.inventory(tested).identity
            assert not tested.get_databases([], RunContext()).databases

    def test_it_creates_databases_for_an_application_that_waits(self) -> None:
        """They are durable; `partially_applied` says which were created just now."""
        self.needs("influxops_create_databases")
        changes = [self.change(Action.CREATE, self.name(number)) for number in range(2)]
        with self.target() as tested:
            for is_new in (True, False):
                outcomes = [*tested.create_databases(changes, RunContext())]
                assert {each.change.database for each in outcomes} == {self.name(0), self.name(1)}
                for each in outcomes:
                    assert each.status is ChangeResult.DONE, each.message
                    assert each.partially_applied is is_new
            assert {self.name(0), self.name(1)} <= {*self.inventory(tested).databases}

    def test_it_counts_what_is_in_a_database(self) -> None:
        """One value a name; the time of the newest row is UTC, and nothing unknown is 0."""
        self.needs("influxops_database_stats")
        with self.target() as tested:
            self.create(tested, self.name(0), self.name(1))
            self.write(self.name(0))
            found = tested.database_stats([self.name(0), self.name(1)], RunContext())
            assert {*found} == {self.name(0), self.name(1)}
            written, empty = found[self.name(0)], found[self.name(1)]
            assert not written.message and not empty.message, (written.message, empty.message)
            assert written.rows == 1, f"{written.rows} rows, not 1"
            assert written.last_write is not None and written.last_write.utcoffset() is not None
            assert not empty.rows and empty.last_write is None
            assert self.inventory(tested).databases[self.name(0)].in_use is not False

    def test_it_counts_what_was_written_over_time(self) -> None:
        """A span begins at a multiple of its length."""
        self.needs("influxops_write_activity")
        with self.target() as tested:
            self.create(tested, self.name(0))
            self.write(self.name(0))
            until = datetime.now(UTC) + timedelta(minutes=5)
            since, context = until - timedelta(hours=2), RunContext()
            spans = tested.write_activity(self.name(0), since, until, 300, context) or {}
            assert sum(spans.values()) == 1
            assert all(begin.timestamp() % 300 == 0 for begin in spans)
