"""Databases as an earlier version left them, made of those of today."""

from __future__ import annotations

from tests.pg import TestDatabase

_COLUMNS = {
    "secondary_target": "other",
    "secondary_identity": "other_identity",
    "drop_after": "due",
    "state_since": "since",
    "created_at": "made",
    "created_by": "made_by",
    "last_seen_at": "confirmed",
    "attempts": "tries",
    "claimed_by": "holder",
    "claim_key": "holder_key",
}


def ledger_of_version(db: TestDatabase, version: int) -> None:
    """Take a ledger back to its third or fourth version; the rows stay, with the states of then."""
    db.execute(
        "DROP FUNCTION influxops.count_repeated CASCADE",
        "DROP FUNCTION influxops.history_stays CASCADE",
        "ALTER TABLE influxops.history DROP COLUMN times, DROP COLUMN last_at",
        "CREATE FUNCTION influxops.history_stays() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER history_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON influxops.history "
        "FOR EACH STATEMENT EXECUTE FUNCTION influxops.history_stays()",
        "DROP TABLE influxops.routes",
        "DROP FUNCTION influxops.routes_change CASCADE",
        "DROP FUNCTION influxops.grow_routes, influxops.route_kind",
        "ALTER TABLE influxops.history DROP COLUMN door",
        f"DELETE FROM influxops.migrations WHERE version > {version}",
    )
    if version >= 4:
        return
    db.execute(
        "ALTER TABLE influxops.tenants DROP CONSTRAINT state_is_known, DROP CONSTRAINT "
        "target_is_set",
        *(
            f"ALTER TABLE influxops.tenants RENAME COLUMN {now} TO {was}"
            for now, was in _COLUMNS.items()
        ),
        "ALTER TABLE influxops.tenants RENAME CONSTRAINT claim_has_key TO holder_has_key",
        "ALTER TABLE influxops.history RENAME COLUMN outcome TO ended",
        "UPDATE influxops.tenants SET state = 'wanted' WHERE state = 'pending'",
        "UPDATE influxops.tenants SET state = 'reserved' WHERE state = 'allocated'",
        "ALTER TABLE influxops.tenants ADD CONSTRAINT state_is_known CHECK (state IN ('wanted', "
        "'reserved', 'unconfirmed', 'ready', 'moving', 'retiring', 'retired', 'lost')), "
        "ADD CONSTRAINT place_is_whole CHECK (state IN ('wanted', 'retired') OR target <> '')",
    )


def queue_before_its_names(db: TestDatabase) -> None:
    """Take a queue back to before its third step, with the trigger function of then."""
    db.execute(
        "ALTER FUNCTION influxops_queue.notify_pending() RENAME TO wanted",
        "DROP INDEX influxops.influxops_queue_waiting",
        "CREATE INDEX influxops_queue_waiting ON influxops.tenants (namespace, state, tenant) "
        "WHERE state IN ('wanted', 'reserved')",
        "DELETE FROM influxops_queue.installed WHERE step LIKE 'influxops 0003%'",
    )
