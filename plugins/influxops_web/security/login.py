"""Logging in with a token, for a session cookie; and out again."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from influxops_web.api.problems import Problem, documented
from influxops_web.api.schemas import SessionInfo
from influxops_web.api.tenants import SECURED, service_of
from influxops_web.security.api_keys import digest
from influxops_web.security.sessions import COOKIE, Credentials, is_form, media_type, operator_of

router = APIRouter(tags=["session"])

_TOKEN_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "token": {"type": "string", "minLength": 1, "maxLength": 200},
                        **({"next": {"type": "string"}} if "form" in media else {}),
                    },
                    "required": ["token"],
                    "additionalProperties": False,
                },
                "examples": {"token": {"value": {"token": "iop_…"}}},
            }
            for media in ("application/json", "application/x-www-form-urlencoded")
        },
    }
}


@router.post(
    "/login",
    openapi_extra=_TOKEN_BODY,
    response_model=SessionInfo,
    responses={
        303: {"description": "After a form: go to the page that was asked for."},
        **documented(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
)
async def log_in(request: Request) -> Response:
    """Begin a session: takes a token, and sets the cookie `pulse_session`."""
    service = service_of(request)
    token, after = await _given(request)
    request.state.after = _local(after)  # for the next try, where this token is no good
    operator = await service.operator(Credentials("cookie", hash=digest(token)))
    if operator is None:
        count_failure(request)
        raise Problem(
            401,
            "no-such-token",
            "this token is not known, revoked or over",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.token, request.state.who = operator.token, operator.who
    cookie = service.sessions.make(operator)
    answer: Response
    if is_form(request):
        answer = RedirectResponse(_local(after), 303)
    else:
        csrf = service.sessions.csrf(cookie)
        answer = JSONResponse(
            {"who": operator.who, "role": operator.role.value, "via": "cookie", "csrf_token": csrf}
        )
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=service.sessions.lifetime,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def count_failure(request: Request) -> None:
    """Count a request without a good token; refuse it where its address has sent many."""
    address = request.client.host if request.client else ""
    wait = service_of(request).failures.fail(address)
    if wait:
        raise Problem(
            429,
            "too-many-failures",
            f"too many requests without a good token; try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )


async def _given(request: Request) -> tuple[str, str]:
    """Return the token, and where to go then."""
    body = await request.body()
    found: Any
    if is_form(request):
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
        except ValueError:
            raise Problem(422, "invalid", "the form has too many fields") from None
        found = {name: values[0] for name, values in fields.items()}
    elif media_type(request) == "application/json":
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise Problem(400, "not-json", "the body is no JSON") from None
    else:
        raise Problem(415, "media-type", "the body must be JSON or a form")
    token = found.get("token") if isinstance(found, dict) else None
    if not isinstance(token, str) or not 0 < len(token) <= 200 or found.keys() - {"token", "next"}:
        raise Problem(
            422, "invalid", "a token is needed, and nothing else", errors=[("body.token", "text")]
        )
    return token, str(found.get("next", "/"))


def _local(path: str) -> str:
    """Return a path of this service; anything else becomes the first page."""
    usual = path.isascii() and path.isprintable() and "\\" not in path
    return path if usual and path.startswith("/") and not path.startswith("//") else "/"


@router.post(
    "/logout",
    status_code=204,
    dependencies=SECURED,
    responses={
        303: {"description": "After a form: go to the login."},
        **documented(401, 403, 408, 413, 422, 503),
    },
)
async def log_out(request: Request) -> Response:
    """End the session in this browser: delete the cookie."""
    answer = RedirectResponse("/login", 303) if is_form(request) else Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/session", dependencies=SECURED, responses=documented(401, 422, 503))
async def session(request: Request) -> SessionInfo:
    """Return the operator, and the CSRF token that writes with the cookie need."""
    operator = operator_of(request)
    return SessionInfo(
        who=operator.who,
        role=operator.role.value,
        via=operator.via,
        csrf_token=operator.csrf or None,
    )
