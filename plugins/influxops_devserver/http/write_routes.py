"""The write paths of versions 1, 2 and 3, which differ in what they refuse and how they say it."""

from __future__ import annotations

import json
import time

from starlette.requests import Request
from starlette.responses import Response

from influxops_devserver.errors import ApiError, DatabaseLimit, compact
from influxops_devserver.http import parameters
from influxops_devserver.http.bodies import read_lines
from influxops_devserver.http.parameters import Field
from influxops_devserver.storage.catalog import Catalog
from influxops_devserver.storage.wal import WriteAheadLog
from influxops_devserver.write.points import PRECISIONS, accept

_TEXT = Field(parameters.text)
_PRECISION = Field(parameters.choice(*PRECISIONS), required=False)
_SWITCH = Field(parameters.switch, required=False)
#: Retention policies of version 1 that are not part of a database's name.
_DEFAULT_POLICIES = (None, "", "autogen", "default")


class WriteApi:
    """Answers writes.

    Args:
        catalog: What exists, and what writes add to it.
        wal: Takes the rows.
    """

    def __init__(self, catalog: Catalog, wal: WriteAheadLog) -> None:
        self._catalog = catalog
        self._wal = wal

    async def v3(self, request: Request) -> Response:
        """Take the good lines, and refuse the others unless none are to be taken then."""
        if not request.scope["query_string"]:
            raise ApiError(400, "missing query parameter 'db'")
        fields = {"db": _TEXT, "precision": _PRECISION}
        fields |= {"accept_partial": _SWITCH, "no_sync": _SWITCH}
        asked = parameters.decode_query(request.url.query, fields)
        partial, wait = asked["accept_partial"] is not False, not asked["no_sync"]
        precision = asked["precision"] or "auto"
        return await self._write(request, asked["db"], precision, partial=partial, wait=wait)

    async def v2(self, request: Request) -> Response:
        """Take all lines or none."""
        try:
            asked = parameters.decode_query(
                request.url.query, {"bucket": _TEXT, "precision": _PRECISION}
            )
            precision = asked["precision"] or "ns"
            return await self._write(request, asked["bucket"], precision, partial=False)
        except ApiError as error:
            raise _as_version_2(error) from None

    async def v1(self, request: Request) -> Response:
        """Take the good lines; the name of the database has the retention policy in it."""
        asked = parameters.decode_query(
            request.url.query,
            {"db": _TEXT, "rp": Field(parameters.text, required=False), "precision": _PRECISION},
        )
        policy = asked["rp"]
        database = asked["db"] if policy in _DEFAULT_POLICIES else f"{asked['db']}/{policy}"
        return await self._write(request, database, asked["precision"] or "ns", partial=True)

    async def _write(
        self, request: Request, database: str, precision: str, *, partial: bool, wait: bool = True
    ) -> Response:
        accepted = accept(
            self._catalog,
            database,
            await read_lines(request),
            now_ns=time.time_ns(),
            precision=precision,
            partial=partial,
        )
        if accepted.rows:
            await self._wal.write(accepted.database, accepted.rows, wait=wait)
        accepted.raise_if_partial()
        return Response(status_code=204)


def _as_version_2(error: ApiError) -> ApiError:
    """Return an error of version 3 as version 2 words it: most of them are 400 there."""
    if error.status == 413:
        content = {"code": "request too large", "message": error.body}
        return ApiError(413, compact(content))
    message = error.body
    if message.startswith("{"):
        said = json.loads(message)
        message = said["error"]
        if isinstance(error, DatabaseLimit):
            message = f"write buffer error: catalog update error: {message}"
        elif "data" in said:
            reason = said["data"]["error_message"]
            message = f"write buffer error: line protocol parse failed: {reason}"
    return ApiError(400, compact({"code": "invalid", "message": message}))
