"""What an operator has begun on a page and what takes longer than a page may: retiring, moving.

It is done as the command line does it, in a thread of this process; a page waits for it for the
budget, and shows afterwards how far it is or how it ended. What ends with the process is gone on
with by doing it again: the ledger knows how far it was.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from influxops.config.load import Config
from influxops.domain.selection import Scope
from influxops.domain.text import one_line
from influxops.engine.engine import Engine
from influxops.errors import ExitCode, InfluxopsError
from influxops.report.model import Report
from influxops.report.view import ReportView
from influxops.runtime.context import Context

#: What is done at once; the rest waits for its turn.
_THREADS = 4
#: Tenants whose last work is remembered.
_REMEMBERED = 1_000

Act = Callable[[Engine, Context], Report]


class Work(Struct, frozen=True):
    """What was begun for a tenant."""

    tenant: str
    what: str  # in the words of a button: "retire"
    who: str  # the operator
    began: datetime
    ended: datetime | None = None  # None while it is under way
    well: bool = False  # whether it ended well
    lines: tuple[str, ...] = ()  # what came of it
    stage: str = ""  # what is being done now


class Works:
    """Does it.

    Args:
        config: The configuration.
        budget: Seconds that a page waits for it.
    """

    def __init__(self, config: Config, budget: float) -> None:
        self._config, self._budget = config, budget
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="influxops-work")
        self._lock = threading.Lock()
        self._works: dict[str, Work] = {}
        self._running: set[Context] = set()
        self._closed = False

    def close(self) -> None:
        """End what is under way, as Ctrl-C does."""
        with self._lock:
            self._closed = True
            running = [*self._running]
        for context in running:
            context.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def of(self, tenant: str) -> Work | None:
        """Return what was begun last for a tenant; None where nothing was."""
        return self._works.get(tenant)

    async def do(self, tenant: str, what: str, who: str, act: Act, *, endless: bool) -> Work:
        """Begin something for a tenant, and wait for it for the budget.

        Args:
            tenant: Its id.
            what: What is done, in the words of a button.
            who: The operator.
            act: Does it.
            endless: Whether it may take as long as it takes.

        Returns:
            How far it is. Where something is under way for this tenant already, that.
        """
        with self._lock:
            found = self._works.get(tenant)
            if found is not None and found.ended is None:
                return found
            self._forget()
            work = self._works[tenant] = Work(tenant, what, who, datetime.now(UTC))
        future: Future[None] = self._threads.submit(self._do, work, act, endless)
        await asyncio.wait([asyncio.wrap_future(future)], timeout=self._budget)
        return self._works.get(tenant, work)

    def _do(self, work: Work, act: Act, endless: bool) -> None:
        well = False
        lines: tuple[str, ...] = ("this is a fault in influxops; its log says more",)
        try:
            well, lines = self._done(work, act, endless)
        except InfluxopsError as error:
            lines = tuple(filter(None, (one_line(error.message), one_line(str(error.remedy)))))
        finally:
            ended = replace(work, ended=datetime.now(UTC), well=well, lines=lines)
            with self._lock:
                self._works[work.tenant] = ended

    def _done(self, work: Work, act: Act, endless: bool) -> tuple[bool, tuple[str, ...]]:
        def stage(label: str, total: int | None) -> None:
            with self._lock:
                self._works[work.tenant] = replace(work, stage=label)

        context = Context(
            None if endless else self._config.timeout,
            scope=Scope(frozenset([work.tenant])),
            on_stage=stage,
        )
        with self._lock:
            self._running.add(context)
            if self._closed:
                context.cancel()
        try:
            with Engine(self._config) as engine:
                report = act(engine, context)
        finally:
            with self._lock:
                self._running.discard(context)
        return report.exit_code is ExitCode.OK, lines_of(report)

    def _forget(self) -> None:
        """Let go of what ended longest ago, where there is too much."""
        if len(self._works) < _REMEMBERED:
            return
        old = next((id_ for id_, work in self._works.items() if work.ended is not None), None)
        if old is not None:
            del self._works[old]


def lines_of(report: Report) -> tuple[str, ...]:
    """Return what came of a run for one tenant, in lines."""
    view = ReportView(report)
    lines = [f"{group.line()}{_then(group.advice)}" for group in view.run_groups]
    for tenant in view.tenants:
        said = f"{view.label(tenant)}{view.target_text(tenant)}: {view.action_text(tenant)}"
        kept = view.kept_text(tenant)
        if kept and kept not in said:
            said += f" {kept}"
        if not view.is_ok(tenant):
            said += f": {view.reason_text(tenant)}{_then(view.advice(tenant))}"
        lines.append(said)
    return tuple(lines) or ("nothing was to be done",)


def _then(advice: str) -> str:
    return f" ({advice})" if advice else ""
