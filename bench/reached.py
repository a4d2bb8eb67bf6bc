"""What was to be reached, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cases import doors, exports, moving, status, tenants
from bench.values import Figure, Run


@dataclass(frozen=True)
class Reached:
    """What a run says of a target."""

    #: None where it has not measured that.
    met: bool | None
    measured: str
    why: str = ""


@dataclass(frozen=True)
class Target:
    """A bound of one figure."""

    work: str
    #: What it was when the target was set.
    today: str
    reach: str
    table: str
    contender: str
    #: The column that counts; the others are shown as well where they are larger.
    columns: Sequence[str]
    #: At most so many times what it is put beside, so many seconds, and MB.
    ratio: float | None = None
    seconds: float | None = None
    memory: float | None = None
    #: What it is put beside, where that is not the contender of its table.
    beside: str = ""
    #: Why it is missed, where that is known.
    why: str = ""

    def check(self, run: Run) -> Reached:
        """Hold it against a run."""
        found = [run.find(self.table, self.contender, column) for column in self.columns]
        there = [each for each in found if each]
        if not there:
            others = [self._told(run, each)[1] for each in run.figures if self._is(each)]
            return Reached(None, "".join(others[-1:]))
        told = [self._told(run, each) for each in there]
        met = all(good for good, _ in told)
        return Reached(met, "; ".join(text for _, text in told), "" if met else self.why)

    def _is(self, figure: Figure) -> bool:
        return (figure.table, figure.contender) == (self.table, self.contender)

    def _told(self, run: Run, figure: Figure) -> tuple[bool, str]:
        good, texts = True, []
        if self.ratio is not None:
            beside = run.find(self.table, self.beside or figure.beside, figure.column)
            times = figure.value / beside.value if beside and beside.value else float("inf")
            good &= times <= self.ratio
            texts.append(f"{times:.2f} times")
        if self.seconds is not None:
            good &= figure.value <= self.seconds
            texts.append(f"{figure.value:.1f} s")
        if self.memory is not None and figure.memory is not None:
            good &= figure.memory <= self.memory
            texts.append(f"{figure.memory:.0f} MB")
        at = f"{figure.column}: " if figure.column else ""
        return good, at + ", ".join(texts)


TARGETS: tuple[Target, ...] = (
    Target(
        "move, writers paused, verified, beside the bare copy",
        "real server: 100,000 rows 4.2 times, 500,000 rows 2.6 times, 60 MB",
        "at most 1.5 times from 100,000 rows on, 100 MB",
        moving.ROWS,
        moving.OURS,
        ("200,000", "1,000,000"),
        ratio=1.5,
        memory=100,
        why="the copy is read back and compared, and the start-up is part of it",
    ),
    Target(
        "move of many small tables (18 tables, 3,000 rows)",
        "20 s",
        "at most 3 s",
        moving.TABLES,
        moving.OURS,
        ("3,000",),
        seconds=3,
        why="it waits for two flushes of a server's log, a second each, and starts up",
    ),
    Target(
        "100,000 tenants, nothing missing",
        "3.1 s, 165 MB, 7.1 times the bare script",
        "at most 4 times the bare script, 150 MB",
        tenants.THERE,
        tenants.OURS,
        ("100,000",),
        ratio=4,
        memory=150,
        why="each tenant is named, checked, planned and reported, which a script leaves out",
    ),
    Target(
        "the same plan as JSON",
        "about 1.5 times the text, 567 MB",
        "at most 1.3 times the text, 200 MB",
        tenants.THERE,
        tenants.JSON,
        ("100,000",),
        ratio=1.3,
        memory=200,
        beside=tenants.PLAN,
        why="a tenant has all its fields there, and a word in a line of text",
    ),
    Target(
        "100,000 missing",
        "115 s",
        "at most 1.1 times the bare script",
        tenants.MISSING,
        tenants.OURS,
        ("100,000",),
        ratio=1.1,
        why="all are planned before and read again afterwards",
    ),
    Target(
        "status with telemetry of 10,000",
        "89 s (unoptimised real server)",
        "at most 1.2 times the bare queries",
        status.TITLE,
        status.OURS,
        ("10,000",),
        ratio=1.2,
        why="start-up, inventory and a line a tenant come on top of the queries",
    ),
    Target(
        "one inserted row until its database (worker, server with room)",
        "0.09 to 0.25 s",
        "at most 2 times ensure TENANT without its start-up",
        doors.TITLE,
        doors.ROW,
        ("",),
        ratio=2,
        why="notification, claim, creation and commit are a transaction each",
    ),
    Target(
        "export, beside a bare read of the same rows",
        "",
        "at most 1.3 times, 100 MB",
        exports.TITLE,
        exports.OURS,
        ("200,000",),
        ratio=1.3,
        memory=100,
        why="rows are sorted, hashed and compressed beside reading, on the cores that are left",
    ),
    Target(
        "size of an export, beside gzip of the same rows as JSON lines",
        "",
        "at most half",
        exports.SIZE,
        exports.OURS,
        ("200,000",),
        ratio=0.5,
        why="it depends on the rows: random numbers hardly compress",
    ),
)
