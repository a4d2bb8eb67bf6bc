"""What an operator has begun on a page and what takes longer than a page may: retiring, moving.

It is carried out as the command line does it, in a thread of this process; a page waits for it for
a moment, and shows afterwards how far it is or how it ended. What ends with the process is resumed
by doing it again: the ledger knows how far it was.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from influxops.config.load import Config
from influxops.domain.finding import FindingKind
from influxops.domain.hint import typed
from influxops.domain.text import one_line
from influxops.engine.engine import Engine
from influxops.errors import ExitCode, InfluxopsError
from influxops.provisioner.engine_pool import Engines
from influxops.report.model import Report
from influxops.report.view import ReportView
from influxops.report.wording import CLI_STYLE, HintStyle
from influxops.runtime.context import RunContext

#: Runs at once, and moves, which may take days; further ones wait for their turn.
_THREADS, _MOVES = 4, 4
#: Tenants whose last run is remembered.
_REMEMBERED = 1_000

#: How hints are written on a page.
STYLE = replace(
    CLI_STYLE, command="`influxops {}`", option="`{}` of [run]", guarded="refused by a guard"
)

Act = Callable[[Engine, RunContext], Report]


class OperatorRun(Struct, frozen=True):
    """A run that an operator has begun for a tenant."""

    tenant: str
    what: str  # in the words of a button: "retire"
    who: str  # the operator
    began: datetime
    ended: datetime | None = None  # None while it is under way
    succeeded: bool = False
    lines: tuple[str, ...] = ()  # its result
    stage: str = "waiting for its turn"  # what is being done now
    done: int = 0  # how much of that is done
    total: int = 0  # how much of it there is; 0 where that is not known

    @property
    def percent(self) -> int | None:
        """How much of its stage is done, in percent; None where that is not known.

        What there was at the beginning says nothing once there is more.
        """
        return 100 * self.done // self.total if self.total and self.total >= self.done else None


class OperatorRuns:
    """Carries out what operators begin, and knows the last run of each tenant."""

    def __init__(self, config: Config, engines: Engines) -> None:
        self._config, self._engines = config, engines
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="influxops-operator")
        self._moves = ThreadPoolExecutor(_MOVES, thread_name_prefix="influxops-move")
        self._lock = threading.Lock()
        self._runs: dict[str, OperatorRun] = {}
        self._contexts: set[RunContext] = set()
        self._closed = False

    def close(self) -> None:
        """End what is under way, as Ctrl-C does."""
        with self._lock:
            self._closed = True
            contexts = [*self._contexts]
        for context in contexts:
            context.cancel()
        for threads in (self._threads, self._moves):
            threads.shutdown(wait=True, cancel_futures=True)

    def of(self, tenant: str) -> OperatorRun | None:
        """Return what was begun last for a tenant; None where nothing was."""
        return self._runs.get(tenant)

    async def start(
        self, tenant: str, what: str, who: str, act: Act, *, wait: float, endless: bool = False
    ) -> None:
        """Begin a run for a tenant, unless one is under way, and wait some seconds for its end.

        `what` is done in the words of a button; one that is `endless` has no deadline.
        """
        with self._lock:
            found = self._runs.get(tenant)
            if found is not None and found.ended is None:
                return
            self._evict()
            run = self._runs[tenant] = OperatorRun(tenant, what, who, datetime.now(UTC))
        threads = self._moves if endless else self._threads
        future: Future[None] = threads.submit(self._carry_out, run, act, endless)
        await asyncio.wait([asyncio.wrap_future(future)], timeout=wait)

    def _carry_out(self, run: OperatorRun, act: Act, endless: bool) -> None:
        succeeded = False
        lines: tuple[str, ...] = ("this is a fault in influxops; its log says more",)
        try:
            report = self._report(run, act, endless)
            succeeded, lines = report.exit_code is ExitCode.OK, lines_of(report)
        except InfluxopsError as error:
            advice = STYLE.advice(error.remedy)
            lines = tuple(filter(None, (one_line(error.message), advice)))
        finally:
            ended = replace(run, ended=datetime.now(UTC), succeeded=succeeded, lines=lines)
            with self._lock:
                self._runs[run.tenant] = ended

    def _report(self, run: OperatorRun, act: Act, endless: bool) -> Report:
        self._follow(run, stage="")
        context = RunContext(
            None if endless else self._config.timeout,
            tenants=frozenset([run.tenant]),
            on_stage=lambda label, total: self._follow(run, stage=label, total=total, done=0),
            on_progress=lambda count: self._follow(run, count),
        )
        with self._lock:
            self._contexts.add(context)
            if self._closed:
                context.cancel()
        try:
            with self._engines.borrow() as (engine, _):
                return act(engine, context)
        finally:
            with self._lock:
                self._contexts.discard(context)

    def _follow(self, run: OperatorRun, more: int = 0, **change: Any) -> None:
        """Note how far a run is, unless it has ended: what it left behind may go on."""
        with self._lock:
            now = self._runs.get(run.tenant, run)
            if now.began == run.began and now.ended is None:
                self._runs[run.tenant] = replace(now, **{"done": now.done + more, **change})

    def _evict(self) -> None:
        """Forget the run that ended longest ago, where too many are remembered."""
        if len(self._runs) < _REMEMBERED:
            return
        old = next((id_ for id_, run in self._runs.items() if run.ended is not None), None)
        if old is not None:
            del self._runs[old]


def lines_of(report: Report) -> tuple[str, ...]:
    """Return the result of a run for one tenant, in lines."""
    view = ReportView(report, _words(report))
    # What a guard refuses is said of each tenant that it is refused for.
    groups = [group for group in view.run_groups if group.kind is not FindingKind.GUARD]
    if any(not refusal.tenants for refusal in report.refusals):
        groups = view.run_groups
    lines = [f"{group.line()}{_then(group.advice)}" for group in groups]
    for tenant in view.tenants:
        said = f"{view.label(tenant)}{view.target_text(tenant)}: {view.action_text(tenant)}"
        kept = view.kept_text(tenant)
        if kept and kept not in said:
            said += f" {kept}"
        if not view.is_ok(tenant):
            said += f": {view.reason_text(tenant)}{_then(view.advice(tenant))}"
        lines.append(said)
    return tuple(lines) or ("nothing was to be done",)


def _words(report: Report) -> HintStyle:
    """Return how hints are written on a page: a guard is allowed by a command, as it is typed."""
    ids, options = [], []
    for each in report.tenants:
        is_adopted = report.command == "adopt" and each.database
        ids.append(f"{each.tenant}={each.database}" if is_adopted else each.tenant)
        options += ["--to", shlex.quote(each.move.target)] if each.move else []
    command = typed(report.command, *ids, options=" ".join([*options, "--allow {}"]))
    return replace(STYLE, allow=f"on the command line, `influxops {command}`")


def _then(advice: str) -> str:
    return f" ({advice})" if advice else ""
