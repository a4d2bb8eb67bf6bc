"""All tenants' databases missing, and none of them: each contender in turn."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.contenders import (
    CONTENDERS,
    Contender,
    Setting,
    bare,
    base,
    check,
    cli,
    in_turn,
    module,
    prepare,
    processes,
    provisioner,
    uri_loop,
)
from bench.place import Place, Taken
from bench.values import BARE, column
from tests.pg import TestDatabase

MISSING, THERE = "all missing", "nothing missing"
OURS, PLAN, JSON = "influxops ensure", "influxops plan", "plan --format json"


@contextlib.contextmanager
def setting(place: Place, db: TestDatabase, tenants: int, limit: int) -> Iterator[Setting]:
    """Give an empty server, and a folder with what contenders find there."""
    with (
        place.servers(databases=tenants) as (influx,),
        tempfile.TemporaryDirectory() as folder,
    ):
        yield prepare(Path(folder), db, influx, tenants, limit, place.base)


def make(place: Place, db: TestDatabase, contender: Contender, tenants: int) -> Taken:
    with setting(place, db, tenants, 480) as given:
        taken = contender.work(given)
        check(given.influx, tenants, marks=contender.marks)
        return taken


def rounds(place: Place, tenants: int) -> int:
    if tenants <= 1_000:
        return place.sizes.rounds
    return place.sizes.few if tenants <= 10_000 else 1


def missing(place: Place, db: TestDatabase, tenants: int) -> None:
    """Measure each contender on a server that is empty each time."""
    contenders = [*CONTENDERS]
    if place.base:
        contenders.insert(2, Contender(f"{OURS}, base", base, 100_000, ""))
    chosen = [each for each in contenders if tenants <= each.most]
    for each in contenders:
        if each not in chosen:
            place.left_out(MISSING, each.name, column(tenants), each.why)
    place.in_turns(
        MISSING,
        column(tenants),
        {each.name: partial(make, place, db, each, tenants) for each in chosen},
        {each.name: min(rounds(place, tenants), each.rounds) for each in chosen},
        BARE,
    )


def there(place: Place, db: TestDatabase, tenants: int) -> None:
    """Measure each contender on one server that has all databases."""
    with setting(place, db, tenants, 480) as given:
        bare(given)
        measures: dict[str, Callable[[Setting], Taken]] = {
            BARE: lambda given: bare(given, "look"),
            OURS: cli,
            PLAN: lambda given: cli(given, "plan"),
            JSON: lambda given: cli(given, "plan", "--format", "json"),
            "Ansible module": module,
            "Provisioner": provisioner,
            "a process a tenant": processes,
            "Ansible uri loop": uri_loop,
            "ordinary writes": in_turn,
        }
        if place.base:
            measures[f"{OURS}, base"] = base
            measures["plan --format json, base"] = lambda given: base(
                given, "plan", "--format", "json"
            )
        most = {each.name: each for each in CONTENDERS}
        many = place.sizes.rounds if tenants <= 10_000 else place.sizes.few
        chosen: dict[str, Callable[[], Taken]] = {}
        for name, work in measures.items():
            known = most.get(name)
            if known and work is not provisioner and tenants > known.most:
                place.left_out(THERE, name, column(tenants), known.why)
            else:
                chosen[name] = partial(work, given)
        times = {name: many if name not in most or most[name].rounds == 5 else 1 for name in chosen}
        place.in_turns(THERE, column(tenants), chosen, times, BARE)
        check(given.influx, tenants, marks=True)


def run(place: Place, tenants: int) -> None:
    """Measure both."""
    with place.registry(tenants) as db:
        missing(place, db, tenants)
        there(place, db, tenants)
