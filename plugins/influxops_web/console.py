"""The console: pages for people, on the same service and with the same rules as the API.

The server makes every page; there is no script, so nothing waits for one, and none can be brought
in. Who may come in, and who may write, the gate decides. What PostgreSQL has is read in one
transaction, which is over before a server of InfluxDB is asked; that one is never waited for
longer than the budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import urlencode

import jinja2
from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from influxops import __version__
from influxops.domain.durations import parse_duration
from influxops.domain.text import format_time, one_line, pluralize, truncate
from influxops.engine.engine import Engine
from influxops.provisioner.results import How
from influxops.provisioner.validation import WrongCall
from influxops.report.wording import format_entry, format_retention
from influxops_web import console_data as data
from influxops_web import console_words as words
from influxops_web.auth import operator_of
from influxops_web.console_look import SPANS, Contents, Looker, Place
from influxops_web.console_work import Works
from influxops_web.problems import Problem
from influxops_web.service import Service

#: Pages that come later than this are not asked for by a link.
_LAST_PAGE = 1_000_000
_BIGGEST = 2**63 - 1
#: Tables of a database that are named; how many more there are is said.
_TABLES = 20

Id = Annotated[str, Query(max_length=4000)]
Named = Annotated[str, Form(alias="id", max_length=4000)]
Search = Annotated[str, Query(max_length=200)]


class Console:
    """The pages.

    Args:
        service: What the endpoints share.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        budget = service.web.budget
        with_trouble = service.provisioner.health
        self._looker = Looker(service.config, budget, lambda: with_trouble()["trouble"])
        self._works = Works(service.config, budget)
        with Engine(service.config) as engine:
            assert engine.ledger is not None, "the service was started with one"
            settings = engine.ledger.settings
        schema = str(getattr(settings, "schema", ""))  # which a ledger in PostgreSQL has
        self._names = data.Names(service.place, schema, settings.namespace)
        self._kept = parse_duration(settings.retire_after)
        self._pages = _environment()
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
        app.mount("/assets", _Assets(directory=_bootstrap()))
        app.mount("/static", _Assets(directory=str(files("influxops_web").joinpath("static"))))
        app.state.error_page = self.error

    def close(self) -> None:
        """End what is under way."""
        self._works.close()
        self._looker.close()

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
        state = state if state in data.STATES else ""
        status = status if status in data.STATUSES else ""
        asked = data.Asked(q, state, status, target, page)
        async with self._service.transaction() as connection:
            found = await data.tenants(connection, self._names, asked)
        chosen = {"q": q, "state": state, "status": status, "target": target}

        def paged(number: int) -> str:
            return _link("/", **chosen, page=number if number > 1 else "")

        code = 404 if page > max(found.pages, 1) else 200
        return self._page(request, "tenants.html", code, found=found, asked=asked, paged=paged)

    async def tenant(
        self, request: Request, id: Id = "", span: Search = "24h", ensured: Search = ""
    ) -> Any:
        """Show all that is known of a tenant."""
        chosen = SPANS.get(span, SPANS["24h"])
        row, lines, devices = await self._read(request, id)
        contents, where = await self._ask(row, chosen)
        plot = None
        if contents is not None and contents.activity is not None:
            from influxops_web.console_plot import plot as draw

            plot = draw(contents.activity, chosen.words)
        return self._page(
            request,
            "tenant.html",
            row=row,
            lines=lines,
            devices=devices,
            contents=contents,
            where=where,
            url=self._looker.urls.get(row.target or ""),
            plot=plot,
            span=chosen,
            findings=words.findings(row, contents, where),
            work=self._works.of(row.tenant),
            ensured=words.ENSURED.get(ensured),
            can_move=row.state in ("ready", "moving") and bool(self._others(row)),
        )

    async def fleet(self, request: Request) -> Any:
        """Show the servers, and who waits for one."""
        async with self._service.transaction() as connection:
            held = {each.target: each for each in await data.held(connection, self._names)}
            waiting, total = await data.waiting(connection, self._names)
        places = await self._looker.places()
        servers = [
            {
                "name": name,
                "url": self._looker.urls.get(name),
                "held": held.get(name) or data.Held(name, {}, 0),
                "place": places.get(name) or Place(trouble="not configured any more"),
                "is_draining": name in self._looker.draining,
            }
            for name in dict.fromkeys([*self._looker.urls, *held])
        ]
        return self._page(request, "fleet.html", servers=servers, waiting=waiting, total=total)

    async def runs(
        self, request: Request, before: Annotated[int | None, Query(ge=1, le=_BIGGEST)] = None
    ) -> Any:
        """Show the runs that changed something."""
        async with self._service.transaction() as connection:
            found = await data.runs(connection, self._names, before)
        more = found[-1].last if len(found) == data.RUNS_A_PAGE else None
        return self._page(request, "runs.html", runs=found, more=more, is_first=before is None)

    async def run(
        self, request: Request, id: Id = "", after: Annotated[int, Query(ge=0, le=_BIGGEST)] = 0
    ) -> Any:
        """Show what one run did."""
        async with self._service.transaction() as connection:
            found = await data.run(connection, self._names, _storable(id), after)
        if not found and not after:
            raise Problem(404, "no-such-run", f"the history has no run {truncate(id)}")
        lines = found[: data.ENTRIES_A_PAGE]
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
        """See to it that a tenant has its database."""
        row, _, _ = await self._read(request, id)
        try:
            how = (await self._service.ensure(row.tenant)).how
        except WrongCall:
            how = How.FAILED  # no database can have this id; the page says why
        return _see(_link("/tenant", id=row.tenant, ensured=how.value))

    async def ask_retire(self, request: Request, id: Id = "") -> Any:
        """Ask whether a tenant is to be retired."""
        row, _, devices = await self._read(request, id)
        return self._page(request, "retire.html", row=row, devices=devices, kept=self._kept)

    async def retire(
        self, request: Request, id: Named, recent: Annotated[bool, Form()] = False
    ) -> Any:
        """Retire a tenant."""
        from influxops.engine.operations import Retire

        row, _, _ = await self._read(request, id)
        allow = ("recent-telemetry",) if recent else ()
        await self._works.do(
            row.tenant,
            "retire",
            operator_of(request).who,
            lambda engine, context: engine.run(Retire((row.tenant,)), context, allow=allow),
            endless=False,
        )
        return _see(_link("/tenant", id=row.tenant))

    async def unretire(self, request: Request, id: Named) -> Any:
        """Keep a tenant that is retiring."""
        from influxops.engine.operations import Unretire

        row, _, _ = await self._read(request, id)
        await self._works.do(
            row.tenant,
            "keep",
            operator_of(request).who,
            lambda engine, context: engine.run(Unretire((row.tenant,)), context),
            endless=False,
        )
        return _see(_link("/tenant", id=row.tenant))

    async def ask_move(self, request: Request, id: Id = "") -> Any:
        """Ask where a tenant is to be moved."""
        row, _, _ = await self._read(request, id)
        return self._page(request, "move.html", row=row, others=self._others(row), kept=self._kept)

    async def move(
        self, request: Request, id: Named, to: Annotated[str, Form(max_length=200)]
    ) -> Any:
        """Move a tenant to another target."""
        from influxops.engine.operations import Move

        row, _, _ = await self._read(request, id)
        if to not in self._looker.urls:
            raise Problem(422, "no-such-target", f"no target {truncate(to)} is configured")
        await self._works.do(
            row.tenant,
            f"move to {to}",
            operator_of(request).who,
            lambda engine, context: engine.run(Move(to), context),
            endless=True,
        )
        return _see(_link("/tenant", id=row.tenant))

    # How -------------------------------------------------------------------------------------

    async def _read(
        self, request: Request, id_: str
    ) -> tuple[data.Row, list[data.Line], data.Devices]:
        """Return what the database has of a tenant.

        Raises:
            Problem: When nobody knows it.
        """
        id_ = _storable(id_)
        request.state.tenant = id_  # for the audit log
        async with self._service.transaction() as connection:
            row = await data.tenant(connection, self._names, id_)
            present = self._service.devices.present
            devices = await data.devices(connection, self._names, id_, present)
            if row is None and devices.total:
                row = data.Row(id_)  # the registry has it, and no run has seen it yet
            if row is None:
                raise Problem(404, "no-such-tenant", f"there is no tenant {truncate(id_)}")
            return row, await data.history(connection, self._names, id_), devices

    async def _ask(self, row: data.Row, span: Any) -> tuple[Contents | None, str]:
        """Return what a tenant's server says, and what speaks against that place.

        Where the ledger has no place yet: None, and why.
        """
        if row.state in words.PLACED and row.target and row.database:
            # The ledger may have been restored, and another server hold what is newer.
            contents, doubt = await asyncio.gather(
                self._looker.contents(row.target, row.database, span), self._doubt(row)
            )
            return contents, doubt
        if row.state == "retired":
            return None, ""
        try:
            found = await asyncio.wait_for(
                self._service.provisioner.awhere(row.tenant), self._service.web.budget
            )
        except TimeoutError:
            return None, "no server answered in time"
        except WrongCall as error:
            return None, str(error)
        state = "it is there" if found else "this place is reserved"
        on = f"{state}: {found.database} on {found.target}" if found.target else ""
        return None, "; ".join(filter(None, (found.reason, on)))

    async def _doubt(self, row: data.Row) -> str:
        """Return why a tenant may not be where the ledger has it; empty where nothing says so."""
        if row.state != "ready" or row.status is None:  # what no source has is said anyway
            return ""
        try:
            found = await asyncio.wait_for(
                self._service.provisioner.awhere(row.tenant), self._service.web.budget
            )
        except (TimeoutError, WrongCall):
            return ""
        return found.reason if found.how is How.FAILED else ""

    def _others(self, row: data.Row) -> dict[str, str]:
        """Return the targets that a tenant could be moved to, and where they are."""
        draining = self._looker.draining
        urls = self._looker.urls.items()
        return {name: url for name, url in urls if name != row.target and name not in draining}

    def _page(self, request: Request, name: str, code: int = 200, **values: Any) -> HTMLResponse:
        operator = request.scope.get("state", {}).get("operator")
        text = self._pages.get_template(name).render(
            me=operator,
            csrf=operator.csrf if operator is not None else "",
            path=request.url.path,
            targets=self._looker.urls,
            now=datetime.now(UTC),
            **values,
        )
        return HTMLResponse(text, code)


class _Assets(StaticFiles):
    """Files that a browser may keep: their addresses name the version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "public, max-age=86400"
        return response


def _bootstrap() -> str:
    """Return the folder of Bootstrap's stylesheets, which a package carries."""
    return str(files("js_lib_bootstrap5").joinpath("static", "js-lib-bootstrap5", "css"))


def _storable(text: str) -> str:
    """Return an id, unless PostgreSQL can hold none of that kind.

    Raises:
        Problem: Then.
    """
    if not text or "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Problem(404, "no-such-tenant", f"there is no tenant {truncate(text)}")
    return text


def _see(address: str) -> RedirectResponse:
    """Return the answer to a form: the page to look at now."""
    return RedirectResponse(address, 303)


def _link(path: str, **query: Any) -> str:
    """Return an address; what is empty is left out."""
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def _environment() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("influxops_web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "shown": lambda text: truncate(text or ""),
        "line": lambda text: one_line(text or ""),
        "moment": words.until,
        "retention": lambda seconds: format_retention(seconds) or "not known",
        "happened": lambda entry: one_line(format_entry(entry)),
        "number": lambda number: "not known" if number is None else f"{number:,}",
    }
    shared: Mapping[str, Any] = {
        "version": __version__,
        "link": _link,
        "count": pluralize,
        "moment": format_time,
        "STATES": words.STATES,
        "COLOURS": words.COLOURS,
        "SPANS": SPANS,
        "TABLES": _TABLES,
        "STATUSES": data.STATUSES,
        "PLACED": words.PLACED,
    }
    pages.globals |= shared
    return pages
