"""The client: what it sends, what it makes of each answer, and what it never tells."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from influxops.config.settings import InvalidSettings
from influxops.plugin import (
    ConfigError,
    DeadlineExceeded,
    InfluxopsError,
    Interrupted,
    RunContext,
    Secret,
    TargetAuthError,
    TargetError,
)
from influxops_influxdb3 import errors
from influxops_influxdb3.naming_rules import marker
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.influxdb3.conftest import MakeClient
from tests.influxdb3.double import (
    DATABASE_LIMIT,
    EXISTS,
    NO_DATABASE,
    NO_TABLE,
    QUERY_FILE_LIMIT,
    TABLE_LIMIT,
    UNAUTHENTICATED,
    Double,
    Told,
)

TOKEN = "apiv3_very-secret-token"


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    return Secret(env="THE_TOKEN")


def test_a_server_tells_who_it_is(server: Double, make_client: MakeClient) -> None:
    client = make_client()
    ping = client.ping(RunContext())
    assert (ping.edition, ping.version) == ("Core", "3.10.0-nightly")
    assert ping.process_id == server.process_id
    assert client.cluster_uuid == server.cluster_uuid


def test_operations_send_what_the_recordings_show(
    server: Double, make_client: MakeClient, token: Secret
) -> None:
    client, context = make_client(token=token), RunContext()
    server.statistics["a"] = {"count": 1}
    client.create(context, "a", 2592000)
    client.set_retention(context, "a", 5184000)
    client.clear_retention(context, "a")
    client.write(context, "a", "_init value=1i 1")
    client.write(context, "a", "_init value=1i 1", no_sync=True)
    assert client.query(context, "a", "SELECT 1") == [{"count": 1}]
    client.delete(context, "a", hard_delete_at=datetime(2026, 11, 25, 4, 41, 39, 9, tzinfo=UTC))
    assert client.databases(context) == ["_internal"]
    sent = [(a.method, a.path, a.query, a.body) for a in server.asked]
    configure = "/api/v3/configure/database"
    assert sent == [
        ("POST", configure, {}, '{"db":"a","retention_period":"30d"}'),
        ("PUT", configure, {}, '{"db":"a","retention_period":"60d"}'),
        ("DELETE", f"{configure}/retention_period", {"db": "a"}, ""),
        ("POST", "/api/v3/write_lp", {"db": "a"}, "_init value=1i 1"),
        ("POST", "/api/v3/write_lp", {"db": "a", "no_sync": "true"}, "_init value=1i 1"),
        ("POST", "/api/v3/query_sql", {}, '{"db":"a","q":"SELECT 1"}'),
        ("DELETE", configure, {"db": "a", "hard_delete_at": "2026-11-25T04:41:39Z"}, ""),
        ("GET", configure, {"format": "json"}, ""),
    ]
    assert {a.headers["authorization"] for a in server.asked} == {f"Bearer {TOKEN}"}
    assert all(a.headers["user-agent"].startswith("influxops/") for a in server.asked)
    assert {a.headers.get("content-type") for a in server.asked if a.body.startswith("{")} == {
        "application/json"
    }


def test_half_a_character_fails_nothing(server: Double, make_client: MakeClient) -> None:
    make_client().write(RunContext(), "a", marker("a\ud800b", datetime.now(UTC)))
    assert "tenant=a?b " in server.asked[0].body


def test_one_connection_serves_many_requests(server: Double, make_client: MakeClient) -> None:
    client = make_client()
    for _ in range(5):
        client.databases(RunContext())
    assert len({asked.client for asked in server.asked}) == 1


def test_a_path_prefix_and_a_trailing_slash_work(server: Double, make_client: MakeClient) -> None:
    server.fault = lambda asked, number: Told(200, "[]", {"content-type": "application/json"})
    make_client(url=f"{server.url}/influx/eu1/").databases(RunContext())
    assert server.asked[0].path == "/influx/eu1/api/v3/configure/database"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, '{"error":"db name cannot be empty"}', errors.BadRequest, "db name cannot be empty"),
        (400, NO_TABLE, errors.BadRequest, NO_TABLE),
        (
            400,
            '{"error":"partial write of line protocol occurred","data":[{"error_message":"No '
            'fields were provided","line_number":1,"original_line":"this is not line pro"}]}',
            errors.BadRequest,
            "partial write of line protocol occurred: No fields were provided",
        ),
        (400, '{"code":"invalid","message":"bad bucket"}', errors.BadRequest, "bad bucket"),
        (401, UNAUTHENTICATED, errors.AccessRefused, "the request was not authenticated"),
        (403, "", errors.AccessRefused, ""),
        (404, NO_DATABASE % "x", errors.NotFound, "query error: database not found: x"),
        (409, EXISTS, errors.AlreadyExists, EXISTS),
        (
            422,
            DATABASE_LIMIT % 5,
            errors.DatabaseLimit,
            "Adding a new database would exceed limit of 5 databases",
        ),
        (
            422,
            TABLE_LIMIT % (2000, 2000),
            errors.TableLimit,
            "partial write of line protocol occurred: Update to schema would exceed number of "
            "tables limit: attempted to create table but already have 2000 table(s) (limit: 2000)",
        ),
        (415, "unacceptable content-type", errors.BadRequest, "unacceptable content-type"),
        (500, "catalog on fire", errors.ServerFailed, "catalog on fire"),
    ],
)
def test_each_error_of_the_server_has_its_type_and_tells_all(
    server: Double,
    make_client: MakeClient,
    status: int,
    body: str,
    kind: type[errors.InfluxDBError],
    message: str,
) -> None:
    server.fault = lambda asked, number: Told(status, body)
    with pytest.raises(TargetError) as caught:
        make_client(retries=0).write(RunContext(), "telemetry_x", "_init value=1i")
    error = caught.value
    assert type(error) is kind
    assert error.status == status
    assert error.server_message == message
    assert error.url == server.url
    assert error.database == "telemetry_x"
    assert str(error.operation) == "writing to"
    assert "telemetry_x" in error.message
    assert isinstance(error, TargetAuthError) == (status in (401, 403))


def test_a_long_message_is_shortened_and_put_on_one_line(
    server: Double, make_client: MakeClient
) -> None:
    server.fault = lambda asked, number: Told(400, "line one\n\x1b[31mline two " + "x" * 1000)
    with pytest.raises(errors.BadRequest) as caught:
        make_client().create(RunContext(), "a")
    assert caught.value.server_message.startswith("line one [31mline two xxx")
    assert len(caught.value.server_message) == 300


def test_a_long_message_ends_where_a_sentence_ends(server: Double, make_client: MakeClient) -> None:
    server.fault = lambda asked, number: Told(400, "No. " + "This is why. " * 40)
    with pytest.raises(errors.BadRequest) as caught:
        make_client().create(RunContext(), "a")
    assert caught.value.server_message.endswith("This is why. …")
    assert len(caught.value.server_message) <= 300


@pytest.mark.parametrize("body", ["[" * 100_000, '{"error":' * 100_000])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_nested_without_end_is_told_as_what_it_is(
    server: Double, make_client: MakeClient, body: str, status: int
) -> None:
    server.fault = lambda asked, number: Told(status, body)
    with pytest.raises(errors.NotInfluxDB3 if status == 200 else errors.BadRequest) as caught:
        make_client().databases(RunContext())
    assert len(caught.value.message) < 500


def test_a_query_of_too_many_files_is_told_and_not_tried_again(
    server: Double, make_client: MakeClient
) -> None:
    server.fault = lambda asked, number: Told(500, QUERY_FILE_LIMIT)
    with pytest.raises(errors.QueryFileLimit) as caught:
        make_client().query(RunContext(), "a", "SELECT 1")
    assert len(server.asked) == 1
    assert "--query-file-limit" in caught.value.hint
    assert caught.value.server_message.endswith("instability). …")


def test_each_request_is_logged_for_who_debugs(
    server: Double, make_client: MakeClient, caplog: pytest.LogCaptureFixture, token: Secret
) -> None:
    caplog.set_level(logging.DEBUG, "influxops")
    client = make_client(token=token, retries=0)
    client.ping(RunContext())
    client.write(RunContext(), "telemetry_a", "_init,tenant=a value=1i 1", no_sync=True)
    server.fault = lambda asked, number: Told(drop=True)
    with pytest.raises(errors.ConnectionFailed):
        client.query(RunContext(), "telemetry_a", "SELECT 1")
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("influxops")]
    assert [re.sub(r"\d+ ms$", "N ms", message) for message in ours] == [
        "GET /ping -: 200 after N ms",
        "POST /api/v3/write_lp telemetry_a: 204 after N ms",
        "POST /api/v3/query_sql telemetry_a: no answer after N ms",
    ]


def test_what_to_do_names_the_setting_it_lies_in(server: Double, make_client: MakeClient) -> None:
    client = make_client(retries=0)
    server.fault = lambda asked, number: Told(401)
    with pytest.raises(errors.AccessRefused) as refused:
        client.ping(RunContext())
    assert (refused.value.remedy.kind, refused.value.remedy.value) == ("setting", "token")
    server.fault = lambda asked, number: Told(200, "<html>")
    with pytest.raises(errors.NotInfluxDB3) as other:
        client.ping(RunContext())
    assert (other.value.remedy.kind, other.value.remedy.value) == ("setting", "url")
    server.stop()
    with pytest.raises(errors.ConnectionFailed) as down:
        client.ping(RunContext())
    assert (down.value.remedy.kind, down.value.remedy.value) == ("setting", "url")


def test_the_token_is_told_nowhere(
    server: Double,
    make_client: MakeClient,
    token: Secret,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    bodies = [
        f"you sent Authorization: Bearer {TOKEN}",
        json.dumps({"error": f"bad header Bearer {TOKEN}", "data": [{"error_message": TOKEN}]}),
        f"<html><title>denied {TOKEN}</title></html>",
        "x" * 290 + TOKEN,
    ]
    client = make_client(token=token, retries=1)
    for status, body in itertools.product((200, 302, 400, 401, 503), bodies):
        server.fault = lambda asked, number, s=status, b=body: Told(
            s, b, {"location": f"https://user:{TOKEN}@sso.example/login?token={TOKEN}"}
        )
        with pytest.raises(InfluxopsError) as caught:
            client.databases(RunContext())
        error = caught.value
        chain = [error, error.__cause__, error.__context__]
        shown = "".join(f"{one}{one!r}{vars(one) if one else ''}" for one in chain)
        assert TOKEN not in shown
        assert "very-secret" not in shown
    assert "very-secret" not in caplog.text
    assert TOKEN not in repr(client) + repr(vars(client))


@pytest.mark.parametrize("malformed", ["apiv3_first\napiv3_second", "apiv3_münchen", "apiv3 x"])
def test_a_token_that_cannot_be_a_header_is_refused_unseen(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, server: Double, malformed: str
) -> None:
    monkeypatch.setenv("THE_TOKEN", malformed)
    with pytest.raises(InvalidSettings) as caught:
        make_client(token=Secret(env="THE_TOKEN"))
    assert "apiv3" not in str(caught.value)
    assert "THE_TOKEN" in str(caught.value)
    assert server.asked == []


def test_a_token_that_becomes_malformed_is_refused_unseen(
    make_client: MakeClient, tmp_path: Path, server: Double
) -> None:
    file = tmp_path / "token"
    file.write_text("apiv3_good")
    client = make_client(token=Secret(file=str(file)))
    file.write_text("apiv3_first\napiv3_second")
    with pytest.raises(ConfigError) as caught:
        client.ping(RunContext())
    assert "apiv3" not in str(caught.value)
    assert server.asked == []


def test_spaces_at_the_ends_of_a_token_are_no_part_of_it(
    make_client: MakeClient, server: Double
) -> None:
    client = make_client(token=Secret.given("  apiv3_x \n", "the parameter `token`"))
    client.ping(RunContext())
    assert server.asked[0].headers["authorization"] == "Bearer apiv3_x"


def test_a_token_in_a_file_may_be_rotated(
    server: Double, make_client: MakeClient, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    client = make_client(token=Secret(file=str(file)))
    for value in ("apiv3_one", "apiv3_two"):
        file.write_text(value + "\n")
        client.ping(RunContext())
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == ["Bearer apiv3_one", "Bearer apiv3_two"]


@pytest.mark.parametrize(
    ("status", "with_token", "says"),
    [
        (401, True, "does not accept the token from environment variable THE_TOKEN"),
        (401, False, "wants a token and none is set"),
        (403, True, "the token from environment variable THE_TOKEN has not the right"),
    ],
)
def test_a_refusal_says_whose_token_it_was(
    server: Double,
    make_client: MakeClient,
    token: Secret,
    status: int,
    with_token: bool,
    says: str,
) -> None:
    server.fault = lambda asked, number: Told(status, UNAUTHENTICATED)
    with pytest.raises(TargetAuthError, match=says) as caught:
        make_client(token=token if with_token else None).ping(RunContext())
    assert caught.value.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Told(200, "<!DOCTYPE html><title>Grafana</title>"), r"HTML page \(Grafana\)"),
        (Told(404, "<html>nothing</html>", {"content-type": "text/html"}), "HTML page"),
        (Told(204, "", {"x-influxdb-version": "1.8.10"}), "this is InfluxDB 1.8.10"),
        (Told(204, "", {"x-influxdb-version": "v2.7.1"}), "this is InfluxDB v2.7.1"),
        (Told(200, '{"status":"ok"}'), "no InfluxDB"),
        (Told(200, "pong"), "no JSON"),
        (Told(204), "no InfluxDB"),
        (
            Told(301, "", {"location": "https://u:pw@new.example/x?y=z"}),
            r"redirect to https://new.example/x \(",
        ),
    ],
)
def test_what_is_no_influxdb_3_is_named(
    server: Double, make_client: MakeClient, told: Told, says: str
) -> None:
    server.fault = lambda asked, number: told
    with pytest.raises(errors.NotInfluxDB3, match=says) as caught:
        make_client().ping(RunContext())
    assert "url" in caught.value.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", ['{"a":1}', "[1,2]", "nonsense", '"text"'])
def test_an_answer_of_another_shape_is_an_error_and_no_crash(
    server: Double, make_client: MakeClient, body: str
) -> None:
    server.fault = lambda asked, number: Told(200, body)
    with pytest.raises(errors.NotInfluxDB3):
        make_client().databases(RunContext())


def test_passing_failures_are_tried_again(server: Double, make_client: MakeClient) -> None:
    troubles = iter([Told(drop=True), Told(503), Told(500, "hiccup"), Told(429)])
    server.fault = lambda asked, number: next(troubles, None)
    assert make_client().databases(RunContext()) == ["_internal"]
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    "told",
    [
        Told(500, "Schema error: No field named nocolumn. Valid fields are telemetry.time."),
        Told(500, "External error: table should have a time column"),
        Told(500, "Error during planning: Invalid function 'nofunction'."),
        Told(500, "This feature is not implemented: it is not"),
        Told(501, "not implemented"),
        Told(505, "HTTP version not supported"),
    ],
    ids=["no column", "no time column", "planning", "no feature", "501", "505"],
)
def test_what_stays_as_it_is_is_asked_once(
    server: Double, make_client: MakeClient, told: Told
) -> None:
    server.fault = lambda asked, number: told
    with pytest.raises(errors.ServerFailed):
        make_client().query(RunContext(), "a", "SELECT nocolumn FROM telemetry")
    assert len(server.asked) == 1


def test_a_write_is_tried_again_too(server: Double, make_client: MakeClient) -> None:
    server.fault = lambda asked, number: Told(drop=True) if number == 1 else None
    make_client().write(RunContext(), "a", "_init value=1i 1")
    assert [asked.body for asked in server.asked] == ["_init value=1i 1"] * 2


def test_trying_again_is_logged_with_what_and_where(
    server: Double, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "influxops")
    server.fault = lambda asked, number: Told(503) if number == 1 else None
    make_client().create(RunContext(), "telemetry_a")
    assert f"creating telemetry_a on {server.url}: HTTP 503; trying again in" in caplog.text


def test_waits_get_longer_and_differ(server: Double, make_client: MakeClient) -> None:
    waits = _waits(server, make_client, Told(503))
    assert len(waits) == 4
    for number, wait in enumerate(waits):
        longest = 0.2 * 2**number
        assert longest / 2 <= wait <= longest
    assert waits != _waits(server, make_client, Told(503))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(server: Double, make_client: MakeClient, status: int) -> None:
    assert _waits(server, make_client, Told(status, "", {"retry-after": "7"})) == [7.0] * 4


def test_a_retry_after_that_cannot_be_read_is_left_alone(
    server: Double, make_client: MakeClient
) -> None:
    waits = _waits(server, make_client, Told(503, "", {"retry-after": "soon"}))
    assert len(waits) == 4
    assert max(waits) < 2


def test_nobody_waits_an_hour_because_a_server_says_so(
    server: Double, make_client: MakeClient
) -> None:
    assert _waits(server, make_client, Told(503, "", {"retry-after": "3600"})) == []


def _waits(server: Double, make_client: MakeClient, told: Told) -> list[float]:
    """Let a request fail for good; give the seconds that were waited, without waiting."""
    waits: list[float] = []

    class Patient(RunContext):
        def sleep(self, seconds: float) -> None:
            waits.append(seconds)

    server.fault = lambda asked, number: told
    with pytest.raises(errors.ServerFailed) as caught:
        make_client().databases(Patient())
    assert caught.value.status == told.status
    return waits


def test_a_deadline_ends_the_waiting_with_the_real_reason(
    server: Double, make_client: MakeClient
) -> None:
    server.fault = lambda asked, number: Told(503, "starting up", {"retry-after": "30"})
    begin = time.monotonic()
    with pytest.raises(errors.ServerFailed, match="starting up"):
        make_client().databases(RunContext(timeout=5))
    assert time.monotonic() - begin < 4
    assert len(server.asked) == 1


def test_a_deadline_shortens_the_read_timeout(server: Double, make_client: MakeClient) -> None:
    with _hanging() as url:
        begin = time.monotonic()
        with pytest.raises((errors.ConnectionFailed, DeadlineExceeded)):
            make_client(url=url).databases(RunContext(timeout=0.4))
        assert time.monotonic() - begin < 2


def test_cancelling_ends_the_waiting_at_once(server: Double, make_client: MakeClient) -> None:
    context = RunContext()
    server.fault = lambda asked, number: Told(503, "", {"retry-after": "50"})
    timer = threading.Timer(0.2, context.cancel)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        make_client().databases(context)
    assert time.monotonic() - begin < 5
    timer.join()


def test_a_server_that_hangs_is_given_up(make_client: MakeClient) -> None:
    with _hanging() as url, pytest.raises(errors.ConnectionFailed) as caught:
        make_client(url=url, read_timeout=0.1, retries=0).databases(RunContext())
    assert caught.value.reason == "no answer within 0.1 s"
    assert caught.value.may_have_applied


def test_who_hangs_is_asked_twice_and_that_is_told(make_client: MakeClient) -> None:
    with _hanging() as url:
        begin = time.monotonic()
        with pytest.raises(errors.ConnectionFailed) as caught:
            make_client(url=url, read_timeout=0.3).databases(RunContext())
    assert caught.value.reason == "no answer within 0.3 s, tried twice"
    assert time.monotonic() - begin < 3
    assert caught.value.remedy.value == "read_timeout"


def test_waiting_for_an_answer_has_a_bound_that_an_operator_can_bear() -> None:
    assert InfluxDB3Settings.parse({}).read_timeout == 10


def test_a_closed_port_is_told_as_such(make_client: MakeClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(errors.ConnectionFailed) as caught:
            make_client(url=f"http://127.0.0.1:{port}", retries=0).ping(RunContext())
    assert caught.value.reason == "connection refused"
    assert caught.value.remedy.value == "url"
    assert not caught.value.may_have_applied


def test_a_name_that_is_none_is_told_as_such(make_client: MakeClient) -> None:
    with pytest.raises(errors.ConnectionFailed) as caught:
        make_client(url="http://no-such-host.invalid:8181", retries=0).ping(RunContext())
    assert caught.value.reason == "the name no-such-host.invalid cannot be resolved"


def test_what_does_not_speak_http_is_told_as_such(make_client: MakeClient) -> None:
    with (
        _saying(b"SSH-2.0-OpenSSH_9.2\r\n") as url,
        pytest.raises(errors.ConnectionFailed, match="does not speak HTTP"),
    ):
        make_client(url=url, retries=0).ping(RunContext())


@contextmanager
def _hanging() -> Iterator[str]:
    """Listen and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def _saying(greeting: bytes) -> Iterator[str]:
    """Say something to the first client that connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


# TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_path(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextmanager
def _tls_server(authority: trustme.CA, name: str, client_certs: bool = False) -> Iterator[Double]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if client_certs:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    double = Double(context)
    try:
        yield double
    finally:
        double.stop()


def test_a_certificate_of_the_given_authority_is_trusted(
    authority: trustme.CA, ca_path: Path, make_client: MakeClient
) -> None:
    with _tls_server(authority, "127.0.0.1") as server:
        client = make_client(url=server.url, ca_path=str(ca_path))
        assert client.ping(RunContext()).edition == "Core"
        client.close()


def test_an_unknown_certificate_is_refused_before_the_token_is_sent(
    authority: trustme.CA, make_client: MakeClient, token: Secret
) -> None:
    with _tls_server(authority, "127.0.0.1") as server:
        begin = time.monotonic()
        with pytest.raises(errors.ConnectionFailed, match="certificate is not trusted") as caught:
            make_client(url=server.url, token=token).ping(RunContext())
        assert server.asked == []
    assert "ca_path" in caught.value.hint
    assert time.monotonic() - begin < 2, "it does not become trusted by trying again"


def test_a_certificate_for_another_host_is_refused(
    authority: trustme.CA, ca_path: Path, make_client: MakeClient
) -> None:
    with (
        _tls_server(authority, "other.example") as server,
        pytest.raises(errors.ConnectionFailed, match=r"not trusted: .*mismatch"),
    ):
        make_client(url=server.url, ca_path=str(ca_path)).ping(RunContext())


def test_verification_can_be_turned_off(authority: trustme.CA, make_client: MakeClient) -> None:
    with _tls_server(authority, "other.example") as server:
        client = make_client(url=server.url, validate_certs=False)
        assert client.ping(RunContext()).edition == "Core"
        client.close()


def test_a_client_certificate_is_shown(
    authority: trustme.CA, ca_path: Path, make_client: MakeClient, tmp_path: Path
) -> None:
    mine = authority.issue_cert("client.example")
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    mine.cert_chain_pems[0].write_to_path(str(cert))
    mine.private_key_pem.write_to_path(str(key))
    with _tls_server(authority, "127.0.0.1", client_certs=True) as server:
        client = make_client(
            url=server.url, ca_path=str(ca_path), client_cert=str(cert), client_key=str(key)
        )
        assert client.ping(RunContext()).edition == "Core"
        client.close()
        with pytest.raises(errors.ConnectionFailed):
            make_client(url=server.url, ca_path=str(ca_path), retries=0).ping(RunContext())


def test_tls_to_a_server_without_it_says_so(server: Double, make_client: MakeClient) -> None:
    with pytest.raises(errors.ConnectionFailed, match="does not speak TLS") as caught:
        make_client(url=server.url.replace("http:", "https:"), retries=0).ping(RunContext())
    assert "http://" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("ca_path", None, "cannot be loaded: no such file or directory"),
        ("ca_path", "no certificate", "cannot be loaded: it is no pem certificate"),
        ("client_cert", None, "cannot be loaded: no such file or directory"),
    ],
)
def test_a_certificate_file_that_is_none_is_a_mistake_in_the_settings(
    tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidSettings) as caught:
        InfluxDB3Settings.parse({"url": "HTTPS://influx.example", name: str(path)})
    ((setting, message),) = caught.value.mistakes
    assert setting == name
    assert message == f"{path} {says}"


def test_a_key_with_a_passphrase_is_told_as_such(authority: trustme.CA, tmp_path: Path) -> None:
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    authority.issue_cert("client.example").cert_chain_pems[0].write_to_path(str(cert))
    private = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(InvalidSettings, match=r"client_key: the key is encrypted"):
        InfluxDB3Settings.parse(
            {"url": "https://influx.example", "client_cert": str(cert), "client_key": str(key)}
        )


def test_a_handshake_that_hangs_is_told_as_such(make_client: MakeClient) -> None:
    with _hanging() as url, pytest.raises(errors.ConnectionFailed) as caught:
        make_client(url=url.replace("http:", "https:"), connect_timeout=0.2, retries=0).ping(
            RunContext()
        )
    assert caught.value.reason == "no end of the TLS handshake within 0.2 s"
    assert not caught.value.may_have_applied
    assert caught.value.remedy.value == "url"


def test_cancelling_ends_a_handshake_that_hangs(make_client: MakeClient) -> None:
    context = RunContext()
    with _hanging() as url:
        timer = threading.Timer(0.2, context.cancel)
        timer.start()
        begin = time.monotonic()
        with pytest.raises(Interrupted):
            make_client(url=url.replace("http:", "https:"), connect_timeout=60).write(
                context, "a", "_init value=1i 1"
            )
        assert time.monotonic() - begin < 5
        timer.join()


def test_turning_verification_off_warns_nobody_elsewhere(
    authority: trustme.CA, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with _tls_server(authority, "other.example") as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        client = make_client(url=server.url, validate_certs=False, retries=1)
        troubles = iter([Told(drop=True)])
        server.fault = lambda asked, number: next(troubles, None)
        client.ping(RunContext())
        client.close()
    assert {record.name for record in caplog.records} <= {"influxops"}


def test_what_urllib3_would_log_of_a_request_reaches_nobody(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    strange = b"HTTP/1.1 200 OK\r\nno header\r\ncontent-length: 2\r\n\r\n[]"
    with _saying(strange) as url, contextlib.suppress(errors.InfluxDBError):
        make_client(url=url, retries=0).databases(RunContext())
    assert {record.name for record in caplog.records} == {"influxops"}
    logging.getLogger("urllib3.connectionpool").warning("somebody else's")
    assert caplog.records[-1].name == "urllib3.connectionpool"


def test_a_host_that_is_no_name_is_told_as_such(make_client: MakeClient) -> None:
    with pytest.raises(errors.ConnectionFailed) as caught:
        make_client(url="http://a..b:8181").ping(RunContext())
    assert caught.value.reason == "the URL names no valid host"
