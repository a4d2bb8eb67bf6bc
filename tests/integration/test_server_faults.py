"""What is wrong with InfluxDB: one clear line, an exit code, and the other targets are served."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.proxy import Seen
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase

#: A port that nothing listens on: reserved, and refused at once on any machine.
NOBODY = "http://127.0.0.1:1"


def _errors(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("ERR")]


def test_a_server_that_is_down_is_named_and_its_tenants_are_unknown(
    cli: Cli, db: TestDatabase
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": NOBODY}, "") + "retries = 1\n")
    done = cli("ensure")
    assert done.code == 1
    errors = _errors(done.lines)
    assert any(error.startswith("ERR telemetry_acme: ") for error in errors)
    assert any("target eu1: " in error and "127.0.0.1:1" in error for error in errors)


def test_a_slow_server_is_given_up_in_time(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    over = threading.Event()
    proxy.before = lambda seen: (over.wait(30), None)[1]
    try:
        start = time.monotonic()
        done = cli("ensure", "--timeout", "3s", env={"INFLUXDB_URL": proxy.url})
        assert time.monotonic() - start < 3 + 5
    finally:
        over.set()
    assert done.code == 1
    assert "3 s are used up" in done.out or "timed out" in done.out


def test_a_server_that_answers_html_is_told_apart(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    proxy.before = lambda seen: (200, "text/html", b"<html><body>Welcome to nginx!</body></html>")
    done = cli("ensure", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 1
    assert "it answered 200 with an HTML page" in done.out
    assert "nginx" not in done.all
    assert proxy.writes == []


def test_a_gateway_error_page_is_tried_again_and_then_told(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    proxy.before = lambda seen: (502, "text/html", b"<html>Bad Gateway</html>")
    cli.config(targets_toml({"eu1": proxy}) + "retries = 1\n")
    done = cli("ensure")
    assert done.code == 1
    assert "502" in done.out
    assert len(proxy.seen) >= 2


def test_a_hiccup_is_ridden_out(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    hiccups = iter([(503, "text/plain", b"busy"), (429, "text/plain", b"slow down")])
    proxy.before = lambda seen: next(hiccups, None)
    done = cli("ensure", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 0
    assert influx.databases() == ["telemetry_acme"]


@pytest.mark.parametrize("retries", [0, 4])
def test_an_answer_that_gets_lost_is_settled_by_reading_again(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy, retries: int
) -> None:
    db.registry("acme", "beta")
    proxy = proxied(influx)
    lost = iter(range(2))

    def lose(seen: Seen) -> None:
        if seen.writes and next(lost, None) is not None:
            raise ConnectionAbortedError

    proxy.after = lose
    cli.config(targets_toml({"eu1": proxy}) + f"retries = {retries}\n")
    done = cli("ensure")
    assert influx.databases() == ["telemetry_acme", "telemetry_beta"]
    assert [influx.markers(name) for name in influx.databases()] == [1, 1]
    assert done.code == 0, done.out


def test_a_server_that_only_says_it_did_is_not_believed(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    proxy.before = lambda seen: (204, "text/plain", b"") if seen.writes else None
    done = cli("ensure", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 1
    (error,) = _errors(done.lines)
    assert error.startswith("ERR telemetry_acme: ")
    assert "reading it again" in error


def test_what_no_barrier_confirmed_is_not_called_created_and_is_mended_by_verifying(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme", "beta", "gamma")
    proxy = proxied(influx)

    def before(seen: Seen) -> tuple[int, str, bytes] | None:
        barrier = "/write_lp" in seen.path and "no_sync" not in seen.path
        return (500, "text/plain", b"no write waits here") if barrier else None

    proxy.before = before
    cli.config(targets_toml({"eu1": proxy}) + "retries = 0\n")
    done = cli("ensure")
    assert done.code == 1
    assert len(_errors(done.lines)) >= 3
    assert "its marker is not confirmed" in done.out
    assert "no write waits here" in done.out
    assert "ensure --verify" in done.out
    assert not [line for line in done.lines if line.startswith("OK")]
    mended = cli("ensure", "--verify", env=influx.environment)
    assert mended.code == 0, mended.all


@pytest.mark.stand_in
def test_a_name_that_is_used_again_at_once_has_its_marker_in_the_end(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    server = stand_in(wal_flush_interval="500ms")
    proxy = proxied(server)
    once = iter([None])

    def before(seen: Seen) -> None:
        if seen.writes and next(once, True) is None:
            # Its namesake is deleted while what was written to it is not flushed yet.
            path = "/api/v3/write_lp?db=telemetry_acme&no_sync=true"
            server.request("POST", path, body=b"telemetry,device=d1 value=1i")
            server.drop("telemetry_acme")

    proxy.before = before
    done = cli("ensure", env={"INFLUXDB_URL": proxy.url})
    assert done.code == 0, done.all
    assert server.markers("telemetry_acme") == 1


def test_a_server_that_hangs_is_told_soon_and_with_its_tries(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    over = threading.Event()
    proxy.before = lambda seen: (over.wait(60), None)[1]
    cli.config(targets_toml({"eu1": proxy}) + "read_timeout = 1\n")
    try:
        start = time.monotonic()
        done = cli("ensure")
        assert time.monotonic() - start < 2 + 8
    finally:
        over.set()
    assert done.code == 1
    assert "no answer within 1 s, tried twice" in done.out
    assert len(proxy.seen) == 2


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('ca_path = "/nowhere/ca.pem"', "no such file"),
        ('token = {env = "MALFORMED"}', "has characters that no token has"),
    ],
)
def test_what_can_be_no_certificate_and_no_token_is_a_mistake_of_the_configuration(
    cli: Cli, db: TestDatabase, setting: str, says: str
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": "HTTPS://influx.example:8181"}) + setting + "\n")
    done = cli("plan", env={"MALFORMED": "apiv3_one apiv3_two"})
    assert done.code == 2, done.all
    assert says in done.err
    assert "apiv3" not in done.all


@pytest.mark.stand_in
@pytest.mark.parametrize("token", ["", "apiv3_wrong-token"], ids=["no token", "a wrong one"])
def test_a_token_that_is_refused_stops_at_once(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy, token: str
) -> None:
    db.registry("acme", "beta")
    server = stand_in(with_auth=True)
    proxy = proxied(replace(server, token=""))
    done = cli("ensure", env={"INFLUXDB_URL": proxy.url, "INFLUXDB_TOKEN": token})
    assert done.code == 1
    assert "token" in "".join(_errors(done.lines))
    assert len(proxy.seen) <= 2  # the same token is refused again: why ask
    assert not token or token not in done.all


@pytest.mark.stand_in
def test_a_good_token_is_all_that_is_needed(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(with_auth=True)
    assert cli("ensure", env=server.environment).code == 0
    assert server.databases() == ["telemetry_acme"]


@pytest.mark.stand_in
def test_a_server_that_is_full_takes_nothing_more_and_the_next_one_does(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("a", "b", "c")
    small, other = stand_in(max_databases=2), stand_in()
    # What the configuration believes of the first is wrong: the server decides.
    text = targets_toml({"small": small, "other": other})
    cli.config(text.replace(f'url = "{small.url}"', f'url = "{small.url}"\ncapacity = 5'))
    done = cli("ensure")
    assert done.code == 0
    assert small.databases() == ["telemetry_a", "telemetry_b"]
    assert other.databases() == ["telemetry_c"]


@pytest.mark.stand_in
def test_the_limit_of_tables_is_told_apart_from_that_of_databases(
    cli: Cli, db: TestDatabase
) -> None:
    db.registry("a", "b", "c")
    with new_stand_in(max_tables=2) as server:
        done = cli("ensure", env=server.environment)
        assert done.code == 1
        (error,) = _errors(done.lines)
        assert "table" in error
        assert "capacity" not in error


@pytest.mark.stand_in
def test_a_target_out_of_tables_is_full_in_its_own_words_and_the_next_one_takes_the_rest(
    cli: Cli, db: TestDatabase
) -> None:
    db.registry("a", "b", "c", "d", "e", "f")
    with new_stand_in(max_tables=2) as small, new_stand_in(max_databases=None) as large:
        toml = targets_toml({"one": small, "two": large})
        cli.config(toml.replace(f'url = "{small.url}"', f'url = "{small.url}"\ncapacity = 5'))
        done = cli("ensure")
        assert done.code == 1  # what was created without its marker
        said = " ".join(done.all.split())
        assert "it takes no further table: 2 of about 2 tables are used up" in said
        assert "capacity is set to" not in said
        assert "raise a capacity" not in said
        assert len(large.databases()) >= 2


@pytest.mark.stand_in
def test_one_target_of_three_that_is_down_holds_back_its_tenants_alone(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "gamma")
    one, three = stand_in(), stand_in()
    one.create("telemetry_acme")
    text = targets_toml(
        {"one": one, "two": NOBODY, "three": three}, '[placement]\npins = {beta = "three"}\n'
    )
    cli.config(text.replace(f'url = "{NOBODY}"', f'url = "{NOBODY}"\nretries = 0'))
    done = cli("ensure")
    assert done.code == 1
    assert three.databases() == ["telemetry_beta"]  # pinned elsewhere: no doubt about it
    assert one.databases() == ["telemetry_acme"]
    assert one.markers("telemetry_acme") == 1
    errors = _errors(done.lines)
    assert any("telemetry_gamma" in error and "unreachable" in error for error in errors)
    assert any("target two: " in error for error in errors)
    assert "--allow unreachable" in done.out
    allowed = cli("ensure", "--allow", "unreachable")
    assert allowed.code == 0
    assert one.databases() == ["telemetry_acme", "telemetry_gamma"]
    assert any("target two: " in line for line in allowed.lines if line.startswith("WARN"))


def test_one_server_by_two_names_is_refused(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": proxied(influx), "eu2": proxied(influx)}))
    done = cli("ensure")
    assert done.code == 2
    assert "eu1 and eu2 are one server" in done.err
    assert influx.databases() == []


def test_another_server_than_configured_is_refused_before_a_write(
    cli: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(influx)
    wrong = "00000000-0000-0000-0000-000000000000"
    cli.config(targets_toml({"eu1": proxy}) + f'cluster_uuid = "{wrong}"\n')
    done = cli("ensure", "--allow", "unreachable")
    assert done.code == 1
    assert "another server" in done.out
    assert proxy.writes == []
    uuid = cli("plan", "--format", "json").json["targets"][0]["cluster_uuid"]
    cli.config(targets_toml({"eu1": proxy}) + f'cluster_uuid = "{uuid}"\n')
    assert cli("ensure").code == 0
