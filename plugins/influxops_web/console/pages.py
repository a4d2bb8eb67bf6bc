"""How the console's pages are rendered, and the files that they need beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup, escape
from starlette.staticfiles import StaticFiles

from influxops import __version__
from influxops.domain.database import Unknown
from influxops.domain.durations import format_duration_approx
from influxops.domain.text import format_time, one_line, pluralize, truncate
from influxops.report.wording import format_entry, format_retention
from influxops_web.api.problems import Problem
from influxops_web.console import wording
from influxops_web.console.servers import SPANS
from influxops_web.db import queries
from influxops_web.fleet import FAULTS

#: Tables of a database that are named; how many more there are is said.
_TABLES = 20


class Pages:
    """The templates."""

    def __init__(self, targets: Iterable[str]) -> None:
        self._templates = _environment()
        self._templates.globals["targets"] = [*targets]

    def page(self, request: Request, name: str, code: int = 200, **values: Any) -> HTMLResponse:
        """Return a page as an answer, with what its template shows beside what all pages do."""
        operator = request.scope.get("state", {}).get("operator")
        text = self._templates.get_template(name).render(
            me=operator,
            csrf=operator.csrf if operator is not None else "",
            path=request.url.path,
            now=datetime.now(UTC),
            **values,
        )
        return HTMLResponse(text, code)


def mount_assets(app: FastAPI) -> None:
    """Serve the stylesheets: Bootstrap's, which a package carries, and the console's own."""
    bootstrap = files("js_lib_bootstrap5").joinpath("static", "js-lib-bootstrap5", "css")
    app.mount("/assets", _Assets(directory=str(bootstrap)))
    static = files("influxops_web.console").joinpath("static")
    app.mount("/static", _Assets(directory=str(static)))


class _Assets(StaticFiles):
    """Files that a browser may keep: their addresses name the version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "public, max-age=86400"
        return response


def link(path: str, **query: Any) -> str:
    """Return an address; what is empty is left out."""
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def storable(text: str) -> str:
    """Return an id, unless PostgreSQL can hold none of that kind."""
    if not text or "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Problem(404, "no-such-tenant", f"there is no tenant {truncate(text)}")
    return text


def see(address: str) -> RedirectResponse:
    """Return the answer that leads to a page."""
    return RedirectResponse(address, 303)


def age(since: datetime) -> str:
    """Return how long ago something was."""
    return f"{format_duration_approx((datetime.now(UTC) - since).total_seconds())} ago"


def _words(text: str) -> Markup:
    """Return advice for a page: what is to be typed is set as code, without its backticks."""
    code, parts = Markup("<code>{}</code>"), one_line(text).split("`")
    return Markup("").join(code.format(p) if n % 2 else escape(p) for n, p in enumerate(parts))


def _environment() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("influxops_web.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "shown": lambda text: truncate(text or ""),
        "line": lambda text: one_line(text or ""),
        "retention": lambda found: (
            "not known" if isinstance(found, Unknown) else format_retention(found)
        ),
        "happened": lambda entry: one_line(format_entry(entry)),
        "words": _words,
        "number": lambda number: "not known" if number is None else f"{number:,}",
    }
    shared: Mapping[str, Any] = {
        "version": __version__,
        "link": link,
        "count": pluralize,
        "moment": format_time,
        "STATES": wording.STATES,
        "COLOURS": wording.COLOURS,
        "SPANS": SPANS,
        "TABLES": _TABLES,
        "STATUSES": queries.STATUSES,
        "PLACED": wording.PLACED,
        "FAULTS": FAULTS,
        "ORDER": (*FAULTS, *queries.WORST_FIRST),
        "unit_of": wording.unit_of,
        "meaning": wording.state_of,
        "slots": wording.slots,
        "age": age,
    }
    pages.globals |= shared
    return pages
