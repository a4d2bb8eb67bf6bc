"""The stand-in answers as a real InfluxDB 3 Core did when the recordings were made.

Every exchange that touches what is in the stand-in is sent again, in the order of its file, to one
fresh server; status, body and recorded headers have to be the same, but for ids, tokens and times.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from influxops_devserver.testing import StandInOptions, running_stand_in

RECORDINGS = Path(__file__).parent / "recordings"

NOT_IN_IT = {
    "core-without-auth": {
        "influxql-show-databases": "InfluxQL",
        "influxql-show-measurements": "InfluxQL",
        "influxql-show-retention": "InfluxQL",
        "last-cache-create": "caches",
        "last-cache-create-again": "caches",
        "last-cache-delete": "caches",
        "distinct-cache-create": "caches",
        "distinct-cache-create-again": "caches",
        "metrics": "metrics of a process that is another one",
    },
    "core-with-auth": {
        # So the token of the exchange after it, {admin2}, is the one that was issued first.
        "regenerate": "token regeneration",
    },
    "core-lifecycle": {},
    "core-files": {},
    "core-odd": {},
}

OPTIONS: dict[str, StandInOptions] = {
    "core-with-auth": {"with_auth": True},
    # Long enough for what this one does between two flushes of the write-ahead log.
    "core-lifecycle": {"wal_flush_interval": "500ms"},
    # As the real server was started, but that flushes come sooner.
    "core-files": {"query_file_limit": 3, "wal_snapshot_size": 1, "gen1_duration": "1m"},
}

# Not every exchange was kept in the recordings: these databases were made by ones that were not.
MADE_BEFORE = {"delete-a_b": "a_b", "odd-delete-o3-third": "o3"}

# From here on, so many deletions came within one second of the clock as the recording needs.
STARTS_WITH_A_SECOND = "odd-same-1"

HEADERS = ("content-type", "transfer-encoding", "x-influxdb-build", "x-influxdb-version")

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
VARYING = (
    (re.compile(rf'("process_id"):"{UUID}"'), r'\1:"<uuid>"'),
    (re.compile(r'("(?:created_at|expiry)"):"[0-9T:.-]+Z"'), r'\1:"<time>"'),
    (re.compile(r'("hard_deletion_time"):"[0-9T:-]+Z"'), r'\1:"<time>"'),
    (re.compile(r'("token"):"apiv3_[\w-]+"'), r'\1:"<token>"'),
    (re.compile(r'("hash"):"(?:REDACTED|[0-9a-f]{128})"'), r'\1:"<hash>"'),
    # A second deletion within a second gets the id of its database as well.
    (re.compile(r"-\d{8}T\d{6}(?:-\d+)?"), "-<deleted>"),
    # The machine of the recordings had two cores.
    (re.compile(rf'"core_count":(?:2|{os.cpu_count()})\b'), '"core_count":<cores>'),
)


@pytest.mark.stand_in
@pytest.mark.parametrize("recording", NOT_IN_IT)
def test_stand_in_answers_as_the_recorded_server_did(recording: str) -> None:
    differences: list[str] = []
    sent = 0
    options: StandInOptions = {"wal_flush_interval": "20ms"}
    with running_stand_in(**(options | OPTIONS.get(recording, {}))) as stand_in:
        tokens: dict[str, str] = {}
        for exchange in _exchanges(recording):
            name = exchange["id"]
            if name in NOT_IN_IT[recording]:
                continue
            if name in MADE_BEFORE:
                _send(stand_in.url, _creation(MADE_BEFORE[name]), tokens)
            if name == STARTS_WITH_A_SECOND:
                time.sleep(1 - time.time() % 1)
            answer = _send(stand_in.url, exchange["request"], tokens)
            _keep_token(name, answer, tokens)
            differences += (f"{name}: {text}" for text in _differences(exchange, answer))
            sent += 1
    assert sent > 15
    assert not differences, "\n".join(["", *differences])


@pytest.mark.parametrize("recording", NOT_IN_IT)
def test_exchanges_that_are_left_out_are_in_the_recording(recording: str) -> None:
    ids = [exchange["id"] for exchange in _exchanges(recording)]
    assert len(ids) == len(set(ids))
    assert NOT_IN_IT[recording].keys() <= set(ids)


@pytest.mark.stand_in
def test_what_is_not_in_the_stand_in_is_not_found() -> None:
    with running_stand_in() as stand_in:
        for exchange in _exchanges("core-without-auth"):
            if exchange["id"] in NOT_IN_IT["core-without-auth"]:
                answer = _send(stand_in.url, exchange["request"], {})
                assert (answer.status, answer.data) == (404, b"Not found"), exchange["id"]


def _exchanges(recording: str) -> Iterator[dict[str, Any]]:
    yield from json.loads((RECORDINGS / f"{recording}.json").read_text())["exchanges"]


def _creation(database: str) -> dict[str, Any]:
    return {"method": "POST", "path": "/api/v3/configure/database", "json": {"db": database}}


def _send(
    url: str, request: Mapping[str, Any], tokens: Mapping[str, str]
) -> urllib3.BaseHTTPResponse:
    headers, parameters = (
        {
            name: re.sub(r"\{(\w+)\}", lambda found: tokens[found[1]], value)
            for name, value in request.get(part, {}).items()
        }
        for part in ("headers", "query")
    )
    body = request.get("body", "").encode()
    if "json" in request:
        body = json.dumps(request["json"]).encode()
        headers.setdefault("Content-Type", "application/json")
    if request.get("gzip"):
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    query = f"?{urlencode(parameters)}" if parameters else ""
    return urllib3.request(
        request["method"], f"{url}{request['path']}{query}", body=body or None, headers=headers
    )


def _keep_token(name: str, answer: urllib3.BaseHTTPResponse, tokens: dict[str, str]) -> None:
    issued = {"first-admin": ("admin", "admin2"), "named-admin": ("named",)}
    for placeholder in issued.get(name, ()):
        tokens[placeholder] = answer.json()["token"]


def _differences(exchange: Mapping[str, Any], answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    recorded = exchange["response"]
    if answer.status != recorded["status"]:
        yield f"status {answer.status}, recorded {recorded['status']}"
    said, expected = _without_varying(answer.data.decode()), _without_varying(recorded["body"])
    if said != expected:
        yield f"\n  body     {said}\n  recorded {expected}"
    for header in HEADERS:
        if answer.headers.get(header) != recorded["headers"].get(header):
            yield (
                f"{header}: {answer.headers.get(header)}, "
                f"recorded {recorded['headers'].get(header)}"
            )


def _without_varying(body: str) -> str:
    for pattern, placeholder in VARYING:
        body = pattern.sub(placeholder, body)
    return body
