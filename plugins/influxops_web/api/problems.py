"""Problem details (RFC 9457): the body of every answer with an error status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from influxops_web.api.schemas import example

MEDIA_TYPE = "application/problem+json"
#: Seconds after which it is worth trying again, where PostgreSQL is unavailable.
RETRY_AFTER = 2


class WrongField(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Where: `body.name`, `query.page`.")
    message: str = Field(description="What is wrong there.")


class ProblemDetails(BaseModel):
    """What went wrong, as RFC 9457 says."""

    model_config = example(
        type="urn:influxops:problem:no-such-tenant",
        title="Not Found",
        status=404,
        detail="there is no tenant acme",
    )

    type: str = Field(description="The kind of problem; programs go by it.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, and what to do.")
    errors: list[WrongField] = Field(default=[], description="What is wrong with which field.")


class Problem(Exception):
    """Ends a request with problem details.

    Programs go by the `kind`, as `no-such-tenant`. The detail says what is wrong and what to do,
    and repeats no secret; `errors` are pairs of a field and what is wrong with it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.errors = dict(headers or {}), tuple(errors)

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def document(self) -> dict[str, Any]:
        """Return what the answer's body says."""
        found: dict[str, Any] = {
            "type": f"urn:influxops:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            found["errors"] = [{"where": where, "message": what} for where, what in self.errors]
        return found


def answer(problem: Problem, request: Request) -> Response:
    """Return the answer: a page where a person asks and the console has one, else JSON."""
    page = getattr(request.app.state, "error_page", None) if "app" in request.scope else None
    if page is not None and wants_page(request):
        shown: Response = page(request, problem)
        shown.status_code = problem.status
        shown.headers.update(problem.headers)
        return shown
    return JSONResponse(
        problem.document(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def is_api(path: str) -> bool:
    """Return whether a path is one of the API, which programs call."""
    return path.startswith(("/operator/", "/api/")) or path in ("/operator", "/api")


def wants_page(request: Request) -> bool:
    """Return whether a person in front of a browser asks, rather than a program."""
    return not is_api(request.url.path) and "text/html" in request.headers.get("accept", "")


def database_unavailable() -> Problem:
    """Return the problem that the service's database does not answer."""
    return Problem(
        503,
        "database-away",
        "the service's database does not answer; nothing was done, try again",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def missing_right() -> Problem:
    """Return the problem that the service's database user may not do what it has to."""
    return Problem(
        503,
        "missing-right",
        "the service's user of its database lacks a right; nothing was done. The service's log "
        "names what was denied, and `influxops docs service` the rights that it takes",
    )


def outcome_unknown() -> Problem:
    """Return the problem that it is not known whether a write was stored."""
    return Problem(
        503,
        "outcome-unknown",
        "the connection to the service's database broke while this was committed: whether it was "
        "stored is not known; look for it before you send it again",
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses in OpenAPI for the problems that an endpoint may answer with.

    Where a token may be no good, there may be too many of them.
    """
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in (*statuses, *((429,) if 401 in statuses else ()))
    }
