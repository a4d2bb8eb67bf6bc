"""The routes that manage databases, tables and tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from influxops_devserver.durations import parse_duration
from influxops_devserver.errors import ApiError, compact
from influxops_devserver.http.requests import Retention, read_json, read_query
from influxops_devserver.http.routing import Handler, Route, Server, by_json, by_query, send_results
from influxops_devserver.query.formats import Format, databases_batch
from influxops_devserver.storage.catalog import Kind
from influxops_devserver.storage.tokens import OPERATOR_TOKEN

TOKENS = "/api/v3/configure/token"
_DATABASES = "/api/v3/configure/database"
_TABLES = "/api/v3/configure/table"
_FIELD_TYPES = {
    "utf8": Kind.STRING,
    "int64": Kind.INTEGER,
    "uint64": Kind.UINTEGER,
    "float64": Kind.FLOAT,
    "bool": Kind.BOOLEAN,
}


class _Listing(Struct):
    format: Format
    show_deleted: bool = False


class _Database(Struct):
    db: str
    retention_period: Retention | None = None

    @property
    def retention(self) -> int | None:
        return None if self.retention_period is None else self.retention_period.seconds


class _Deletion(Struct):
    db: str
    hard_delete_at: str | None = None


class _Name(Struct):
    db: str


class _Period(Struct):
    db: str
    duration: str


class _Field(Struct):
    name: str
    type: Literal["utf8", "int64", "uint64", "float64", "bool"]


class _NewTable(Struct):
    db: str
    table: str
    tags: list[str]
    fields: list[_Field]


class _Table(Struct):
    db: str
    table: str


class _NewToken(Struct):
    token_name: str
    expiry_secs: Annotated[int, Meta(ge=0)] | None = None


class _Token(Struct):
    token_name: str


async def _list_databases(server: Server, request: Request) -> Response:
    asked = read_query(request, _Listing)
    databases = server.catalog.databases.values()
    return await send_results([databases_batch(databases, asked.show_deleted)], asked.format)


def _set_retention(server: Server, asked: _Period) -> None:
    try:
        seconds = parse_duration(asked.duration) // 10**9
    except ValueError as error:
        raise ApiError(400, f"Cannot parse the given human time: {error}") from None
    server.catalog.set_retention(asked.db, seconds)


def _create_table(server: Server, asked: _NewTable) -> None:
    fields = {field.name: _FIELD_TYPES[field.type] for field in asked.fields}
    server.catalog.create_table(asked.db, asked.table, asked.tags, fields)


async def _create_admin_token(server: Server, _: Request) -> Response:
    return _new_token(server, OPERATOR_TOKEN, None)


async def _create_named_token(server: Server, request: Request) -> Response:
    asked = await read_json(request, _NewToken)
    return _new_token(server, asked.token_name, asked.expiry_secs)


def _new_token(server: Server, name: str, expiry_seconds: int | None) -> Response:
    token, secret = server.tokens.create(name, expiry_seconds)
    content = {
        "id": token.id,
        "name": token.name,
        "token": secret,
        "hash": token.hash,
        "created_at": _rfc3339(token.created_ms),
        "expiry": None if token.expiry_ms is None else _rfc3339(token.expiry_ms),
    }
    return Response(compact(content), 201, {"content-type": "json"})


def _rfc3339(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


ROUTES: dict[Route, Handler] = {
    ("GET", _DATABASES): _list_databases,
    ("POST", _DATABASES): by_json(
        _Database, lambda server, new: server.catalog.create_database(new.db, new.retention)
    ),
    ("PUT", _DATABASES): by_json(
        _Database, lambda server, new: server.catalog.set_retention(new.db, new.retention)
    ),
    ("DELETE", _DATABASES): by_query(
        _Deletion, lambda server, old: server.catalog.delete_database(old.db, old.hard_delete_at)
    ),
    ("POST", f"{_DATABASES}/retention_period"): by_query(_Period, _set_retention, 204),
    ("DELETE", f"{_DATABASES}/retention_period"): by_query(
        _Name, lambda server, asked: server.catalog.set_retention(asked.db, None), 204
    ),
    ("POST", _TABLES): by_json(_NewTable, _create_table),
    ("DELETE", _TABLES): by_query(
        _Table, lambda server, old: server.catalog.delete_table(old.db, old.table)
    ),
    ("POST", f"{TOKENS}/admin"): _create_admin_token,
    ("POST", f"{TOKENS}/named_admin"): _create_named_token,
    ("DELETE", TOKENS): by_query(_Token, lambda server, old: server.tokens.delete(old.token_name)),
}
