"""What every ledger has to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from influxops.domain.record import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerSnapshot,
    LedgerUpdate,
    Record,
    Server,
    State,
)
from influxops.engine.operations import Ensure
from influxops.errors import LedgerError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.runtime.context import RunContext
from influxops.testing.contract import PluginContract, raised

#: A time that is no ledger's own.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class LedgerContract(PluginContract):
    """The contract of a ledger: say `plugin` and `settings`, for one that is empty in each test.

    Two instances with these settings are two processes that share it. Say `unreachable`, too, and
    `apart`: settings for the same place and another namespace.
    """

    role = "ledger"

    @property
    def apart(self) -> dict[str, Any]:
        """Settings of a ledger in the same place that knows nothing of this one's tenants."""
        return {**self.settings, "namespace": "contract apart 'ü% "}

    @contextlib.contextmanager
    def two(self) -> Iterator[tuple[LedgerHandle, LedgerHandle]]:
        """Yield the ledger as two processes see it."""
        with self.handle() as one, self.handle() as other:
            yield one, other

    def load(self, ledger: LedgerHandle, tenants: Sequence[str] | None = None) -> LedgerSnapshot:
        """Return what a ledger has, as a run that claims nothing sees it."""
        return ledger.load_records(tenants, RunContext())

    def kept(self, ledger: LedgerHandle, tenant: str) -> Record:
        """Return a tenant's record."""
        return self.load(ledger, [tenant]).records[tenant]

    def commit(self, ledger: LedgerHandle, *records: Record, **more: Any) -> dict[str, Record]:
        """Write records, and what else a run writes; return them as they are now."""
        return ledger.commit(LedgerUpdate(records, **more), RunContext())

    def test_it_remembers_every_field_of_a_record(self) -> None:
        """Whatever text it holds; times come back in UTC, and its own fields are its own."""
        given = Record(
            "tenänt/'1\"\\",
            State.MOVING,
            "telemetry_x",
            "eu1",
            identity="uuid-1",
            secondary_target="eu2",
            secondary_identity="uuid-2",
            drop_after=datetime.now(UTC) + timedelta(days=7),
            progress='{"slice": 3}',
            created_at=_LONG_AGO,
            created_by="run-1",
            last_seen_at=_LONG_AGO,
            error="no answer: 100% \x1b[0m ünlikely",
            attempts=3,
        )
        with self.handle() as ledger:
            written = self.commit(ledger, given)[given.tenant]
            assert self.kept(ledger, given.tenant) == written
        since = written.state_since
        assert written == replace(given, version=1, state_since=since)
        assert since is not None and since > _LONG_AGO and since.utcoffset() == timedelta(0)

    def test_since_is_its_own_time_of_the_last_change_of_state(self) -> None:
        """What a run says of it counts for nothing."""
        with self.handle() as ledger:
            new = replace(allocated("acme"), state=State.READY, state_since=_LONG_AGO)
            first = self.commit(ledger, new)["acme"]
            assert first.state_since is not None and first.state_since > _LONG_AGO
            same = replace(first, state_since=None, error="away", attempts=1)
            same = self.commit(ledger, same)["acme"]
            assert same.state_since == first.state_since
            lost = self.commit(ledger, replace(same, state=State.LOST))["acme"]
            assert lost.state_since is not None and lost.state_since > first.state_since
            assert self.kept(ledger, "acme") == lost

    def test_a_claim_is_this_run_s_until_it_is_committed(self) -> None:
        """Others see that it is claimed; who claimed it does not."""
        context = RunContext()
        with self.handle() as ledger:
            with ledger.session(context):
                taken = ledger.claim([allocated("acme")], context)["acme"]
                assert (taken.claimed_by, taken.version, taken.is_claimed) == (context.id, 1, False)
                assert ledger.load_records(None, context).records["acme"] == taken
                assert self.kept(ledger, "acme") == replace(taken, is_claimed=True)
                update = LedgerUpdate((replace(taken, state=State.READY),))
                done = ledger.commit(update, context)["acme"]
            assert (done.claimed_by, done.version, done.state) == ("", 2, State.READY)
            assert self.kept(ledger, "acme") == done

    def test_a_change_that_is_based_on_another_version_is_refused(self) -> None:
        """The record is returned as it is; one that is gone is not made again."""
        context = RunContext()
        with self.handle() as ledger, ledger.session(context):
            first = ledger.claim([allocated("acme")], context)["acme"]
            for version in (0, 2, 7):
                wish = allocated("acme", "eu2", version)
                assert ledger.claim([wish], context) == {"acme": first}
                assert ledger.commit(LedgerUpdate((wish,)), context) == {"acme": first}
            assert ledger.claim([allocated("globex", version=3)], context) == {}
            assert [*self.load(ledger).records] == ["acme"]

    def test_a_record_that_was_changed_is_not_forgotten(self) -> None:
        """Taking it out is refused by an error, and leaves it."""
        context = RunContext()
        with self.handle() as ledger, ledger.session(context):
            first = ledger.claim([allocated("acme")], context)["acme"]
            now = ledger.commit(LedgerUpdate((first,)), context)["acme"]
            error = raised(lambda: ledger.commit(LedgerUpdate(forgotten=(first,)), context))
            assert isinstance(error, LedgerError), error
            assert [*self.load(ledger).records] == ["acme"]
            ledger.commit(LedgerUpdate(forgotten=(now,)), context)
            assert not self.load(ledger).records

    def test_what_a_living_run_has_claimed_is_no_other_s(self) -> None:
        """Even with the right version, and only while that run lives."""
        first, second = RunContext(), RunContext()
        with self.two() as (one, other), other.session(second):
            with one.session(first):
                taken = one.claim([allocated("acme")], first)["acme"]
                wish = replace(taken, target="eu2")
                held = {"acme": replace(taken, is_claimed=True)}
                assert other.claim([wish], second) == held
                assert other.commit(LedgerUpdate((wish,)), second) == held
            assert self.kept(other, "acme") == taken
            stolen = other.claim([wish], second)["acme"]
            assert (stolen.claimed_by, stolen.target, stolen.version) == (second.id, "eu2", 2)

    def test_only_the_records_that_are_asked_for_are_read(self) -> None:
        """The servers are read with them; of no tenant, none."""
        with self.handle() as ledger:
            self.commit(ledger, *map(allocated, ("a", "b", "c")), servers=(Server("eu1"),))
            some = self.load(ledger, ["a", "c", "nobody"])
            assert {*some.records} == {"a", "c"}
            assert [server.target for server in some.servers] == ["eu1"]
            assert self.load(ledger, []).records == {}

    def test_a_server_keeps_its_time_until_it_is_another_one(self) -> None:
        """`read` stays where none is given; `since` begins again with another identity."""
        later = _LONG_AGO + timedelta(days=1)
        with self.handle() as ledger:

            def write(*servers: Server) -> dict[str, Server]:
                self.commit(ledger, servers=servers)
                return {each.target: each for each in self.load(ledger).servers}

            first = write(Server("eu1", "uuid-1", read=_LONG_AGO), Server("eu2"))
            since = first["eu1"].since
            assert since is not None and since > _LONG_AGO
            assert (first["eu1"].read, first["eu2"].read) == (_LONG_AGO, None)
            assert write(Server("eu1", "uuid-1")) == first
            again = write(Server("eu1", "uuid-1", read=later))
            assert again["eu1"] == replace(first["eu1"], read=later)
            other = write(Server("eu1", "uuid-2"))
            assert (other["eu1"].identity, other["eu1"].read) == ("uuid-2", None)
            assert other["eu1"].since is not None and other["eu1"].since > since
            assert other["eu2"] == first["eu2"]

    def test_what_is_known_of_a_server_is_kept_until_it_is_read_in_full(self) -> None:
        """One that is full stays so until then; another one in its place is not known."""
        with self.handle() as ledger:

            def write(server: Server) -> Server:
                self.commit(ledger, servers=(server,))
                return self.load(ledger).servers[0]

            known = Server("eu1", "uuid-1", edition="Core", capacity=5, unrecorded=2)
            first = write(known)
            assert first == replace(known, since=first.since)
            full = write(Server("eu1", "uuid-1", full="no more fits", full_at=_LONG_AGO))
            assert full == replace(first, full="no more fits", full_at=_LONG_AGO)
            assert write(Server("eu1", "uuid-1")) == full
            assert write(replace(known, unrecorded=0)) == replace(first, unrecorded=0)
            other = write(Server("eu1", "uuid-2"))
            assert other == Server("eu1", "uuid-2", since=other.since)

    def test_that_another_server_answers_is_kept_until_the_recorded_one_is_back(self) -> None:
        """None leaves it; of a server that is not the recorded one it is not taken."""
        with self.handle() as ledger:

            def write(server: Server) -> str | None:
                self.commit(ledger, servers=(server,))
                return self.load(ledger).servers[0].replaced_by

            assert write(Server("eu1", "uuid-1")) is None
            assert write(Server("eu1", "uuid-1", replaced_by="uuid-2")) == "uuid-2"
            assert write(Server("eu1", "uuid-1")) == "uuid-2"
            assert write(Server("eu1", "uuid-1", edition="Core", unrecorded=2)) == "uuid-2"
            assert write(Server("eu1", "uuid-1", replaced_by="")) is None
            assert write(Server("eu1", "uuid-1", replaced_by="uuid-2")) == "uuid-2"
            assert write(Server("eu1", "uuid-2")) is None, "it was allowed"
            assert write(Server("eu1", "uuid-1", replaced_by="uuid-2")) is None
            assert self.load(ledger).servers[0].identity == "uuid-2"

    def test_targets_get_new_names_even_each_other_s(self) -> None:
        """They take effect before all else, and give no record another version."""
        moving = replace(allocated("m", "a"), state=State.MOVING, secondary_target="b")
        servers = (Server("a", "uuid-a"), Server("b", "uuid-b"), Server("c", "uuid-c"))
        records = (allocated("x", "a"), allocated("y", "b"), moving, allocated("z", "c"))
        with self.handle() as ledger:
            self.commit(ledger, *records)
            self.commit(ledger, servers=servers)
            before = self.load(ledger)
            # The record is of after the renaming, and of a version from before it.
            written = replace(before.records["z"], target="d", attempts=1)
            self.commit(ledger, written, renamed={"a": "b", "b": "a", "c": "d"})
            after = self.load(ledger)
        assert targets_of(after) == {
            "x": ("b", None),
            "y": ("a", None),
            "m": ("b", "a"),
            "z": ("d", None),
        }
        assert after.records["x"] == replace(before.records["x"], target="b")
        now = {each.target: each.identity for each in after.servers}
        assert now == {"a": "uuid-b", "b": "uuid-a", "d": "uuid-c"}
        assert {each.since for each in after.servers} == {each.since for each in before.servers}

    def test_what_was_recorded_after_a_name_changed_keeps_that_name(self) -> None:
        """The identity of the server says which one is meant."""
        old = replace(allocated("old", "a"), identity="uuid-a")
        new = replace(
            allocated("new", "a"),
            identity="uuid-b",
            secondary_target="a",
            secondary_identity="uuid-a",
        )
        servers = (Server("a", "uuid-b"), Server("c", "uuid-a"))
        with self.handle() as ledger:
            self.commit(ledger, old, new, servers=(Server("a", "uuid-a"),))
            for _ in range(2):  # as two runs at once do
                self.commit(ledger, servers=servers, renamed={"a": "c"})
            after = self.load(ledger)
        assert targets_of(after) == {"old": ("c", None), "new": ("a", "c")}
        now = {each.target: each.identity for each in after.servers}
        assert now == {"a": "uuid-b", "c": "uuid-a"}

    def test_sources_are_seen_once_and_stay_seen(self) -> None:
        """Those of a run are added to those of others."""
        with self.handle() as ledger:
            self.commit(ledger, sources=frozenset({"a", "b"}))
            self.commit(ledger, sources=frozenset({"b", "c"}))
            assert self.load(ledger).sources == {"a", "b", "c"}

    def test_the_history_is_read_in_parts_the_oldest_entry_first(self) -> None:
        """By tenant, run and time; `most` gives the newest of them."""
        first, second = RunContext(), RunContext()
        full = HistoryEntry(
            Event.RETENTION,
            "acme",
            "eu1",
            "telemetry_acme",
            *("30d", "7d", "failed", "it says: no 'ü\\\"%s'"),
            who="ann@host",
        )
        dropped = HistoryEntry(Event.DROPPED, "globex")
        with self.handle() as ledger:

            def read(**wanted: Any) -> list[HistoryEntry]:
                query = HistoryQuery(**wanted)
                found: list[HistoryEntry] = ledger.history(query, RunContext())
                return found

            created = HistoryEntry(Event.CREATED, "acme")
            ledger.commit(LedgerUpdate(entries=(created, full)), first)
            ledger.commit(LedgerUpdate(entries=(dropped, HistoryEntry(Event.LOST))), second)
            entries = read()
            assert [each.event for each in entries] == ["created", "retention", "dropped", "lost"]
            assert [each.run for each in entries] == [first.id] * 2 + [second.id] * 2
            at = entries[1].at
            assert at is not None and at.utcoffset() == timedelta(0)
            assert entries[1] == replace(full, at=at, run=first.id)
            assert read(tenants=["globex", "acme"]) == entries[:3]
            assert read(tenants=[]) == []
            assert read(run=second.id) == entries[2:]
            assert read(most=3) == entries[1:]
            assert read(tenants={"acme"}, run=first.id, most=1) == [entries[1]]
            assert read(since=entries[2].at) == entries[2:]
            assert read(since=datetime.now(UTC) + timedelta(hours=1)) == []

    def test_an_entry_is_kept_though_its_record_was_refused(self) -> None:
        """What happened, happened."""
        entry = HistoryEntry(Event.CREATED, "acme")
        with self.handle() as ledger:
            self.commit(ledger, allocated("acme", version=5), entries=(entry,))
            assert self.load(ledger).records == {}
            assert len(ledger.history(HistoryQuery(), RunContext())) == 1

    def test_namespaces_know_nothing_of_each_other(self) -> None:
        """Neither records nor servers, sources or history."""
        entry = HistoryEntry(Event.CREATED, "acme")
        with self.handle() as ledger, self.handle(self.apart) as other:
            self.commit(ledger, allocated("acme"), sources=frozenset({"a"}))
            self.commit(other, allocated("acme", "eu9"), servers=(Server("eu9"),), entries=(entry,))
            assert self.kept(ledger, "acme").target == "eu1"
            assert self.kept(other, "acme").target == "eu9"
            assert self.load(ledger).servers == ()
            assert self.load(other).sources == frozenset()
            assert ledger.history(HistoryQuery(), RunContext()) == []
            assert len(other.history(HistoryQuery(), RunContext())) == 1

    def test_it_counts_databases_by_target(self) -> None:
        """To place what an application asks for."""
        self.needs("influxops_count_by_target")
        ready = [replace(allocated(each), state=State.READY) for each in ("a", "b")]
        with self.handle() as ledger:
            self.commit(ledger, *ready, replace(allocated("c", "eu2"), state=State.READY))
            assert ledger.count_by_target(RunContext()) == {"eu1": 2, "eu2": 1}

    def test_it_tells_of_routes_at_once_and_after_a_change(self) -> None:
        """The version grows, and what another process commits counts."""
        self.needs("influxops_watch_routes")
        context = RunContext(60)
        with self.two() as (one, other):
            versions = one.watch_routes(context)
            first = next(versions)
            assert first == self.load(other).route_version
            self.commit(other, replace(allocated("acme"), state=State.READY))
            assert next(each for each in versions if each != first) > first
            context.cancel()

    def test_a_place_that_is_not_there_is_an_error_with_a_hint(self) -> None:
        """It raises LedgerError, with what to do."""
        with self.handle(self.unreachable_settings()) as ledger:
            self.told(raised(lambda: self.load(ledger)), LedgerError)

    def test_a_run_records_what_it_made(self) -> None:
        """Through the engine: the tenant is `READY`, and the history says that it was created."""
        tables = {"sources": {"memory": {"kind": "memory", "tenants": ["acme"]}}}
        with self.engine(**tables) as engine:
            report = engine.run(Ensure(), RunContext(), allow=["new-source"])
            assert report.exit_code == 0, [finding.sentence for finding in report.findings]
        with self.handle() as ledger:
            assert self.kept(ledger, "acme").state is State.READY
            events = [each.event for each in ledger.history(HistoryQuery(), RunContext())]
            assert Event.CREATED in events


def allocated(tenant: str, target: str = "eu1", version: int = 0) -> Record:
    """Return what a run claims for a new tenant."""
    name = f"telemetry_{tenant}"
    return Record(tenant, State.ALLOCATED, name, target, identity="uuid-1", version=version)


def targets_of(snapshot: LedgerSnapshot) -> dict[str, tuple[str | None, str | None]]:
    """Return both targets of each record."""
    return {each.tenant: (each.target, each.secondary_target) for each in snapshot.records.values()}
