"""The few requests that are sent to a server of InfluxDB 1.x."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, Protocol

import urllib3

from influxops.plugin import Hint, RunContext, Secret, TargetAuthError, TargetError


class Connection(Protocol):
    """What of the settings a client uses."""

    url: str
    username: str
    password: Secret | None
    timeout: float


class Series(NamedTuple):
    """A part of an answer: a table of values."""

    name: str
    columns: list[str]
    values: list[list[Any]]


class Refused(Exception):
    """The server does not do what it was asked for; the message is its own."""


class Client:
    """Sends queries; an instance of the target has one."""

    def __init__(self, settings: Connection) -> None:
        self._settings = settings
        self._pool = urllib3.PoolManager(retries=False)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def version(self, context: RunContext) -> str:
        """Return the server's version."""
        answer = self._send("GET", "/ping", context)
        return str(answer.headers.get("X-Influxdb-Version", "of an unknown version"))

    def query(
        self, text: str, context: RunContext, *, database: str = "", writes: bool = False
    ) -> list[list[Series]]:
        """Return the series that each statement of a query gives.

        Raises:
            Refused: When a statement that `writes` was refused.
            TargetError: When there is no answer, or another statement was refused.
        """
        fields = {"q": text, "epoch": "s", **({"db": database} if database else {})}
        answer = self._send("POST", "/query", context, fields=fields, encode_multipart=False)
        try:
            document = json.loads(answer.data)
            results = document.get("results", [])
            faults = [document.get("error"), *(each.get("error") for each in results)]
            found = [
                [
                    Series(each.get("name", ""), each["columns"], each.get("values", []))
                    for each in result.get("series", [])
                ]
                for result in results
            ]
        except (ValueError, AttributeError, KeyError, TypeError):
            raise TargetError(
                f"{self._settings.url} gave an answer that is none of InfluxDB 1.x",
                hint=Hint.setting("url"),
            ) from None
        for fault in filter(None, faults):
            raise Refused(fault) if writes else TargetError(f"the server refused a query: {fault}")
        return found

    def _send(
        self, method: str, path: str, context: RunContext, **more: Any
    ) -> urllib3.BaseHTTPResponse:
        given, headers = self._settings, {}
        if given.username:
            password = given.password.reveal() if given.password is not None else ""
            headers = urllib3.make_headers(basic_auth=f"{given.username}:{password}")
        # Raises where the run is over; no request lasts longer than the run.
        timeout = context.time_left(given.timeout)
        url = given.url.rstrip("/") + path

        def send() -> urllib3.BaseHTTPResponse:
            return self._pool.request(method, url, headers=headers, timeout=timeout, **more)

        try:
            answer = context.run_abandonable(send)
        except urllib3.exceptions.HTTPError as error:
            raise TargetError(
                f"{given.url} does not answer: {_why(error)}",
                hint=Hint.setting("url", "is the server up? If it is, check {}"),
            ) from None
        if answer.status in (401, 403):
            raise TargetAuthError(
                f"{given.url} refused the user {given.username!r}", hint=Hint.setting("password")
            )
        if answer.status >= 500:
            raise TargetError(f"{given.url} answered {answer.status}", hint="look into its log")
        return answer


def _why(error: urllib3.exceptions.HTTPError) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "the connection was refused"
    return "not in time" if isinstance(error, urllib3.exceptions.TimeoutError) else "it broke off"


def quoted(name: str) -> str:
    """Return a name as InfluxQL has it."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def seconds(duration: str) -> int:
    """Return the seconds of what the server calls a duration: `168h0m0s`; 0 is for ever."""
    parts = re.findall(r"(\d+)([hms])", duration)
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
