"""Three targets beside one, and several workers beside one."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.cases.tenants import rounds
from bench.contenders import Setting, check, cli, prepare, until_ready, working
from bench.place import ContenderFailed, Place, Taken, config
from bench.values import column
from tests.integration.servers import Influx
from tests.pg import TestDatabase

TARGETS, WORKERS = "all missing, three targets beside one", "all missing, workers"
ONE = "1 target"
_SPREAD = '[placement]\npolicy = "spread"\n'


@contextlib.contextmanager
def fleet(
    place: Place, db: TestDatabase, tenants: int, number: int
) -> Iterator[tuple[Setting, list[Influx]]]:
    """Give targets that share the tenants evenly."""
    with (
        place.servers(number, databases=-(-tenants // number)) as servers,
        tempfile.TemporaryDirectory() as folder,
    ):
        given = prepare(Path(folder), db, servers[0], tenants, 480)
        urls = [each.url for each in servers]
        (given.folder / "influxops.toml").write_text(config(*urls, extra=_SPREAD))
        yield given, servers


def look(servers: list[Influx], tenants: int) -> None:
    """See that all databases are there, in equal shares."""
    shares = [len(each.databases()) for each in servers]
    if sum(shares) != tenants or max(shares) - min(shares) > 1:
        raise ContenderFailed(f"the servers hold {shares} of {tenants} databases")
    for each, share in zip(servers, shares, strict=True):
        check(each, share, marks=True)


def targets(place: Place, tenants: int) -> None:
    """Measure a run over one target and over three."""

    def make(number: int) -> Taken:
        with fleet(place, db, tenants, number) as (given, servers):
            found = cli(given)
            look(servers, tenants)
            return found

    with place.registry(tenants) as db, contextlib.ExitStack() as stack:
        names = {ONE: 1, "3 targets": 3}
        measures = {name: partial(make, number) for name, number in names.items()}
        many = rounds(place, tenants)
        place.in_turns(TARGETS, column(tenants), measures, many, ONE)
        there = {}
        for name, number in names.items():
            given, _ = stack.enter_context(fleet(place, db, tenants, number))
            cli(given)
            there[name] = partial(cli, given)
        title = TARGETS.replace("all", "nothing")
        place.in_turns(title, column(tenants), there, many, ONE)


def workers(place: Place, tenants: int) -> None:
    """Measure how long workers take for a burst of tenants, on two servers."""

    def make(number: int) -> Taken:
        with fleet(place, db, tenants, 2) as (given, servers):
            urls = [each.url for each in servers]
            with working(given, *urls, extra=_SPREAD, workers=number) as connection:
                began = time.perf_counter()
                connection.execute(
                    "INSERT INTO device_registry (tenant_id) "
                    "SELECT 't' || n FROM generate_series(0, %s) n",
                    [tenants - 1],
                )
                until_ready(connection, tenants, given.limit)
                taken = Taken(time.perf_counter() - began)
            check_shares(servers, tenants)
            return taken

    with place.registry(1) as db:
        names = {"1 worker": 1, "2 workers": 2, "4 workers": 4}
        measures = {name: partial(make, number) for name, number in names.items()}
        place.in_turns(WORKERS, column(tenants), measures, place.sizes.few, "1 worker")


def check_shares(servers: list[Influx], tenants: int) -> None:
    """See that each tenant has one database."""
    held = [name for each in servers for name in each.databases()]
    if sorted(held) != sorted(f"telemetry_t{n}" for n in range(tenants)):
        raise ContenderFailed(f"{len(held):,} databases of {len({*held}):,} tenants of {tenants:,}")
