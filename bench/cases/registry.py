"""A registry with millions of devices: a plan, beside a script that asks for its tenants."""

from __future__ import annotations

from functools import partial

from bench.cases.tenants import OURS, setting
from bench.contenders import bare, cli
from bench.place import ContenderFailed, Place, Taken, Unfit, inside
from bench.values import BARE, column
from influxops.plugin import RunContext
from influxops_postgres import PostgresSettings
from influxops_postgres.source.registry import AFTER, ids_query, look_up
from influxops_postgres.source.transaction import reading

WHOLE, SCAN = "devices in the registry, nothing missing", "reading the tenants of these devices"
SKIP, FULL = "skip scan", "full scan"


def run(place: Place, devices: int) -> None:
    """Measure a run, and both ways to read the tenants."""
    tenants = min(devices // 10, 1_000)
    with place.registry(tenants, devices) as db:
        try:
            with setting(place, db, tenants, 240) as given:
                bare(given)
                runs = {BARE: partial(bare, given, "look"), OURS: partial(cli, given)}
                place.in_turns(WHOLE, column(devices), runs, place.sizes.few, BARE)
        except Unfit as error:
            place.left_out(WHOLE, "", column(devices), str(error))
        settings = PostgresSettings.parse({"dsn": db.superuser_conninfo, "statement_timeout": 0})
        with reading(settings, RunContext()) as session:
            chosen = look_up(session).skipping_pays

            def read(skip: bool) -> Taken:
                found: list[object] = []
                query = ids_query(settings, skip=skip)
                taken = inside(lambda: found.extend(session.texts(query, AFTER).rows))
                if len({*map(str, found)}) != tenants:
                    raise ContenderFailed(f"it gave {len(found)} ids of {tenants}")
                return taken

            told = {chosen: " (chosen)", not chosen: ""}
            named = {
                f"{FULL}{told[False]}": partial(read, False),
                f"{SKIP}{told[True]}": partial(read, True),
            }
            place.in_turns(SCAN, column(devices), named, place.sizes.rounds, next(iter(named)))
