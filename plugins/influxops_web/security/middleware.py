"""Access to every endpoint: authenticates, authorizes, limits and audits each request.

Everything but a few paths is for operators: an endpoint that says nothing about it is closed. The
method decides which role is needed. What a request brings is limited here, and read before anything
is parsed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from influxops_web.api.health import Metrics
from influxops_web.api.problems import Problem, answer, database_unavailable, is_api, wants_page
from influxops_web.security.login import count_failure
from influxops_web.security.rate_limits import readable_address
from influxops_web.security.sessions import Operator, brings_csrf, media_type, without_tokens
from influxops_web.service import Service, log

#: What needs no credentials.
_OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/favicon.ico")
_OPEN_FOLDERS = ("/assets/", "/static/")
#: The endpoint itself authenticates here; each attempt is audited.
_LOGIN = "/login"
#: What reads, and changes nothing.
_READS = ("GET", "HEAD", "OPTIONS", "TRACE")
#: Seconds that a request's body may take to arrive.
_ARRIVES = 10.0

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class AccessMiddleware:
    """Lets requests of operators through, and writes the audit log."""

    def __init__(self, app: ASGIApp, service: Service, metrics: Metrics) -> None:
        self._app, self._service, self._metrics = app, service, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        handler = _RequestHandler(self._app, self._service, scope, receive, send)
        await handler.handle()
        handler.count(self._metrics)


class _RequestHandler:
    """One request."""

    def __init__(
        self, app: ASGIApp, service: Service, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._app, self._service, self._scope = app, service, scope
        self._receive, self._send = receive, send
        self._request = Request(scope, receive)
        self._path: str = scope["path"]
        self._method: str = scope["method"]
        self._operator: Operator | None = None
        self._began = time.perf_counter()
        self._status = 0
        self._withheld = False
        self._unaudited: Problem | None = None  # why it could not be written to the audit log
        self._state = scope.setdefault("state", {})

    async def handle(self) -> None:
        try:
            refusal = await self._refusal()
            if refusal is not None:
                await refusal(self._scope, self._receive, self._answer)
            else:
                await self._app(self._scope, self._receive, self._answer)
        except Problem as problem:
            if not self._status:
                await answer(problem, self._request)(self._scope, self._receive, self._answer)
        except Exception:
            log.exception("%s %s failed", self._method, without_tokens(self._path))
            if not self._status:
                fault = Problem(500, "fault", "this is a fault in influxops; the log says more")
                await answer(fault, self._request)(self._scope, self._receive, self._answer)

    # Access ----------------------------------------------------------------------------------

    async def _refusal(self) -> Response | None:
        """Return the answer to a request without access; None for one with access."""
        if self._is_open:
            return None
        if self._path == _LOGIN:
            if self._writes:
                self._refuse_other_sites()
                self._replay(await self._body())
            return None
        credentials = self._service.sessions.credentials(self._request)
        operator = await self._service.operator(credentials) if credentials is not None else None
        if operator is None:
            if not self._writes and wants_page(self._request):
                query = self._scope["query_string"].decode("ascii", "replace")
                address = f"{self._path}?{query}" if query else self._path
                after = quote(address, safe="/") if address != "/" else ""
                return RedirectResponse(f"{_LOGIN}?next={after}" if after else _LOGIN, 303)
            count_failure(self._request)
            raise Problem(
                401,
                "not-logged-in",
                "an operator's token is needed, which is known and not revoked "
                "(Authorization: Bearer …), or the session cookie",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._operator = self._state["operator"] = operator
        if not self._writes:
            return None
        body = await self._body()
        if operator.via == "cookie":
            self._refuse_other_sites()
            if not brings_csrf(self._request, body, operator.csrf):
                raise Problem(
                    403,
                    "csrf",
                    "a write with the session cookie needs the session's CSRF token "
                    "(X-CSRF-Token, or csrf_token in a form); GET /session gives it",
                )
        if not operator.may_write and self._path != "/logout":
            raise Problem(403, "role", "the role operator reads only; operator_admin may write")
        if is_api(self._path) and body and media_type(self._request) != "application/json":
            raise Problem(415, "media-type", "the body must be JSON (application/json)")
        self._replay(body)
        return None

    @property
    def _is_open(self) -> bool:
        return self._path in _OPEN or self._path.startswith(_OPEN_FOLDERS)

    @property
    def _writes(self) -> bool:
        return self._method not in _READS

    def _refuse_other_sites(self) -> None:
        headers = self._request.headers
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_other = site in ("cross-site", "same-site")
        if site is None and origin is not None:  # a browser says it over TLS and to itself alone
            is_other = origin.partition("://")[2].lower() != headers.get("host", "").lower()
        if is_other:
            raise Problem(403, "csrf", "another site's page may not write here")

    # What it brings --------------------------------------------------------------------------

    async def _body(self) -> bytes:
        limit = self._service.web.body_limit
        too_large = Problem(413, "too-large", f"the body is larger than {limit:,} bytes")
        length = self._request.headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > 12 or int(length) > limit):
            raise too_large
        found = bytearray()
        try:
            async with asyncio.timeout(_ARRIVES):
                async for part in self._request.stream():
                    found += part
                    if len(found) > limit:
                        raise too_large
        except TimeoutError:
            raise Problem(408, "too-slow", "the body did not arrive in time") from None
        except ClientDisconnect:  # the answer is not read, but counted and audited
            raise Problem(400, "incomplete", "the body did not arrive in full") from None
        return bytes(found)

    def _replay(self, body: bytes) -> None:
        """Let the endpoint read what was read here."""
        receive, parts = self._receive, [body]

        async def again() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            return await receive()

        self._receive = again

    # What is answered ------------------------------------------------------------------------

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._status:
            self._status = message["status"]
            if not await self._audited() and self._status < 400 and not self._writes:
                # What cannot be audited is not shown.
                self._withheld, self._status = True, 503
                await answer(self._unaudited or database_unavailable(), self._request)(
                    self._scope, self._receive, self._pass_on
                )
        if not self._withheld:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            added = _added(names, self._scope["scheme"])
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

    async def _audited(self) -> bool:
        """Write the request to the audit log; return whether that was done, or is not needed."""
        if self._is_open or self._status == 429:  # a flood of attempts is not to fill the disk
            return True
        who = self._operator
        is_known = who is not None or self._state.get("token") is not None
        # Whether a token is good is unknown while PostgreSQL is unavailable.
        if not is_known and self._status != 503 and self._service.anonymous.fail(self._address):
            return True
        named = self._state.get("tenant") or self._scope.get("path_params", {}).get("tenant_id")
        try:
            await self._service.audit(
                {
                    "token": who.token if who else self._state.get("token"),
                    "who": who.who if who else self._state.get("who", ""),
                    "role": who.role.value if who else "",
                    "via": who.via if who else "",
                    "method": self._method[:20],
                    "path": _storable(self._path)[:500],
                    "tenant": _storable(str(named))[:128] if named else None,
                    "status": self._status,
                    "address": self._address,
                }
            )
        except Exception as error:
            # The row may be there nevertheless, where just the answer to it was lost.
            self._unaudited = error if isinstance(error, Problem) else None
            why: object = error
            if isinstance(error, Problem):
                is_denied = error.kind == "missing-right"
                why = "its user lacks a right" if is_denied else "its database did not answer"
            log.error("the audit log may lack %s %s: %s", self._method, self._shown, why)
            return False
        return True

    def count(self, metrics: Metrics) -> None:
        """Count the request, and write a line of the log."""
        seconds = time.perf_counter() - self._began
        route = getattr(self._scope.get("route"), "path", "none")
        method = self._method if self._method in _METHODS else "other"
        metrics.requests.labels(method, route, self._status).inc()
        metrics.seconds.labels(route).observe(seconds)
        if self._path not in _OPEN:
            who = self._operator.who if self._operator else "-"
            status, milliseconds = self._status, 1000 * seconds
            line = "%s %s %s %s %d %.0f ms"
            log.info(
                line, self._address or "-", who, self._method, self._shown, status, milliseconds
            )

    @property
    def _shown(self) -> str:
        return without_tokens(self._path)

    @property
    def _address(self) -> str:
        client = self._scope.get("client")
        return readable_address(str(client[0])) if client else ""


_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT")


def _added(there: Iterable[bytes], scheme: str) -> list[tuple[bytes, bytes]]:
    wanted = {**_HEADERS, "cache-control": "no-store"}
    if scheme == "https":
        wanted["strict-transport-security"] = "max-age=31536000"
    return [(k.encode(), v.encode()) for k, v in wanted.items() if k.encode() not in there]


def _storable(text: str) -> str:
    """Return a text as PostgreSQL takes it, without tokens."""
    return without_tokens(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
