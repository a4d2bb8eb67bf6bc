"""The application: its endpoints, the middleware before them, and its answers to errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from influxops import __version__
from influxops_web.api import devices, health, tenants
from influxops_web.api.health import Metrics
from influxops_web.api.problems import Problem, ProblemDetails, answer
from influxops_web.console.routes import Console
from influxops_web.security import login
from influxops_web.security.middleware import AccessMiddleware
from influxops_web.service import Service

_ROUTERS = (tenants.router, devices.router, login.router, health.router)
_KINDS = {
    400: "not-readable",
    404: "not-found",
    405: "no-such-method",
    413: "too-large",
    415: "media-type",
}
_WHAT = {404: "there is nothing at this path", 405: "this path does not take this method"}
_LOGIN_PAGE = {
    "tags": ["session"],
    "summary": "The page to log in at",
    "operationId": "login_page",
    "parameters": [
        {
            "name": "next",
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": "Where to go then.",
        }
    ],
    "responses": {
        "200": {
            "description": "A page for people.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    },
}


def create_app(service: Service) -> FastAPI:
    """Return the application, which runs the service for as long as it runs itself."""
    console = Console(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            try:
                yield
            finally:
                await asyncio.to_thread(console.close)

    app = FastAPI(
        title="influxops",
        summary="Gives every tenant its own InfluxDB 3 database, and keeps it so.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.metrics = metrics = Metrics(service.provisioner)
    app.add_middleware(AccessMiddleware, service=service, metrics=metrics)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.state.routers = (*_ROUTERS, console.router)
    for router in app.state.routers:
        app.include_router(router)
    console.mount(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error, request)


async def _invalid(request: Request, error: Exception) -> Response:
    """Name the fields that are wrong, and never repeat their values."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return answer(Problem(400, "not-json", "the body is no JSON"), request)
    errors = [(".".join(map(str, each["loc"])), str(each["msg"])) for each in found[:20]]
    detail = "something in the request is not as it must be; `errors` names it"
    return answer(Problem(422, "invalid", detail, errors=errors), request)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    kind, detail = _KINDS.get(status, "http"), _WHAT.get(status, str(error.detail))
    headers = {**(error.headers or {}), **({"Allow": _allowed(request)} if status == 405 else {})}
    return answer(Problem(status, kind, detail, headers=headers), request)


def _allowed(request: Request) -> str:
    """Return the methods that a path takes, whichever route has them."""
    found: set[str] = set()
    for route in (route for router in request.app.state.routers for route in router.routes):
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(found))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description, with this service's problems instead of FastAPI's."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        found["paths"]["/login"]["get"] = _LOGIN_PAGE  # the console's, beside what programs post
        schemas = found["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        described = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= described.pop("$defs", {})
        schemas["ProblemDetails"] = described
        app.openapi_schema = found
    return app.openapi_schema
