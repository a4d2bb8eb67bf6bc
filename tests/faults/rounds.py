"""Rounds: doors at work, faults at the same time, then a look at what is left."""

from __future__ import annotations

import contextlib
import math
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import urllib3

from influxops.errors import InfluxopsError
from tests.faults import check
from tests.faults.doors import Call
from tests.faults.kinds import Kind, NotHere, one_by_one
from tests.faults.table import Result, Row
from tests.faults.world import NAMES, World, Writer, new_world

#: Tenants of a world, and of a round: a world is used for so many rounds.
TENANTS, A_ROUND = 300, 30
#: Seconds in which all is well again after the last fault.
_RECOVERY = 120.0
#: Seconds after which a call is reported as slow.
_SLOW = 10.0


@dataclass(frozen=True)
class _Injected:
    kind: Kind
    began: float
    ended: float
    times: int


class Round:
    """One round on a world."""

    def __init__(
        self,
        world: World,
        result: Result,
        lanes: Sequence[Iterator[Kind]],
        faults: int,
        name: str,
        tell: Callable[[str], None],
    ) -> None:
        self.world, self.result, self.name = world, result, name
        self.lanes, self.faults, self.tell = lanes, faults, tell
        self.over = threading.Event()
        self.injected: list[_Injected] = []
        self.took: list[float] = []  # seconds a step
        self.broken: list[str] = []  # of this harness itself
        self.rng = random.Random(name)

    def run(self, new: Sequence[str]) -> None:
        """Inject, heal, look, let all become well, look again."""
        world = self.world
        world.recent = []
        first = len(world.said.calls)
        world.register(new[: len(new) // 2])
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._together([*self._doors(new[len(new) // 2 :]), *self._injectors()]),
            world.heal,
            lambda: self._count(world.said.calls[first:]),
            lambda: self._look(settled=False),
            self._recover,
            lambda: self._look(settled=True),
            self._outputs,
        )
        for step in steps:
            at = time.monotonic()
            step()
            self.took.append(time.monotonic() - at)
        self.result.rounds += 1

    @property
    def summary(self) -> str:
        """How far all rounds are, and how long the steps of this one took."""
        found = self.result
        bad = len(found.lost) + len(found.doubled) + len(found.wrong)
        steps = " ".join(f"{seconds:.1f}" for seconds in self.took)
        return (
            f"round {self.name}: {found.injected} faults so far, {bad} wrong, "
            f"{sum(self.took):.1f} s: {steps}"
        )

    def _together(self, works: list[Callable[[], None]]) -> None:
        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except Exception:
                self.broken.append(traceback.format_exc())
                self.over.set()

        threads = [threading.Thread(target=guarded, args=[work], daemon=True) for work in works]
        injectors = threads[-len(self.lanes) :]
        for thread in threads:
            thread.start()
        for thread in injectors:
            thread.join()
        self.over.set()
        for thread in [*threads, *self.world.background]:
            thread.join(300)
            assert not thread.is_alive(), "a door is stuck"
        self.world.background.clear()
        if self.broken:
            raise RuntimeError("\n".join(self.broken))

    def _injectors(self) -> list[Callable[[], None]]:
        # Some rounds are so full of faults that little is done, in others most is done.
        pause = self.rng.choice([0.1, 0.1, 0.8])

        def inject(lane: Iterator[Kind], r: random.Random) -> None:
            time.sleep(r.uniform(0.0, 0.5))
            for _ in range(self.faults):
                if self.over.is_set():
                    return
                kind, given = next(lane), random.Random(r.random())
                began = time.monotonic()
                row = self.result.rows[f"{kind.group}: {kind.name}"]
                try:
                    times = kind.inject(self.world, given)
                except NotHere as why:
                    row.note, times = str(why), 0
                except (psycopg.Error, urllib3.exceptions.HTTPError, OSError, InfluxopsError):
                    times = 0  # another fault was in its way
                ended = time.monotonic()
                self.injected.append(_Injected(kind, began, ended, times))
                with (self.world.folder / "faults.txt").open("a") as log:
                    clock = time.strftime("%H:%M:%S")
                    log.write(f"{clock} {ended - began:.2f} s {row.group}: {row.fault} {times}\n")
                time.sleep(r.uniform(0.0, pause))

        return [
            lambda lane=lane, n=n: inject(lane, random.Random(f"{self.name}-{n}"))  # type: ignore[misc]
            for n, lane in enumerate(self.lanes)
        ]

    def _doors(self, new: Sequence[str]) -> list[Callable[[], None]]:
        world, commands = self.world, self.world.commands

        def repeated(work: Callable[[], object], pause: float) -> Callable[[], None]:
            def loop() -> None:
                while not self.over.is_set():
                    work()
                    self.over.wait(pause)

            return loop

        def command_line() -> None:
            r, everybody = self.rng, self._expected()
            tenant = r.choice(world.registered)
            match r.randrange(6):
                case 0:
                    commands.run("ensure", everybody=everybody)
                case 1 | 2:
                    commands.run("ensure", "--format", "json", everybody=everybody)
                case 3:
                    commands.run("ensure", tenant, "--format", "json")
                case 4:
                    commands.run("status", "--format", "json")
                case _:
                    commands.run("where", tenant, "--recorded", "--format", "json")

        def ansible() -> None:
            commands.ansible(world.config, self._expected())

        def application() -> None:
            world.application.ensure(world.recent[-40:] or world.registered[-5:])

        wanted = [*new]

        def service() -> None:
            created = [each for each in world.recent if each in world.said.stored]
            if not wanted or (created and self.rng.random() < 0.3):
                world.service.ensure(self.rng.choice(created or world.recent))
                return
            tenant = wanted[0]
            world.service.create(tenant)
            if tenant in world.said.stored:
                del wanted[0]
                world.registered.append(tenant)
                world.recent.append(tenant)

        def move() -> None:
            self._move(random.Random(f"{self.name}-move-{self.result.moves}"))

        return [
            repeated(command_line, 0.4),
            repeated(ansible, 1.0),
            repeated(application, 0.4),
            repeated(service, 0.25),
            repeated(move, 0.2),
        ]

    def _expected(self) -> list[str]:
        return [each for each in self.world.registered if each not in self.world.deleted]

    def _move(self, r: random.Random) -> None:
        """Move a tenant with rows and a writer to another server; or go on with a move."""
        world = self.world
        moving = self._states("moving")
        if moving:
            tenant, _, _, to = r.choice(moving)
        else:
            idle = [
                (tenant, target)
                for tenant, target, other, _ in self._states("ready")
                if other is None and tenant not in {*world.deleted, *world.foreign}
            ]
            known = [each for each in idle if each[0] in world.writers]
            if len(world.writers) >= 6 and not known:
                return
            chosen = idle if len(world.writers) < 6 else known
            if not chosen:
                return
            tenant, target = r.choice(chosen)
            to = r.choice([name for name in NAMES if name != target])
        with world.lock:  # whose database somebody deletes is not moved, and the other way round
            if tenant in world.deleted:
                return
            if tenant not in world.moved:
                world.moved.append(tenant)
        if tenant not in world.writers:
            world.writers[tenant] = Writer(world, tenant)
            world.writers[tenant].start()
        options = ("--timeout", "12s", "--format", "json")
        call = world.commands.run("move", tenant, "--to", to, *options)
        self.result.moves += call.code == 0

    def _states(self, state: str) -> list[tuple[str, str, str | None, str]]:
        """Return who is in a state: tenant, target, the other one, where a move of it leads."""
        query = (
            "SELECT tenant, target, secondary_target, CASE WHEN drop_after IS NULL"
            " THEN coalesce(secondary_target, target) ELSE target END FROM influxops.tenants"
            " WHERE state = %s ORDER BY tenant"
        )
        conninfo = self.world.primary.conninfo
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(conninfo, connect_timeout=2) as connection,
        ):
            return connection.execute(query, [state]).fetchall()
        return []

    def _look(self, *, settled: bool) -> None:
        world = self.world
        with world.standing_still():
            verdict = check.check(world.facts(settled=settled, deep=world.recent))
        when = "after recovery" if settled else "after faults"
        for name in ("lost", "doubled", "wrong"):
            found = [f"round {self.name}, {when}: {each}" for each in getattr(verdict, name)]
            found = [each for each in found if self._is_new(name, each)]
            getattr(self.result, name).extend(found)
            for each in found:
                self.tell(f"  {name}: {each}")
            for kind in {each.kind for each in self.injected if each.times}:
                row = self.result.rows[f"{kind.group}: {kind.name}"]
                setattr(row, name, getattr(row, name) + len(found))

    def _is_new(self, name: str, found: str) -> bool:
        """Return whether this is not what an earlier look has found."""
        text = found.split(": ", 1)[1]
        return all(text not in each for each in getattr(self.result, name))

    def _recover(self) -> None:
        """Do what a person does: run it again, go on with moves, make what was lost again."""
        world, end = self.world, time.monotonic() + _RECOVERY
        while time.monotonic() < end:
            # The first run that knew any source may have been one through a pooler.
            world.commands.run("ensure", "--format", "json", "--allow", "new-source")
            for tenant, _, _, to in self._states("moving"):
                call = world.commands.run("move", tenant, "--to", to, "--format", "json")
                self.result.moves += call.code == 0
            waiting = [
                state for state in ("pending", "allocated", "unconfirmed") if self._states(state)
            ]
            left = {*world.registered} - {each[0] for each in self._states("ready")}
            left -= {*world.deleted}
            lost = {each[0] for each in self._states("lost")}
            if not waiting and not left and lost >= {*world.deleted} and not self._states("moving"):
                break
            time.sleep(0.3)
        self._look(settled=True)
        if world.deleted:
            options = [f"--recreate={tenant}" for tenant in world.deleted]
            world.commands.run("ensure", *options)
            again = {each[0] for each in self._states("ready")}
            for tenant in [*world.deleted]:
                if tenant in again:
                    del world.deleted[tenant]
        world.commands.run("retire", "--copies", "--yes")
        world.foreign.clear()
        self.result.astray += world.clear_impostor()

    def _outputs(self) -> None:
        said = self.world.said
        texts = [*said.texts()]
        broken, shown = check.outputs(texts, self.world.secrets)
        self.result.tracebacks += [f"round {self.name}: {each}" for each in broken]
        self.result.secrets += [f"round {self.name}: {each}" for each in shown]
        self.result.wrong += [f"round {self.name}: {each}" for each in said.odd]
        for each in said.odd:
            self.tell(f"  wrong: {each}")
        said.odd.clear()

    def _count(self, calls: Sequence[Call]) -> None:
        self.result.calls.update(call.door for call in calls)
        for call in calls:
            if call.ended - call.began > _SLOW:
                self.tell(
                    f"  {call.door} {call.what}: {call.ended - call.began:.1f} s, {call.code}"
                )
        for injected in self.injected:
            row = self.result.rows[f"{injected.kind.group}: {injected.kind.name}"]
            row.injected += injected.times
            for call in calls:
                if injected.times and call.began < injected.ended and call.ended > injected.began:
                    row.calls += 1
                    row.killed += call.is_killed
                    row.good += not call.is_killed and call.code == 0
                    row.refused += not call.is_killed and call.code != 0


def run_rounds(
    seed: int,
    faults: Sequence[Kind],
    *,
    each: int,
    tell: Callable[[str], None],
    seconds: float = math.inf,
    most_faults: int = sys.maxsize,
    rounds: int = sys.maxsize,
    keep: Path | None = None,
) -> Result:
    """Run rounds until the time is over, or so many faults were injected.

    Args:
        seed: Decides what is done, in which order.
        faults: The kinds of faults.
        each: How many faults come one after the other in a round.
        tell: Gets a line a round.
        seconds: After so many no round begins.
        most_faults: After so many no round begins.
        rounds: How many rounds there are at most.
        keep: Where outputs are kept, rather than in a temporary folder.
    """
    result, began, rng = Result(seed), time.monotonic(), random.Random(seed)
    result.rows = {f"{kind.group}: {kind.name}": Row(kind.group, kind.name) for kind in faults}
    groups = list(dict.fromkeys(kind.group for kind in faults))

    def deck(lane: int, group: str) -> Iterator[Kind]:
        r = random.Random(f"{seed}-{lane}")
        while True:
            yield from one_by_one([kind for kind in faults if kind.group == group], r)

    # A server's faults come two at once: most of what happens to ours is theirs.
    groups += [group for group in groups if group == "InfluxDB"]
    lanes = [deck(lane, group) for lane, group in enumerate(groups)]
    number = 0

    def is_over() -> bool:
        took = time.monotonic() - began
        return took > seconds or result.injected >= most_faults or result.rounds >= rounds

    while not is_over():
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="influxops-faults-"))
            place = Path(folder) if keep is None else keep / f"world-{number}"
            place.mkdir(parents=True, exist_ok=True)
            most = rng.choice([None, 80, 150])
            given = random.Random(rng.random())
            try:
                world = stack.enter_context(new_world(given, place, most=most))
                for n in range(TENANTS // A_ROUND):
                    if is_over():
                        break
                    name = f"{seed}-{number}-{n}"
                    done = Round(world, result, lanes, each, name, tell)
                    done.run([f"t{number}-{n}-{i:02}" for i in range(A_ROUND)])
                    tell(done.summary)
                result.tenants += len(world.registered)
                written = world.writers.values()
                result.rows_written += sum(len(writer.acknowledged) for writer in written)
            except Exception:
                result.broken.append(traceback.format_exc())
                tell(result.broken[-1])
                if len(result.broken) > 2:
                    break
        number += 1
    result.seconds = time.monotonic() - began
    return result
