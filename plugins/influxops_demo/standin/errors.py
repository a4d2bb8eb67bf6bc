"""What the server says when it refuses: each error with its status and its body.

The bodies come in three shapes (bare text, ``{"error": …}``, and that with ``data``), and which
error has which shape follows no rule, so all of them are written down here and nowhere else.
"""

from __future__ import annotations

import json
from typing import Any


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        body: the body as it is sent.
    """

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def compact(content: Any) -> str:
    """JSON without blanks."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def json_body(error: str, data: Any = None) -> str:
    """The JSON shape of an error body, compact, with ``data`` only where there is any."""
    body: dict[str, Any] = {"error": error}
    if data is not None:
        body["data"] = data
    return compact(body)


# Requests


def route_not_found() -> ApiError:
    """No such path, or no such method on it: the server does not tell them apart."""
    return ApiError(404, "Not found")


def tokens_disabled() -> ApiError:
    """Token endpoints on a server without authorization."""
    return ApiError(405, "endpoint disabled, started without auth")


def unauthenticated() -> ApiError:
    """No token, an unknown one or an expired one. The blank after the colon is the server's."""
    return ApiError(401, '{"error": "the request was not authenticated"}')


def malformed_authorization() -> ApiError:
    """An ``Authorization`` header that is not two words with a known scheme."""
    text = (
        "Authorization header was malformed, the request was not in the form of "
        "'Authorization: <auth-scheme> <token>', supported auth-schemes are Bearer, Token and Basic"
    )
    return ApiError(400, f'{{"error": "{text}"}}')


def content_type_not_json() -> ApiError:
    """A JSON endpoint that got another content type, or none."""
    return ApiError(415, "unacceptable content-type, expected: application/json")


def bad_json(detail: str) -> ApiError:
    """A JSON body that does not fit."""
    return ApiError(400, f"serde json error: {detail}")


def bad_query_string(detail: str) -> ApiError:
    """URL parameters that do not fit."""
    return ApiError(400, f"serde error: {detail}")


def query_parameters_missing() -> ApiError:
    """A query by GET with no parameters at all."""
    return ApiError(400, "missing query parameters 'db' and 'q'")


def write_parameters_missing() -> ApiError:
    """A write with no parameters at all."""
    return ApiError(400, "missing query parameter 'db'")


def bad_accept_header(value: str) -> ApiError:
    """An ``Accept`` header that names no format of results."""
    return ApiError(400, f"invalid mime type ({value})")


def bad_content_encoding(value: str) -> ApiError:
    """Another content encoding than gzip."""
    return ApiError(400, f"unacceptable content-encoding: {value}")


def bad_gzip(detail: str) -> ApiError:
    """A body that says it is gzip and is not."""
    return ApiError(400, f"error decoding gzip stream: {detail}")


def not_utf8(detail: str) -> ApiError:
    """Line protocol that is not UTF-8."""
    return ApiError(400, f"body content is not valid utf8: {detail}")


def body_too_large(limit: int) -> ApiError:
    """A body above the limit, before or after decompression."""
    return ApiError(413, f"max request size ({limit} bytes) exceeded")


def bad_duration(detail: str) -> ApiError:
    """A retention period in the URL that is no duration."""
    return ApiError(400, f"Cannot parse the given human time: {detail}")


def bad_timestamp(detail: str) -> ApiError:
    """A ``hard_delete_at`` that is neither a keyword nor an RFC 3339 time."""
    return ApiError(400, f"Cannot parse the timestamp: {detail}")


# Catalog


def already_exists() -> ApiError:
    """The database or table is there already; nothing is said of its retention or columns."""
    return ApiError(409, "attempted to create a resource that already exists")


def already_deleted(name: str) -> ApiError:
    """A change of something that is deleted softly."""
    return ApiError(409, f"attempted to modify resource that was already deleted: {name}")


def not_found(name: str) -> ApiError:
    """No such database or token."""
    return ApiError(404, f"the requested resource was not found: {name}")


def database_of_table_not_found(name: str) -> ApiError:
    """No such database, said by the endpoint that deletes tables."""
    return ApiError(404, f"Database not found {name}")


def table_not_found(database: str, table: str) -> ApiError:
    """No such table, said by the endpoint that deletes tables."""
    return ApiError(404, f"Table {table} not in DB schema for {database}")


def internal_database(verb: str) -> ApiError:
    """An attempt to ``delete`` or ``modify`` the internal database: a 500, no mistake."""
    return ApiError(500, f"cannot {verb} internal db")


def invalid_name(rule: str) -> ApiError:
    """A database name that breaks a rule."""
    return ApiError(400, json_body(rule))


def too_many_databases(limit: int) -> ApiError:
    """The limit of databases is reached."""
    return ApiError(
        422, json_body(f"Adding a new database would exceed limit of {limit} databases")
    )


def too_many_tables(current: int, limit: int) -> ApiError:
    """The limit of tables, over all databases together, is reached."""
    return ApiError(422, json_body(too_many_tables_text(current, limit)))


def too_many_tables_text(current: int, limit: int) -> str:
    """The words for the limit of tables, which a write reports once a line."""
    return (
        "Update to schema would exceed number of tables limit: attempted to create table "
        f"but already have {current} table(s) (limit: {limit})"
    )


def reserved_column_text(name: str) -> str:
    """The words for a tag or field that takes a reserved name."""
    return f"'{name}' is a reserved column"


def column_type_text(name: str, expected: str, got: str) -> str:
    """The words for a column that exists with another type."""
    return f"invalid column type for column '{name}', expected {expected}, got {got}"


def bad_column(text: str) -> ApiError:
    """A column that a new table cannot have."""
    return ApiError(400, text)


def token_exists(name: str) -> ApiError:
    """A token of that name exists."""
    return ApiError(409, f"token name already exists, {name}")


def operator_token() -> ApiError:
    """The first admin token cannot be deleted."""
    return ApiError(405, "cannot delete operator token")


# Writes


def empty_write() -> ApiError:
    """Not one line in the body."""
    return ApiError(400, "incoming write was empty")


def database_is_deleted(name: str) -> ApiError:
    """A write into a database that is deleted softly, by its new name."""
    text = f"cannot write to soft-deleted database '{name}' - it is marked for deletion"
    return ApiError(400, json_body(text))


def line_refused(line: dict[str, Any]) -> ApiError:
    """The first bad line of a write that accepts no partial success."""
    return ApiError(400, json_body("line protocol parsing error", line))


def partial_write(lines: list[dict[str, Any]]) -> ApiError:
    """Some lines, or all, were refused and the others written.

    It is 422 where a limit was the reason for any of them, else 400.
    """
    limits = ("Update to schema would exceed number of",)
    hit = any(str(line["error_message"]).startswith(limits) for line in lines)
    body = json_body("partial write of line protocol occurred", lines)
    return ApiError(422 if hit else 400, body)


# Queries


def query_database_not_found(name: str) -> ApiError:
    """A query of a database that is not there."""
    return ApiError(404, json_body(f"query error: database not found: {name}"))


def query_not_planned(text: str) -> ApiError:
    """A query that cannot be planned; the words are DataFusion's.

    Planning and syntax errors are 400, things not implemented 405, everything else (an unknown
    column among it) 500.
    """
    if text.startswith(("Error during planning", "SQL error")):
        return ApiError(400, text)
    return ApiError(405 if text.startswith("This feature is not implemented") else 500, text)


def query_not_executed(text: str) -> ApiError:
    """A query that fails while it runs."""
    return ApiError(500, f"query error: error while executing plan: {text}")
