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
from influxops.engine.operations import Adopt, Move, Operation, Retire, Unretire
from influxops.provisioner.results import EnsureStatus
from influxops.provisioner.validation import InvalidRequest
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from influxops_web.api.problems import Problem
from influxops_web.api.schemas import TENANT_ID, TEXT
from influxops_web.console import wording
from influxops_web.console.chart import chart
from influxops_web.console.lists import Id, Lists, Page, Search
from influxops_web.console.pages import Pages, link, mount_assets, see, storable
from influxops_web.console.runs import OperatorRuns
from influxops_web.console.servers import SPANS, Contents, Span, fault_now, read_contents
from influxops_web.db import history, queries
from influxops_web.db.devices import Devices, devices
from influxops_web.db.queries import TenantRow
from influxops_web.fleet import fault_of
from influxops_web.security.sessions import operator_of, origin_of
from influxops_web.service import Service

#: Tenants that wait and are named; how many more there are is said.
_WAITING_SHOWN = 50

Named = Annotated[str, Form(alias="id", max_length=4000)]


class Console:
    """The pages."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs = OperatorRuns(service.config, service.engines)
        self._pages = Pages(service.targets)
        lists = Lists(service, self._pages)
        self.router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
        for path, page in (
            ("/", self.tenants),
            ("/login", self.login),
            ("/tenant", self.tenant),
            ("/tenant/retire", self.ask_retire),
            ("/tenant/move", self.ask_move),
            ("/tenant/adopt", self.ask_adopt),
            ("/create", self.ask_create),
            ("/due", lists.due),
            ("/tokens", lists.tokens),
            ("/audit", lists.audit),
            ("/fleet", self.fleet),
            ("/runs", lists.runs),
            ("/run", lists.run),
        ):
            self.router.add_api_route(path, page, methods=["GET"])
        for path, act in (
            ("/tenant/ensure", self.ensure),
            ("/tenant/retire", self.retire),
            ("/tenant/unretire", self.unretire),
            ("/tenant/move", self.move),
            ("/tenant/adopt", self.adopt),
            ("/create", self.create),
            ("/tokens/{id}/revoke", lists.revoke),
        ):
            self.router.add_api_route(path, act, methods=["POST"])

    def mount(self, app: FastAPI) -> None:
        """Add what the pages look like, and the page that says what went wrong."""
        mount_assets(app)
        app.state.error_page = self.error

    def close(self) -> None:
        """End what is under way."""
        self._runs.close()

    # Pages -----------------------------------------------------------------------------------

    async def login(self, request: Request, after: Annotated[str, Query(alias="next")] = "") -> Any:
        """Show where an operator logs in."""
        return self._pages.page(request, "login.html", after=after, wrong="")

    async def tenants(
        self,
        request: Request,
        q: Search = "",
        state: Search = "",
        status: Search = "",
        target: Search = "",
        sort: Search = "tenant",
        page: Page = 1,
    ) -> Any:
        """Show the tenants, or those that are looked for, and above them what is wrong."""
        q, target = q.replace("\0", ""), target.replace("\0", "")
        state = state if state in wording.STATES else ""
        status = status if status in queries.STATUSES else ""
        key = sort.removeprefix("-")
        key = key if key in queries.SORTS else "tenant"
        servers = await self._service.servers(soon=True)
        asked = queries.TenantFilter(
            q,
            state,
            status,
            target,
            page,
            key,
            sort.startswith("-"),
            {name: each.fault for name, each in servers.items() if each.fault},
        )
        async with self._service.transaction() as database:
            missing = await self._service.fleet.missing(database, servers)
            found = await queries.tenants(database, replace(asked, missing=missing))
            counts, _ = await self._service.fleet.count_states(database, servers)
        chosen = {"q": q, "state": state, "status": status, "target": target}

        def paged(number: int, by: str = sort) -> str:
            return link("/", **chosen, sort=by, page=number if number > 1 else "")

        return self._pages.page(
            request,
            "tenants.html",
            404 if page > found.pages else 200,
            found=found,
            asked=asked,
            paged=paged,
            counts=counts,
            servers=servers,
            faults={row.tenant: fault_of(row, servers) for row in found.rows},
        )

    async def tenant(
        self,
        request: Request,
        id: Id = "",
        span: Search = "24h",
        ensured: Search = "",
        still: bool = False,
    ) -> Any:
        """Show what is known of a tenant."""
        chosen = SPANS.get(span, SPANS["24h"])
        row, lines, devices = await self._read(request, id)
        servers, (contents, where) = await asyncio.gather(
            self._service.servers(soon=True), self._ask(row, chosen)
        )
        fault = fault_now(row, contents, where, servers)
        drawn = None
        if contents is not None and contents.activity is not None:
            drawn = chart(contents.activity, chosen.words)
        return self._pages.page(
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
            fault=fault,
            notices=wording.notices(row, contents, where, fault),
            run=self._runs.of(row.tenant),
            still=still,
            ensured=wording.ENSURED.get(ensured),
            can_move=row.state in ("ready", "moving") and len(self._service.targets) > 1,
        )

    async def fleet(self, request: Request) -> Any:
        """Show the servers, and the tenants that wait for a database."""
        servers = await self._service.servers(soon=True)
        async with self._service.transaction() as database:
            counts, missing = await self._service.fleet.count_states(database, servers)
            waiting, total = await queries.waiting(database, _WAITING_SHOWN)
        return self._pages.page(
            request,
            "fleet.html",
            servers=servers,
            counts=counts,
            missing=missing,
            waiting=waiting,
            total=total,
        )

    def error(self, request: Request, problem: Problem) -> Response:
        """Show what went wrong."""
        if request.url.path == "/login" and problem.status in (401, 429):
            after = getattr(request.state, "after", "")
            return self._pages.page(request, "login.html", after=after, wrong=problem.detail)
        return self._pages.page(request, "error.html", problem=problem)

    # What is done ----------------------------------------------------------------------------

    async def ask_create(self, request: Request) -> Any:
        """Ask for a new tenant."""
        return self._pages.page(request, "create.html", pattern=TENANT_ID.strip("^$"))

    async def create(
        self,
        request: Request,
        id: Annotated[str, Form(pattern=TENANT_ID)],
        name: Annotated[str, Form(max_length=200, pattern=TEXT)] = "",
    ) -> Any:
        """Create a tenant."""
        request.state.tenant = id
        how = (await self._service.create(id, name, origin_of(request, "console"))).status
        return see(link("/tenant", id=id, ensured=how.value))

    async def ask_adopt(self, request: Request, id: Id = "") -> Any:
        """Ask which database is to become a tenant's."""
        row, _, _ = await self._read(request, id)
        return self._pages.page(request, "adopt.html", row=row)

    async def adopt(
        self, request: Request, id: Named, database: Annotated[str, Form(max_length=200)] = ""
    ) -> Any:
        """Make a database a tenant's; without a name the one that it should have."""
        row, _, _ = await self._read(request, id)
        return await self._start(request, row, "adopt", Adopt({row.tenant: database or None}))

    async def ensure(self, request: Request, id: Named) -> Any:
        """Ensure that a tenant has its database."""
        row, _, _ = await self._read(request, id)
        try:
            origin = origin_of(request, "console")
            found = await self._service.ensure(row.tenant, origin)
            how = found.status
        except InvalidRequest:
            how = EnsureStatus.FAILED  # no database can have this id; the page says why
        return see(link("/tenant", id=row.tenant, ensured=how.value))

    async def ask_retire(self, request: Request, id: Id = "") -> Any:
        """Ask whether a tenant is to be retired."""
        row, _, devices = await self._read(request, id)
        return self._pages.page(
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
        """Ask where a tenant is to be moved, and show where there is room."""
        row, _, _ = await self._read(request, id)
        servers, (contents, _) = await asyncio.gather(
            self._service.servers(soon=True), self._ask(row, SPANS["24h"])
        )
        begun = row.secondary_target if row.state == "moving" else None
        if begun and row.drop_after is not None:
            begun = row.target  # it is there already, and the rest of its rows follows
        others = [
            (name, each)
            for name, each in servers.items()
            if name == begun
            or (name != row.target and each.target is not None and each.target.state != "draining")
        ]
        # The one with most room first; a full one, or one that is away, is not chosen beforehand.
        others.sort(key=lambda other: -other[1].room)
        chosen = begun or ""
        if not chosen and others and others[0][1].room > 0:
            chosen = others[0][0]
        return self._pages.page(
            request,
            "move.html",
            row=row,
            others=others,
            chosen=chosen,
            contents=contents,
            kept=self._service.retire_after,
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
        return see(link("/tenant", id=row.tenant))

    async def _read(
        self, request: Request, id_: str
    ) -> tuple[TenantRow, list[history.Line], Devices]:
        id_ = storable(id_)
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
                read_contents(self._service.fleet, row.target, row.database, span), self._doubt(row)
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
