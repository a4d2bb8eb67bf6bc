"""What a worker does for tenants, in a thread: find out where they go, take a place, make them.

The functions are those of the Provisioner and of every run; what is done twice does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from influxops.config.load import Config
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError, Interrupted
from influxops.provisioner.circuit_breaker import Circuit
from influxops.provisioner.completion_worker import Finisher
from influxops.provisioner.engine_pool import Engines
from influxops.reconcile.observe.selected import Asked, Known, NotSupported
from influxops.reconcile.single.look_up import Looked, Place, Step
from influxops.runtime.context import RunContext

log = logging.getLogger("influxops")

#: Seconds that looking tenants up may take, that making a batch of them may, and a probe.
_LOOK, _MAKE, _PROBE = 20.0, 60.0, 2.0
#: Seconds for which what was found out about a tenant is good enough to make it.
_FRESH = 10.0
#: Seconds for which a target that said it is full gets nothing.
_FULL = 60.0
#: Seconds that the end of a worker waits for what completes databases.
_FLUSH = 3.0


@dataclass
class Placed:
    """What became of tenants that had no place."""

    targets: set[str] = field(default_factory=set)  # where places are reserved now
    waiting: int = 0  # tenants that nobody could decide on
    full_run: bool = False  # whether somebody waits for a full run
    trouble: str = ""  # why nothing could be found out about any; empty where it could


@dataclass
class Made:
    """What became of tenants with a place on one target."""

    ready: list[str] = field(default_factory=list)  # tenants whose database is there
    targets: set[str] = field(default_factory=set)  # other targets where they have a place now
    waiting: int = 0  # tenants that keep their place, or have none any more, and wait
    trouble: str = ""  # what is wrong with the target or the ledger; empty where all is well


class Making:
    """What one worker has at hand: engines, circuits, and what completes databases.

    Args:
        on_back: Called with the name of a target that answers again.
    """

    def __init__(self, config: Config, on_back: Callable[[str], None]) -> None:
        self.engines = Engines(config, None)
        self._on_target_recovered = on_back
        self._stopping = threading.Event()
        with Engine(config) as engine:
            self.targets = [handle.name for handle in engine.targets]
        self._circuits = {
            f"target:{name}": Circuit(
                f"target:{name}", partial(self._probe, name), self._changed, self._stopping
            )
            for name in self.targets
        }
        self._finisher = Finisher(self.engines, self._circuits, self._stopping)
        self._full: dict[str, tuple[str, float]] = {}
        #: Who was placed a moment ago, and when: nothing is to be found out about them again. The
        #: ledger refuses to make anybody whose record has changed since.
        self._placed: dict[str, tuple[Place, float]] = {}
        self._lock = threading.Lock()
        #: What reporters were told of each tenant by this process; the ledger knows it beyond.
        self._told: dict[str, str] = {}

    def close(self) -> None:
        """End what is under way, and let go of all connections."""
        self._finisher.flush(_FLUSH)
        self._stopping.set()
        self._finisher.close()
        self.engines.close()

    def away(self, target: str) -> str:
        """Return why a target is not to be asked now; empty where it is."""
        circuit = self._circuits.get(f"target:{target}")
        return circuit.reason if circuit is not None and circuit.is_open else ""

    def place(self, ids: Sequence[str]) -> Placed:
        """Find out where tenants go, and reserve their places in the ledger.

        Raises:
            InfluxopsError: When that could not be found out or written: nothing was done.
        """
        placed = Placed()
        away = {name: why for name in self.targets if (why := self.away(name))}
        with self.engines.borrow() as (engine, run):
            context = run.limited(_LOOK)
            known = self._known(away)
            looked = engine.single.look_up({id_: Asked(id_) for id_ in ids}, context, known)
            self._note(looked)
            placed.trouble = self._blind(looked)
            if placed.trouble:
                return placed
            # A hint about somebody whom no source has was about what is left out there.
            places = [p for p in looked.places.values() if p.step is not Step.UNKNOWN or p.record]
            context = run.limited(_LOOK)  # a target that hung has used up the other, perhaps
            records = engine.single.note(places, context)
            self._complete(places)
            self._tell(engine, places, context)
        for record in records.values():
            if record.state is State.ALLOCATED and record.target:
                placed.targets.add(record.target)
            elif record.state is State.PENDING:
                placed.waiting += 1
        now = time.monotonic()
        for place in places:
            reserved = records.get(place.tenant)
            if place.step is Step.MAKE and reserved and reserved.target == place.target:
                with self._lock:
                    self._placed[place.tenant] = (replace(place, record=reserved), now)
        placed.full_run = any(place.full_run for place in places)
        # Whose place was reserved before.
        placed.targets |= {
            p.target for p in places if p.step is Step.MAKE and p.target and p.tenant not in records
        }
        return placed

    def make(self, target: str, ids: Sequence[str]) -> Made:
        """Make the databases of tenants that have a place on a target."""
        made = Made(trouble=self.away(target))
        if made.trouble:
            return made
        here = self._just_placed(target, ids)
        known = {place.tenant for place in here}
        rest = [id_ for id_ in ids if id_ not in known]
        with self.engines.borrow() as (engine, run):
            if rest:
                here += self._look_again(engine, target, rest, made, run)
            full: list[str] = []
            if here and not made.trouble:
                full = self._make(engine, target, here, made, run.limited(_MAKE))
        if full:  # another target may have room
            placed = self.place(full)
            made.targets |= placed.targets
        return made

    def _just_placed(self, target: str, ids: Sequence[str]) -> list[Place]:
        """Return those who were placed on a target a moment ago, and forget them."""
        oldest = time.monotonic() - _FRESH
        with self._lock:
            while self._placed:  # in the order of time
                id_ = next(iter(self._placed))
                if self._placed[id_][1] > oldest:
                    break
                del self._placed[id_]
            found = [self._placed.pop(id_)[0] for id_ in ids if id_ in self._placed]
        return [place for place in found if place.target == target]

    def _look_again(
        self, engine: Engine, target: str, ids: Sequence[str], made: Made, run: RunContext
    ) -> list[Place]:
        """Look at tenants with a place on a target; return those that are to be made there."""
        context = run.limited(_LOOK)
        known = self._known({})
        looked = engine.single.look_up({id_: Asked(id_) for id_ in ids}, context, known)
        self._note(looked)
        failed = looked.failed.get(f"target:{target}")
        made.trouble = self._blind(looked) or (failed.message if failed is not None else "")
        if made.trouble:
            return []
        here: list[Place] = []
        others: list[Place] = []
        for place in looked.places.values():
            is_here = place.step is Step.MAKE and place.target == target
            (here if is_here else others).append(place)
        self._settle(engine, others, made, run.limited(_LOOK))
        return here

    def _settle(
        self, engine: Engine, places: Sequence[Place], made: Made, context: RunContext
    ) -> None:
        """Note what became of those that are not to be made here."""
        records = engine.single.note(places, context)
        self._complete(places)
        self._tell(engine, places, context)
        made.ready += [place.tenant for place in places if place.step is Step.THERE]
        made.targets |= {
            r.target for r in records.values() if r.state is State.ALLOCATED and r.target
        }
        made.waiting += sum(p.step in (Step.WAIT, Step.NEVER, Step.UNKNOWN) for p in places)

    def _make(
        self, engine: Engine, target: str, places: Sequence[Place], made: Made, context: RunContext
    ) -> list[str]:
        """Make databases; return the tenants that the target had no room for."""
        full: list[str] = []
        told: list[Place] = []
        failed = engine.single.make(places, target, context, told.append)
        for place in told:
            if place.step in (Step.MADE, Step.THERE):
                made.ready.append(place.tenant)
            elif place.step is Step.MAKE:
                self._full[target] = (place.reason, time.monotonic() + _FULL)
                full.append(place.tenant)
        made.waiting += len(places) - sum(p.step in (Step.MADE, Step.THERE) for p in told)
        self._complete(told)
        self._tell(engine, told, context)
        if failed is not None:
            made.trouble = failed.error.message
            self._fail(failed.name, failed.error)
        return full

    def _complete(self, places: Sequence[Place]) -> None:
        for place in places:
            if place.step in (Step.MADE, Step.THERE) and not place.complete:
                self._finisher.add(place)

    def _tell(self, engine: Engine, places: Sequence[Place], context: RunContext) -> None:
        """Tell reporters who gets no database until somebody decides, once each reason."""
        news = []
        for place in places:
            if place.step in (Step.MADE, Step.THERE):
                self._told.pop(place.tenant, None)
            if place.step is not Step.NEVER:
                continue
            before = place.record.error if place.record is not None else ""
            if place.reason not in (before, self._told.get(place.tenant)):
                news.append(place)
            self._told[place.tenant] = place.reason
        if not news:
            return
        for place in news:
            log.warning("%s: %s", place.tenant, place.reason)
        for finding in engine.single.tell_trouble(news, context.or_grace(_PROBE)).notes:
            log.warning("%s", finding.sentence)

    # What is known of servers ----------------------------------------------------------------

    def _known(self, away: Mapping[str, str]) -> Known:
        now = time.monotonic()
        full = {name: why for name, (why, until) in self._full.items() if until > now}
        refused = [name for name in away if self._circuits[f"target:{name}"].is_refused]
        return Known(away, refused, full)

    @staticmethod
    def _blind(looked: Looked) -> str:
        """Return why nothing is known of anybody: a source or the ledger was not read."""
        for name, error in looked.failed.items():
            if not name.startswith("target:"):
                return f"{name}: {error.message}"
        return ""

    def _note(self, looked: Looked) -> None:
        for name, error in looked.failed.items():
            self._fail(name, error)

    def _fail(self, name: str, error: InfluxopsError) -> None:
        cancelled = isinstance(error, Interrupted) and self.engines.is_over
        if name in self._circuits and not cancelled and not isinstance(error, NotSupported):
            self._circuits[name].fail(error)

    def _probe(self, target: str) -> None:
        self.engines.begin_anew()
        with self.engines.run(_PROBE) as (engine, context):
            handle = engine.target(target)
            if handle.implements("influxops_get_databases"):
                handle.get_databases((), context)
            else:
                handle.list_databases((), context)

    def _changed(self, circuit: Circuit) -> None:
        if not circuit.is_open:
            target = circuit.name.removeprefix("target:")
            log.warning("%s answers again", target)
            self._on_target_recovered(target)
