"""The console: pages for people, on the same service and with the same rules as the API.

The server makes every page; there is no script, so nothing waits for one, and none can be brought
in. The middleware decides on access. What PostgreSQL has is read in one transaction, which ends
before a server of InfluxDB is asked; no page waits for that one longer than the timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from msgspec.structs import replace

from influxops.domain.text import truncate
from influxops.engine.engine import Engine
from influxops.engine.operations import Move, Operation, Retire, Unretire
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.results import EnsureStatus
from influxops.provisioner.validation import InvalidRequest
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from influxops_web.api.problems import Problem
from influxops_web.console import wording
from influxops_web.console.chart import chart
from influxops_web.console.pages import Pages, link, mount_assets
from influxops_web.console.runs import OperatorRuns
from influxops_web.console.servers import SPANS, Contents, LiveStatus, ServerUsage, Span
from influxops_web.db import history, queries
from influxops_web.db.devices import Devices, devices
from influxops_web.db.queries import TenantRow
from influxops_web.security.sessions import operator_of, origin_of
from influxops_web.service import Service

#: Pages that come later than this are not asked for by a link.
_LAST_PAGE = 1_000_000
_BIGGEST = 2**63 - 1
#: Tenants that wait and are named; how many more there are is said.
_WAITING_SHOWN = 50

Id = Annotated[str, Query(max_length=4000)]
Named = Annotated[str, Form(alias="id", max_length=4000)]
Search = Annotated[str, Query(max_length=200)]


class Console:
    """The pages."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._engines = Engines(replace(service.config, door="console"), None)
        self._servers = LiveStatus(service, self._engines)
        self._runs = OperatorRuns(service.config, self._engines)
        self._pages = Pages()
        self.router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
        for path, page in (
            ("/", self.tenants),
            ("/login", self.login),
            ("/tenant", self.tenant),
            ("/tenant/retire", self.ask_retire),
            ("/tenant/move", self.ask_move),
            ("/fleet", self.fleet),
            ("/runs", self.runs),
            ("/run", self.run),
        ):
            self.router.add_api_route(path, page, methods=["GET"])
        for path, act in (
            ("/tenant/ensure", self.ensure),
            ("/tenant/retire", self.retire),
            ("/tenant/unretire", self.unretire),
            ("/tenant/move", self.move),
        ):
            self.router.add_api_route(path, act, methods=["POST"])

    def mount(self, app: FastAPI) -> None:
        """Add what the pages look like, and the page that says what went wrong."""
        mount_assets(app)
        app.state.error_page = self.error

    def close(self) -> None:
        """End what is under way."""
        self._runs.close()
        self._engines.close()
        self._servers.close()

    # Pages -----------------------------------------------------------------------------------

    async def login(self, request: Request, after: Annotated[str, Query(alias="next")] = "") -> Any:
        """Show where an operator logs in."""
        return self._page(request, "login.html", after=after, wrong="")

    async def tenants(
        self,
        request: Request,
        q: Search = "",
        state: Search = "",
        status: Search = "",
        target: Search = "",
        page: Annotated[int, Query(ge=1, le=_LAST_PAGE)] = 1,
    ) -> Any:
        """Show the tenants, or those that are looked for."""
        q, target = q.replace("\0", ""), target.replace("\0", "")
        state = state if state in queries.STATES else ""
        status = status if status in queries.STATUSES else ""
        asked = queries.TenantFilter(q, state, status, target, page)
        async with self._service.transaction() as database:
            found = await queries.tenants(database, asked)
        chosen = {"q": q, "state": state, "status": status, "target": target}

        def paged(number: int) -> str:
            return link("/", **chosen, page=number if number > 1 else "")

        code = 404 if page > max(found.pages, 1) else 200
        return self._page(request, "tenants.html", code, found=found, asked=asked, paged=paged)

    async def tenant(
        self, request: Request, id: Id = "", span: Search = "24h", ensured: Search = ""
    ) -> Any:
        """Show what is known of a tenant."""
        chosen = SPANS.get(span, SPANS["24h"])
        row, lines, devices = await self._read(request, id)
        contents, where = await self._ask(row, chosen)
        drawn = None
        if contents is not None and contents.activity is not None:
            drawn = chart(contents.activity, chosen.words)
        return self._page(
            request,
            "tenant.html",
            row=row,
            lines=lines,
            devices=devices,
            contents=contents,
            where=where,
            url=self._url(row.target),
            chart=drawn,
            span=chosen,
            notices=wording.notices(row, contents, where),
            run=self._runs.of(row.tenant),
            ensured=wording.ENSURED.get(ensured),
            can_move=row.state in ("ready", "moving") and bool(self._others(row)),
        )

    async def fleet(self, request: Request) -> Any:
        """Show the servers, and the tenants that wait for a database."""
        async with self._service.transaction() as database:
            recorded = await queries.targets(database)
            waiting, total = await queries.waiting(database, _WAITING_SHOWN, failed=True)
        usage = await self._servers.usage()
        targets = self._service.targets
        servers = [
            {
                "name": name,
                "url": self._url(name),
                "recorded": recorded.get(name) or queries.TargetSummary(name, {}, 0),
                "usage": usage.get(name) or ServerUsage(trouble="not configured any more"),
                "is_draining": name in targets and targets[name].state == "draining",
            }
            for name in dict.fromkeys([*targets, *recorded])
        ]
        return self._page(request, "fleet.html", servers=servers, waiting=waiting, total=total)

    async def runs(
        self, request: Request, before: Annotated[int | None, Query(ge=1, le=_BIGGEST)] = None
    ) -> Any:
        """Show the runs that changed something."""
        async with self._service.transaction() as database:
            found = await history.runs(database, before)
        more = found[-1].last if len(found) == history.RUNS_A_PAGE else None
        return self._page(request, "runs.html", runs=found, more=more, is_first=before is None)

    async def run(
        self, request: Request, id: Id = "", after: Annotated[int, Query(ge=0, le=_BIGGEST)] = 0
    ) -> Any:
        """Show what one run did."""
        async with self._service.transaction() as database:
            found = await history.run(database, _storable(id), after)
        if not found and not after:
            raise Problem(404, "no-such-run", f"the history has no run {truncate(id)}")
        lines = found[: history.ENTRIES_A_PAGE]
        more = lines[-1].id if len(found) > len(lines) else None
        return self._page(request, "run.html", id=id, lines=lines, more=more, after=after)

    def error(self, request: Request, problem: Problem) -> Response:
        """Show what went wrong."""
        if request.url.path == "/login" and problem.status in (401, 429):
            after = getattr(request.state, "after", "")
            return self._page(request, "login.html", after=after, wrong=problem.detail)
        return self._page(request, "error.html", problem=problem)

    # What is done ----------------------------------------------------------------------------

    async def ensure(self, request: Request, id: Named) -> Any:
        """Ensure that a tenant has its database."""
        row, _, _ = await self._read(request, id)
        try:
            origin = origin_of(request, "console")
            found = await self._service.ensure(row.tenant, origin)
            how = found.status
        except InvalidRequest:
            how = EnsureStatus.FAILED  # no database can have this id; the page says why
        return _see(link("/tenant", id=row.tenant, ensured=how.value))

    async def ask_retire(self, request: Request, id: Id = "") -> Any:
        """Ask whether a tenant is to be retired."""
        row, _, devices = await self._read(request, id)
        return self._page(
            request, "retire.html", row=row, devices=devices, kept=self._service.retire_after
        )

    async def retire(
        self, request: Request, id: Named, recent: Annotated[bool, Form()] = False
    ) -> Any:
        """Retire a tenant."""
        row, _, _ = await self._read(request, id)
        allow = ("recent-telemetry",) if recent else ()
        return await self._start(request, row, "retire", Retire((row.tenant,)), allow=allow)

    async def unretire(self, request: Request, id: Named) -> Any:
        """Keep a tenant that is retiring."""
        row, _, _ = await self._read(request, id)
        return await self._start(request, row, "keep", Unretire((row.tenant,)))

    async def ask_move(self, request: Request, id: Id = "") -> Any:
        """Ask where a tenant is to be moved."""
        row, _, _ = await self._read(request, id)
        return self._page(
            request, "move.html", row=row, others=self._others(row), kept=self._service.retire_after
        )

    async def move(
        self, request: Request, id: Named, to: Annotated[str, Form(max_length=200)]
    ) -> Any:
        """Move a tenant to another target."""
        row, _, _ = await self._read(request, id)
        if to not in self._service.targets:
            raise Problem(422, "no-such-target", f"no target {truncate(to)} is configured")
        return await self._start(request, row, f"move to {to}", Move(to), endless=True)

    # How -------------------------------------------------------------------------------------

    async def _start(
        self,
        request: Request,
        row: TenantRow,
        what: str,
        operation: Operation,
        *,
        allow: Sequence[str] = (),
        endless: bool = False,
    ) -> RedirectResponse:
        who, wait = operator_of(request).who, self._service.web.timeout

        def act(engine: Engine, context: RunContext) -> Report:
            return engine.run(operation, context, allow=allow, operator=who)

        await self._runs.start(row.tenant, what, who, act, wait=wait, endless=endless)
        return _see(link("/tenant", id=row.tenant))

    async def _read(
        self, request: Request, id_: str
    ) -> tuple[TenantRow, list[history.Line], Devices]:
        id_ = _storable(id_)
        request.state.tenant = id_  # for the audit log
        async with self._service.transaction() as database:
            row = await queries.tenant(database, id_)
            found = await devices(database, self._service.device_table, id_)
            if row is None and found.total:
                row = TenantRow(id_)  # the registry has it, and no run has seen it yet
            if row is None:
                raise Problem(404, "no-such-tenant", f"there is no tenant {truncate(id_)}")
            return row, await history.history(database, id_), found

    async def _ask(self, row: TenantRow, span: Span) -> tuple[Contents | None, str]:
        """Return what a tenant's server says, and what speaks against that location.

        Where the ledger has no location yet: None, and why.
        """
        if row.state in wording.PLACED and row.target and row.database:
            # The ledger may have been restored, and another server hold what is newer.
            contents, doubt = await asyncio.gather(
                self._servers.contents(row.target, row.database, span), self._doubt(row)
            )
            return contents, doubt
        if row.state == "retired":
            return None, ""
        found = await self._service.where(row.tenant)
        if isinstance(found, str):
            return None, found
        state = "it is there" if found.is_ready else "a slot is reserved"
        on = f"{state}: {found.database} on {found.target}" if found.target else ""
        return None, "; ".join(filter(None, (found.reason, on)))

    async def _doubt(self, row: TenantRow) -> str:
        """Return why a tenant may not be where the ledger has it; empty where nothing says so."""
        if row.state != "ready" or row.status is None:  # what no source has is said anyway
            return ""
        found = await self._service.where(row.tenant)
        if isinstance(found, str) or found.status is not EnsureStatus.FAILED:
            return ""
        return found.reason

    def _url(self, target: str | None) -> str | None:
        """Return where a target is; None where it is not configured."""
        found = self._service.targets.get(target or "")
        return found.url if found is not None else None

    def _others(self, row: TenantRow) -> dict[str, str]:
        return {
            target.name: target.url
            for target in self._service.targets.values()
            if target.name != row.target and target.state != "draining"
        }

    def _page(self, request: Request, name: str, code: int = 200, **values: Any) -> HTMLResponse:
        return self._pages.page(request, name, code, targets=[*self._service.targets], **values)


def _storable(text: str) -> str:
    """Return an id, unless PostgreSQL can hold none of that kind."""
    if not text or "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Problem(404, "no-such-tenant", f"there is no tenant {truncate(text)}")
    return text


def _see(address: str) -> RedirectResponse:
    return RedirectResponse(address, 303)
