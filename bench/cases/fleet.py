"""Three targets beside one, several workers beside one, and a server that is slow to create."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench.cases.tenants import rounds
from bench.contenders import Setting, check, cli, insert, prepare, wait, working
from bench.place import ContenderFailed, Place, Taken, Unfit, config, inside
from bench.values import column
from influxops_devserver.testing import running_stand_in
from tests.integration.proxy import Answer, Seen, running_proxy
from tests.integration.servers import Influx
from tests.pg import TestDatabase

TARGETS, WORKERS = "all missing, three targets beside one", "all missing, workers"
SLOW = "all missing, 100 ms a database"
PLACING = "one row until its database is ready, worker"
EMPTY, FULL = "one empty server", "3 of 4 servers full"
#: Seconds for a change of the catalog on such a server.
CHANGE = 0.1
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


def burst(given: Setting, urls: list[str], workers: int) -> Taken:
    """Insert all tenants at once, and wait until workers have made their databases."""
    with working(given, *urls, extra=_SPREAD, workers=workers) as connection:
        return inside(partial(insert, connection, given.tenants, given.limit))


def workers(place: Place, tenants: int) -> None:
    """Measure how long workers take for a burst of tenants, on two servers."""

    def make(number: int) -> Taken:
        with fleet(place, db, tenants, 2) as (given, servers):
            found = burst(given, [each.url for each in servers], number)
            check_shares(servers, tenants)
            return found

    with place.registry(1) as db:
        measures = {f"{n} worker{'s'[: n - 1]}": partial(make, n) for n in place.sizes.workers}
        place.in_turns(WORKERS, column(tenants), measures, 1, "1 worker")


@contextlib.contextmanager
def slow(server: Influx) -> Iterator[Influx]:
    """Put a proxy before a server that lets one change of the catalog after the other pass.

    Each takes as long as a server takes on an object store that answers after 100 ms: as it was
    measured there, that does not depend on how many requests are in flight. A write changes the
    catalog where it makes a table, or a database with a table.
    """
    marked, one = set[str](), threading.Lock()

    def hold(seen: Seen) -> Answer:
        with one:
            if "/write_lp" in seen.path:
                name = urlsplit(seen.path).query.partition("db=")[2].partition("&")[0]
                if name not in marked:
                    marked.add(name)
                    time.sleep(CHANGE)
            elif seen.writes:
                time.sleep(CHANGE)
        return None

    with running_proxy(server.url, server.token) as proxy:
        proxy.before = hold
        yield replace(server, url=proxy.url)


def slow_store(place: Place, tenants: int) -> None:
    """Measure one and four workers, and runs, on one and on two servers that are slow to create."""

    def make(number: int, hosts: int) -> Taken:
        with contextlib.ExitStack() as stack:
            given, servers = stack.enter_context(fleet(place, db, tenants, number))
            urls = [stack.enter_context(slow(each)).url for each in servers]
            given = replace(given, variables=db.environment)  # where the server is, its file says
            if hosts:
                found = burst(given, urls, hosts)
            else:
                (given.folder / "influxops.toml").write_text(config(*urls, extra=_SPREAD))
                found = cli(given)
            check_shares(servers, tenants)
            return found

    with place.registry(tenants) as db:
        place.figure(SLOW, "arithmetic, 1 server", column(tenants), [tenants * CHANGE])
        place.figure(SLOW, "arithmetic, 2 servers", column(tenants), [tenants * CHANGE / 2])
        for number, servers in ((1, "1 server"), (2, "2 servers")):
            measures = {f"ensure, {servers}": partial(make, number, 0)}
            for hosts in (place.sizes.workers[0], place.sizes.workers[-1]):
                name = f"{hosts} worker{'s'[: hosts - 1]}, {servers}"
                measures[name] = partial(make, number, hosts)
            place.in_turns(SLOW, column(tenants), measures, 1, f"arithmetic, {servers}")


def full_servers(place: Place, _size: int) -> None:
    """Measure a row until its database where three of four servers are full, and one is empty."""
    if place.rooms:
        raise Unfit("it needs servers that are full")

    def first(full: int) -> Taken:
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(running_stand_in(max_databases=5)) for _ in range(full + 1)
            ]
            for server in servers[:full]:
                for name in range(5):
                    Influx(server.url).create(f"another{name}")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            given = prepare(folder, db, Influx(servers[0].url), 1, 120)
            given = replace(given, variables=db.environment)
            urls = [server.url for server in servers]
            pinned = f'[placement]\npins = {{pinned = "eu{full + 1}"}}\n'
            with working(given, *urls, extra=pinned) as connection:
                place_one(connection, "pinned", 1)
                return inside(partial(place_one, connection, "tenant", 2))

    with place.registry(1) as db:
        measures = {EMPTY: partial(first, 0), FULL: partial(first, 3)}
        place.in_turns(PLACING, "", measures, place.sizes.few, EMPTY)


def place_one(connection: psycopg.Connection, tenant: str, tenants: int) -> None:
    """Insert a tenant, and wait for its database; its history has one row."""
    connection.execute("INSERT INTO device_registry (tenant_id) VALUES (%s)", [tenant])
    wait(connection, tenants, 60)
    query = "SELECT count(*) FROM influxops.history WHERE tenant = %s"
    if connection.execute(query, [tenant]).fetchone() != (1,):
        raise ContenderFailed(f"the history of {tenant} has more than one row")


def check_shares(servers: list[Influx], tenants: int) -> None:
    """See that each tenant has one database."""
    held = [name for each in servers for name in each.databases()]
    if sorted(held) != sorted(f"telemetry_t{n}" for n in range(tenants)):
        raise ContenderFailed(f"{len(held):,} databases of {len({*held}):,} tenants of {tenants:,}")
