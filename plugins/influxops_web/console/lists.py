"""Pages that list what is recorded: runs, what is due to be dropped, tokens, the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request

from influxops.domain.text import truncate
from influxops_web.api.problems import Problem
from influxops_web.console.pages import Pages, see, storable
from influxops_web.db import history, queries
from influxops_web.security import api_keys
from influxops_web.service import Service

#: Pages that come later than this are not asked for by a link.
_LAST_PAGE = 1_000_000
_BIGGEST = 2**63 - 1

Id = Annotated[str, Query(max_length=4000)]
Page = Annotated[int, Query(ge=1, le=_LAST_PAGE)]
Search = Annotated[str, Query(max_length=200)]


class Lists:
    """Those pages."""

    def __init__(self, service: Service, pages: Pages) -> None:
        self._service, self._pages = service, pages

    async def due(self, request: Request, page: Page = 1) -> Any:
        """Show old copies and retiring databases, and when each may be dropped."""
        asked = queries.TenantFilter(page=page, sort="due", has_due=True)
        async with self._service.transaction() as database:
            found = await queries.tenants(database, asked)
        return self._pages.page(
            request, "due.html", 404 if page > found.pages else 200, found=found
        )

    async def runs(
        self, request: Request, before: Annotated[int | None, Query(ge=1, le=_BIGGEST)] = None
    ) -> Any:
        """Show the runs that changed something."""
        async with self._service.transaction() as database:
            found = await history.runs(database, before)
        more = found[-1].last if len(found) == history.RUNS_A_PAGE else None
        return self._pages.page(
            request, "runs.html", runs=found, more=more, is_first=before is None
        )

    async def run(
        self, request: Request, id: Id = "", after: Annotated[int, Query(ge=0, le=_BIGGEST)] = 0
    ) -> Any:
        """Show what one run did."""
        async with self._service.transaction() as database:
            found = await history.run(database, storable(id), after)
        if not found and not after:
            raise Problem(404, "no-such-run", f"the history has no run {truncate(id)}")
        lines = found[: history.ENTRIES_A_PAGE]
        more = lines[-1].id if len(found) > len(lines) else None
        return self._pages.page(request, "run.html", id=id, lines=lines, more=more, after=after)

    async def tokens(self, request: Request) -> Any:
        """Show whose tokens there are; never a token itself."""
        async with self._service.connection() as database:
            found = await database.rows(api_keys.LIST)
        return self._pages.page(request, "tokens.html", tokens=found)

    async def audit(
        self,
        request: Request,
        tenant: Search = "",
        before: Annotated[int | None, Query(ge=1, le=_BIGGEST)] = None,
    ) -> Any:
        """Show what operators asked for."""
        tenant = tenant.replace("\0", "")
        async with self._service.connection() as database:
            found = await history.audited(database, tenant, before)
        more = found[-1]["id"] if len(found) == history.ENTRIES_A_PAGE else None
        return self._pages.page(request, "audit.html", lines=found, tenant=tenant, more=more)

    async def revoke(self, request: Request, id: Annotated[int, Path(ge=1, le=_BIGGEST)]) -> Any:
        """Revoke a token, which the path names: so does the audit log."""
        async with self._service.transaction() as database:
            await database.execute(api_keys.REVOKE, {"id": id})
        return see("/tokens")
