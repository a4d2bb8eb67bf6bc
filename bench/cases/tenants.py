"""All tenants' databases missing, and none of them: each contender in turn."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.cases import pages
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


class Kept:
    """The server that `influxops ensure` filled last, for those that look at a full one."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.given: Setting | None = None

    def keep(self, stack: contextlib.ExitStack, given: Setting) -> None:
        self._stack.close()
        self._stack, self.given = stack.pop_all(), given

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def make(
    place: Place, db: TestDatabase, contender: Contender, tenants: int, kept: Kept | None = None
) -> Taken:
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(setting(place, db, tenants, 480))
        taken = contender.work(given)
        check(given.influx, tenants, marks=contender.marks)
        if kept and not place.rooms and contender.name == OURS:
            kept.keep(stack, given)
        return taken


def rounds(place: Place, tenants: int, at_most: int = 5) -> int:
    """Return how often a contender is measured: the less, the longer it takes."""
    if tenants > 10_000 or (tenants > 1_000 and at_most < 5):
        return 1
    return min(at_most, place.sizes.rounds if tenants < 1_000 else place.sizes.few)


def missing(place: Place, db: TestDatabase, tenants: int, kept: Kept) -> None:
    """Measure each contender on a server that is empty each time."""
    contenders = [*CONTENDERS]
    if place.base:
        contenders.insert(2, Contender(f"{OURS}, base", base, 100_000, ""))
    chosen = [each for each in contenders if not each.left_out(tenants)]
    for each in contenders:
        if each not in chosen:
            place.left_out(MISSING, each.name, column(tenants), each.left_out(tenants))
    place.in_turns(
        MISSING,
        column(tenants),
        {each.name: partial(make, place, db, each, tenants, kept) for each in chosen},
        {each.name: rounds(place, tenants, each.rounds) for each in chosen},
        BARE,
    )


def there(place: Place, db: TestDatabase, tenants: int, kept: Kept) -> None:
    """Measure each contender on one server that has all databases."""
    with contextlib.ExitStack() as stack:
        given = kept.given or stack.enter_context(setting(place, db, tenants, 480))
        if not kept.given:
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
        chosen: dict[str, Callable[[], Taken]] = {}
        for name, work in measures.items():
            known = most.get(name)
            if known and known.slow and (why := known.left_out(tenants)):
                place.left_out(THERE, name, column(tenants), why)
            else:
                chosen[name] = partial(work, given)
        many = place.sizes.rounds if tenants < 1_000 else place.sizes.few
        once = {each.name for each in CONTENDERS if each.slow or each.most < tenants}
        times = {name: 1 if name in once else many for name in chosen}
        place.in_turns(THERE, column(tenants), chosen, times, BARE)
        check(given.influx, tenants, marks=True)
        why = "their time is that of PostgreSQL, and is measured with stand-ins"
        if tenants not in place.sizes.pages:
            return
        if place.rooms:
            place.left_out(pages.TITLE, "", column(tenants), why)
        else:
            pages.measure(place, given.influx, tenants)


def run(place: Place, tenants: int) -> None:
    """Measure both, and what is shown of so many tenants."""
    with place.registry(tenants) as db, Kept() as kept:
        missing(place, db, tenants, kept)
        there(place, db, tenants, kept)
