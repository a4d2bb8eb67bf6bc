"""A request that is refused, as the server words it.

Its bodies come in three shapes (bare text, ``{"error": …}``, and that with ``data``), and which
error has which shape follows no rule: each is written where it is raised.
"""

from __future__ import annotations

import json
from typing import Any


class ApiError(Exception):
    """A request that is answered with an error; the body is sent as it is."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


class ColumnRefused(ValueError):
    """A column or table that cannot be added; the message is the server's."""


def json_error(status: int, error: str, data: Any = None) -> ApiError:
    """Return an error with a JSON body, which has ``data`` only where there is any."""
    return ApiError(status, compact({"error": error} | ({} if data is None else {"data": data})))


def not_found(name: str) -> ApiError:
    """Return the error for a database or token that does not exist."""
    return ApiError(404, f"the requested resource was not found: {name}")


def already_exists() -> ApiError:
    """Return the error for a database or table that exists already."""
    return ApiError(409, "attempted to create a resource that already exists")


def compact(content: Any) -> str:
    """Return JSON without blanks."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)
