"""A history that grows: what happens again is counted, and what is old is deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from influxops.plugin import Event, HistoryEntry, HistoryQuery, LedgerUpdate, RunContext
from influxops_postgres import PostgresLedger
from influxops_postgres.ledger import prune as pruning
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeLedger

AWAY = HistoryEntry(
    Event.CREATED, "acme", "eu1", "telemetry_acme", outcome="failed", message="refused"
)


def tell(ledger: PostgresLedger, *entries: HistoryEntry) -> None:
    ledger.influxops_commit(LedgerUpdate(entries=entries), RunContext())


def history(ledger: PostgresLedger, query: HistoryQuery | None = None) -> list[HistoryEntry]:
    return list(ledger.influxops_history(query or HistoryQuery(), RunContext()))


def counts(ledger: PostgresLedger) -> list[tuple[str | None, str, int]]:
    return [(each.tenant, each.message, each.times) for each in history(ledger)]


def test_what_a_tenant_that_waits_meets_again_is_one_entry_with_a_count(
    ledger: PostgresLedger,
) -> None:
    full = replace(AWAY, message="no free slot")
    for _ in range(40):
        tell(ledger, AWAY, replace(AWAY, tenant="beta"))
        tell(ledger, full)
    assert counts(ledger) == [
        ("acme", "refused", 40),
        ("beta", "refused", 40),
        ("acme", "no free slot", 40),
    ]
    first = history(ledger)[0]
    assert first.at is not None
    assert first.last_at is not None
    assert first.at < first.last_at
    # What happened again a moment ago is no older than that.
    assert first in history(ledger, HistoryQuery(since=first.last_at))


def test_what_ended_well_in_between_begins_another_count(ledger: PostgresLedger) -> None:
    good = HistoryEntry(Event.CREATED, "acme", "eu1", "telemetry_acme")
    tell(ledger, AWAY, AWAY)
    tell(ledger, good, good)
    tell(ledger, AWAY)
    assert counts(ledger) == [
        ("acme", "refused", 2),
        ("acme", "", 1),
        ("acme", "", 1),
        ("acme", "refused", 1),
    ]


def test_another_namespace_and_who_asked_are_not_the_same(
    ledger: PostgresLedger, make_ledger: MakeLedger
) -> None:
    tell(ledger, AWAY)
    tell(make_ledger(namespace="other"), AWAY)
    tell(ledger, replace(AWAY, who="ann@ops1"))
    tell(ledger, replace(AWAY, tenant=None), replace(AWAY, tenant=None))
    assert [each.times for each in history(ledger)] == [1, 1, 1, 1]


def test_who_may_add_to_the_history_may_have_it_counted(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    tell(ledger, AWAY)
    database.execute("CREATE ROLE adds", superuser=True)
    try:
        database.execute(
            "GRANT USAGE ON SCHEMA influxops TO adds", "GRANT INSERT ON influxops.history TO adds"
        )
        with psycopg.connect(database.superuser_conninfo) as connection:
            connection.execute("SET ROLE adds")
            # A table of its own of that name is not what is counted in.
            connection.execute("CREATE TEMPORARY TABLE history (id bigint, tenant text)")
            connection.execute(
                "INSERT INTO influxops.history (namespace, run, event, tenant, target, database, "
                "outcome, message) VALUES ('default', 'r', 'created', 'acme', 'eu1', "
                "'telemetry_acme', 'failed', 'refused')"
            )
        assert counts(ledger) == [("acme", "refused", 2)]
    finally:
        database.execute("DROP OWNED BY adds", "DROP ROLE adds", superuser=True)


DAY = timedelta(days=1)


@pytest.fixture
def cli(tmp_path: Path, database: TestDatabase) -> Cli:
    (tmp_path / "influxops.toml").write_text('[ledger]\nkind = "postgres"\n')
    return Cli(tmp_path, database.environment)


def aged(database: TestDatabase, ages: dict[str, int], each: int = 1) -> None:
    """Let the history have entries of tenants of so many days ago, of no tenant where empty."""
    now = datetime.now(UTC)
    with psycopg.connect(database.conninfo) as connection:
        connection.cursor().executemany(
            "INSERT INTO influxops.history (namespace, at, run, event, tenant) "
            "SELECT 'default', %s, 'r', 'created', nullif(%s, '') FROM generate_series(1, %s)",
            [(now - days * DAY, name.rstrip("0123456789"), each) for name, days in ages.items()],
        )


def test_what_is_old_is_deleted_but_for_the_last_of_each_tenant(
    cli: Cli, make_ledger: MakeLedger, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make_ledger()
    assert cli("ledger", "install").code == 0
    tell(make_ledger(namespace="other"), AWAY)
    # acme was last changed long ago, beta today; and a target was renamed.
    aged(database, {"acme1": 300, "acme2": 200, "beta1": 200, "1": 200, "beta2": 10, "beta3": 0})
    planned = cli("ledger", "prune", "--before", "90d", "--dry-run")
    assert planned.code == 0, planned.all
    assert "3 entries from before" in planned.out
    assert "would be deleted; 1 kept, the last of their tenants" in planned.out
    assert len(history(ledger)) == 6
    done = cli("ledger", "prune", "--before", "90d", "--format", "json").json
    assert (done["deleted"], done["kept"], done["dry_run"]) == (3, 1, False)
    assert [each.tenant for each in history(ledger)] == ["acme", "beta", "beta"]
    assert len(history(make_ledger(namespace="other"))) == 1
    assert "0 entries" in cli("ledger", "prune", "--before", "90d").out
    assert cli("ledger", "prune").code == 2
    assert cli("ledger", "prune", "--before", "0s").code == 2


def test_batches_read_each_entry_once_and_what_is_interrupted_goes_on(
    cli: Cli, ledger: PostgresLedger, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(database, {f"{name}{number}": 200 for name in "abcdef" for number in range(50)}, each=5)
    monkeypatch.setattr(pruning, "_BATCH", 100)
    settings = ledger.settings
    seen: list[int] = []
    real = pruning._row

    def ended(*arguments: object, **more: object) -> dict[str, object]:
        found: dict[str, object] = real(*arguments, **more)  # type: ignore[arg-type]
        if "gone" in found:
            seen.append(int(str(found["gone"])))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(pruning, "_row", ended)
    with pytest.raises(KeyboardInterrupt):
        pruning.prune(settings, RunContext(), 86400.0, dry_run=False)
    left = len(history(ledger))
    assert 1100 < left < 1300  # three batches are committed, and the fourth is not
    monkeypatch.setattr(pruning, "_row", real)
    done = pruning.prune(settings, RunContext(), 86400.0, dry_run=False)
    assert done.deleted == left - 6
    assert sorted(str(each.tenant) for each in history(ledger)) == [*"abcdef"]


def test_who_may_not_delete_is_told_what_to_grant(
    cli: Cli, ledger: PostgresLedger, database: TestDatabase
) -> None:
    aged(database, {"acme1": 300, "acme2": 200})
    database.execute("REVOKE DELETE ON influxops.history FROM iot")
    done = cli("ledger", "prune", "--before", "90d")
    assert done.code == 1
    assert "iot may not delete from the history" in done.err
    assert 'GRANT DELETE ON "influxops"."history" TO "iot"' in done.err
    assert len(history(ledger)) == 2
