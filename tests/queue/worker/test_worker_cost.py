"""What one inserted row costs a worker: statements and requests, and no clock."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import insert, rows, until, working

pytestmark = pytest.mark.stand_in

_PREFIX = "ALTER SYSTEM SET log_line_prefix = '|%d '"
#: What a worker does now and then, whether there is a row or not.
_PULSE = re.compile(
    r"fetch_job|heartbeat|stalled|pg_stat_activity|count\(\*\)|procrastinate_jobs WHERE queue_name"
    r"|FROM influxops\.|SELECT 1$|BEGIN$|COMMIT$|ROLLBACK|SET LOCAL|INSERT INTO device_registry"
)


def ready(db: TestDatabase, tenant: str) -> bool:
    query = "SELECT FROM influxops.tenants WHERE tenant = %s AND state = 'ready'"
    return bool(rows(db, query, tenant))


def test_a_row_costs_four_requests_and_few_statements(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    before = proxied(stand_in(max_databases=None))
    cli = queued("--trigger", url=before.url)
    log = max(db.server.work_dir.glob("log.*"))
    for statement in ("ALTER ROLE iot SET log_statement = 'all'", _PREFIX):
        db.execute(statement, superuser=True)
    db.execute("SELECT pg_reload_conf()", superuser=True)
    try:
        with working(cli):
            insert(db, ["first"])
            until(lambda: ready(db, "first"))
            before.seen.clear()
            start = log.stat().st_size
            insert(db, ["acme"])
            until(lambda: ready(db, "acme"))
            text = log.read_bytes()[start:].decode()
            asked = [f"{seen.method} {seen.path}" for seen in before.seen]
    finally:
        db.execute("ALTER ROLE iot RESET ALL", superuser=True)
        db.execute("ALTER SYSTEM RESET log_line_prefix", superuser=True)
        db.execute("SELECT pg_reload_conf()", superuser=True)
    assert asked == [
        "POST /api/v3/query_sql",  # is it there already, and is its name free?
        "POST /api/v3/configure/database",
        "POST /api/v3/write_lp?db=telemetry_acme",
        "POST /api/v3/query_sql",  # is the marker there?
    ]
    found = [
        " ".join(match[2].split())
        for match in re.finditer(
            r"^\|(\S+) LOG:  (?:statement|execute [^:]+): (.*(?:\n\t.*)*)", text, re.MULTILINE
        )
        if match[1] == db.name
    ]
    # The tests do not quote a schema.
    reasons = [each.replace('"', "") for each in found if not _PULSE.search(each)]
    words = Counter(
        next((word for word in _WORDS if word in each), "other") for each in reasons if each
    )
    polls = sum("FROM hints WHERE" in each and "count(*)" in each for each in found)
    assert words["DELETE FROM hints"] <= 1 + polls, "few came: there is no second look for more"
    assert words["procrastinate_defer_jobs"] == 1
    assert words["INSERT INTO influxops.tenants"] == 4, "its slot, its claim, created, ready"
    assert words["INSERT INTO influxops.history"] == 1
    assert len(reasons) <= 40, reasons


#: Statements that are counted, by what they have in them.
_WORDS = (
    "DELETE FROM hints",
    "procrastinate_defer_jobs",
    "INSERT INTO influxops.tenants",
    "INSERT INTO influxops.history",
)
