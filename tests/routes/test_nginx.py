"""The file for nginx, in a real nginx that is configured as docs/routing.md says."""

from __future__ import annotations

import gzip
import shutil
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest

from influxops_routes.formats import FORMATS
from influxops_routes.nginx import _prefixes
from tests.conftest import GiveStandIn
from tests.integration.proxy import running_proxy
from tests.routes.nginx import Nginx, Recorder, file_of, needs_nginx, nginx, recorders

pytestmark = needs_nginx

#: What the name of a database may hold.
ALLOWED = string.ascii_letters + string.digits + "_-"
PATHS = {
    "/api/v3/write_lp": "db",
    "/api/v3/query_sql": "db",
    "/api/v3/query_influxql": "db",
    "/api/v2/write": "bucket",
    "/write": "db",
    "/query": "db",
}
PLACES = {
    "telemetry_acme": "eu1",
    "telemetry_beta": "eu2",
    "telemetry_lost": None,
    # What differs by case alone, and what a map would take for a directive.
    "Case": "eu1",
    "case": "eu2",
    "default": "eu1",
    "include": "eu2",
    ALLOWED: "eu2",
    "n" * 511: "eu1",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Recorder]]:
    with recorders("eu1", "eu2") as found:
        yield found


@pytest.fixture(scope="module")
def proxy(
    servers: dict[str, Recorder], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    with nginx(tmp_path_factory.mktemp("nginx"), file_of(PLACES, servers, version=7)) as running:
        yield running


def where(proxy: Nginx, name: str, path: str = "/api/v3/write_lp") -> str | int:
    """Give the server that a request about a database reaches, or what it gets instead."""
    answer = proxy.ask(f"{path}?precision=ns&{PATHS[path]}={name}", b"m v=1")
    return str(answer.json["server"]) if answer.status == 200 else answer.status


def test_each_path_leads_to_the_server_of_the_database(proxy: Nginx) -> None:
    for path in PATHS:
        for name, server in PLACES.items():
            assert where(proxy, name, path) == (server or 503), (path, name)
    assert proxy.version() == 7


def test_the_request_arrives_as_it_was_sent(proxy: Nginx, servers: dict[str, Recorder]) -> None:
    body = gzip.compress(b"m v=1")
    path = "/api/v2/write?org=my%20org&bucket=telemetry_acme&precision=ns&x=%2F+%41"
    headers = {"Authorization": "Token secret", "Content-Encoding": "gzip"}
    assert proxy.ask(path, body, headers).json["bytes"] == len(body)
    seen, told = servers["eu1"].seen[-1]
    assert seen == path
    assert (told["Authorization"], told["Content-Encoding"]) == ("Token secret", "gzip")
    assert told["Host"] == "127.0.0.1"


def test_10_mebibytes_pass_and_more_do_not(proxy: Nginx) -> None:
    path = "/api/v3/write_lp?db=telemetry_acme"
    assert proxy.ask(path, b"x" * 10_485_760).json["bytes"] == 10_485_760
    assert proxy.ask(path, b"x" * 10_485_761).status == 413


def test_another_case_is_another_name(proxy: Nginx) -> None:
    assert (where(proxy, "Case"), where(proxy, "case"), where(proxy, "CASE")) == ("eu1", "eu2", 404)
    assert where(proxy, "telemetry_ACME") == 404
    assert where(proxy, "TELEMETRY_LOST") == 404


def test_a_server_gets_no_name_that_is_not_its_own_whatever_byte_is_in_it(
    servers: dict[str, Recorder], tmp_path: Path
) -> None:
    names = {f"a{character}c": "eu1" for character in ALLOWED} | {"ac": "eu2"}
    with nginx(tmp_path, file_of(names, servers)) as proxy:
        for byte in range(256):
            for sent in (bytes([byte]), b"%%%02X" % byte, b"%%%02x" % byte):
                if sent in (b" ", b"\r", b"\n", b"\0"):  # they end a request's line
                    continue
                answer = proxy.ask(b"/write?precision=ns&db=a" + sent + b"c", b"m v=1")
                name = f"a{bytes([byte]).decode('latin-1')}c"
                if answer.status == 200:
                    assert names[answer.json["db"][0]] == answer.json["server"], sent
                else:
                    assert answer.status in (400, 404)
                    assert sent.startswith(b"%") or name not in names, sent


def test_names_are_listed_as_clients_send_them(proxy: Nginx) -> None:
    sent = {quote(ALLOWED), quote_plus(ALLOWED), urlencode({"": ALLOWED})[1:]}  # Python's clients
    if node := shutil.which("node"):
        script = (
            f"const n = '{ALLOWED}'; console.log(encodeURIComponent(n));"
            "console.log(new URLSearchParams({d: n}).toString().slice(2))"
        )
        sent |= set(
            subprocess.run(
                [node, "-e", script], check=True, capture_output=True, text=True
            ).stdout.split()
        )
    # Go's url.QueryEscape, which Telegraf uses, keeps letters, digits and these.
    assert set(ALLOWED) <= set(string.ascii_letters + string.digits + "-_.~")
    assert {where(proxy, name) for name in sent} == {"eu2"}


@pytest.mark.parametrize(
    "query",
    [
        "db=telemetry_acme&db=telemetry_beta",
        "db=telemetry_acme&precision=ns&db=telemetry_acme",
        "DB=telemetry_acme&db=telemetry_beta",
        "db=telemetry_acme&bucket=telemetry_beta",
        "db&db=telemetry_acme",
        "%64b=telemetry_beta&db=telemetry_acme",
        "db=telemetry_acme&d%62=telemetry_beta",
        "db=telemetry_acme&rp=a&rp=b",
        "db=",
        "precision=ns",
        "",
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(proxy: Nginx, query: str) -> None:
    answer = proxy.ask(f"/write?{query}", b"m v=1")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert "one database" in answer.json["error"]


def test_a_query_that_looks_like_parameters_is_none(proxy: Nginx) -> None:
    query = "q=SELECT%20*%20FROM%20db%20WHERE%20db=%27x%27&db=telemetry_beta"
    assert proxy.ask(f"/api/v3/query_sql?{query}").json["server"] == "eu2"


def test_the_retention_policy_of_version_1_is_a_part_of_the_name(proxy: Nginx) -> None:
    for policy, server in (("autogen", "eu1"), ("default", "eu1"), ("", "eu1")):
        answer = proxy.ask(f"/write?db=telemetry_acme&rp={policy}", b"m v=1")
        assert answer.json["server"] == server
    for policy in ("other", "AUTOGEN", "%61utogen"):
        assert proxy.ask(f"/write?db=telemetry_acme&rp={policy}", b"m v=1").status == 404


def test_an_unrouted_name_is_not_to_be_waited_for_in_vain(
    servers: dict[str, Recorder], tmp_path: Path
) -> None:
    with nginx(tmp_path, file_of(PLACES, servers, grace=3600)) as proxy:
        for name in ("telemetry_lost", "telemetry_new"):
            answer = proxy.ask(f"/api/v3/write_lp?db={name}", b"m v=1")
            assert (answer.status, answer.headers.get("Retry-After")) == (503, None)
        for agent, status in (("Telegraf/1.37.2 Go/1.26", 507), ("not Telegraf/1", 503)):
            headers = {"User-Agent": agent}
            for name in ("telemetry_lost", "telemetry_new"):
                answer = proxy.ask(f"/api/v2/write?bucket={name}", b"m v=1", headers)
                assert (answer.status, answer.headers.get("Retry-After")) == (status, None)
        old = file_of(PLACES, servers, grace=0, version=2)
        proxy.routes.write_text(old)
        proxy.reload()
        assert where(proxy, "telemetry_lost") == 503
        answer = proxy.ask("/api/v3/write_lp?db=telemetry_new", b"m v=1")
        assert (answer.status, answer.json) == (404, {"error": "no tenant has this database"})


def test_a_server_that_has_no_database_any_more_changes_no_other_route(
    servers: dict[str, Recorder],
) -> None:
    before = FORMATS["nginx"].routes(file_of({"a": "eu1", "b": "eu2", "c": None}, servers))
    after = FORMATS["nginx"].routes(file_of({"a": "eu2", "b": "eu2", "c": None}, servers))
    assert len(before) == len(after) == 2
    assert len(before & after) == 1


def test_targets_may_have_any_name(servers: dict[str, Recorder], tmp_path: Path) -> None:
    odd = dict.fromkeys(("eu1", "EU1", "-", "*", "default", "a b;{$x}", "ü.1"), servers["eu1"])
    places = {f"telemetry_{number}": name for number, name in enumerate(odd)}
    with nginx(tmp_path, file_of(places, odd)) as proxy:
        assert {where(proxy, name) for name in places} == {"eu1"}


def test_a_server_is_known_by_its_certificate_and_may_have_a_path(tmp_path: Path) -> None:
    with recorders("eu1", is_secure=True) as servers:
        text = file_of({"telemetry_x": "eu1"}, servers)
        with nginx(tmp_path, text) as proxy:
            assert where(proxy, "telemetry_x") == 503  # signed by nobody that is known
        trusted = f"proxy_ssl_trusted_certificate {proxy.authority};"
        with nginx(tmp_path, text, proxy_ssl_trusted_certificate=trusted) as proxy:
            assert where(proxy, "telemetry_x") == "eu1"
        assert servers["eu1"].seen[-1][0] == "/path/api/v3/write_lp?precision=ns&db=telemetry_x"


def test_the_proxy_may_have_tokens_of_its_own(servers: dict[str, Recorder], tmp_path: Path) -> None:
    changed = {
        "include": "include influxops-routes.conf; include tokens.conf;",
        r"proxy_set_header Host": "proxy_set_header Host $influxops_host; "
        "proxy_set_header Authorization $influx_token;",
    }
    with nginx(tmp_path, file_of(PLACES, servers), **changed) as proxy:
        sent = {"Authorization": "Bearer client"}
        for name, token in (("telemetry_acme", "Bearer …"), ("telemetry_beta", None)):
            proxy.ask(f"/write?db={name}", b"m v=1", sent)
            seen = servers[str(PLACES[name])].seen[-1][1].get("Authorization")
            assert (seen and seen.encode("latin-1").decode()) == token


def test_the_grace_ends_by_itself() -> None:
    for first, seconds in ((1_796_035_881, 60), (1_799_999_990, 86_400), (1_000_000_000, 1)):
        begins = tuple(_prefixes(first, first + seconds))
        for at in (first, first + seconds // 2, first + seconds - 1):
            assert str(at).startswith(begins)
        assert not str(first - 1).startswith(begins)
        assert not str(first + seconds).startswith(begins)


@pytest.mark.parametrize("refused", [429, 503])
def test_a_server_that_does_not_answer_is_to_be_waited_for(tmp_path: Path, refused: int) -> None:
    with recorders("eu3") as found, running_proxy("") as busy:
        text = file_of({"telemetry_x": "eu3", "telemetry_y": "eu4"}, {**found, "eu4": busy})
        busy.before = lambda seen: (refused, "text/plain", b"not now")
        found["eu3"].server.server_close()
        with nginx(tmp_path, text) as proxy:
            for name in ("telemetry_x", "telemetry_y"):
                for agent, status in (("Telegraf/1.37.2 Go/1.26", 507), ("other", 503)):
                    path = f"/api/v2/write?bucket={name}"
                    answer = proxy.ask(path, b"m v=1", {"User-Agent": agent})
                    assert answer.status == status
                    assert "does not answer" in answer.json["error"]
        assert len(busy.seen) == 2  # no write is sent twice


def test_other_paths_go_nowhere(proxy: Nginx) -> None:
    for path in ("/", "/api/v3/configure/database?db=telemetry_acme", "/api/v3/write_lp/?db=x"):
        assert proxy.ask(path).status == 404
    assert proxy.ask("/api/v2/../v3/write_lp?db=telemetry_beta&x=1", b"").json["server"] == "eu2"


def test_100_000_names_are_loaded(servers: dict[str, Recorder], tmp_path: Path) -> None:
    places: dict[str, str | None] = {
        f"telemetry_{number}": ("eu1", "eu2")[number % 2] for number in range(100_000)
    }
    text = file_of(places, servers, version=3)
    with nginx(tmp_path, text) as proxy:
        assert where(proxy, "telemetry_99999") == "eu2"
        assert where(proxy, "telemetry_100000") == 404
        assert "could not build optimal" not in proxy.log


@pytest.mark.stand_in
def test_real_writes_arrive_at_their_servers_alone(stand_in: GiveStandIn, tmp_path: Path) -> None:
    own = {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}
    text = file_of({"telemetry_acme": "eu1", "telemetry_beta": "eu2"}, own)
    with nginx(tmp_path, text) as proxy:
        for path, name in PATHS.items():
            if "write" in path:
                for database in ("telemetry_acme", "telemetry_beta", "telemetry_ACME"):
                    server = "eu2" if "beta" in database else "eu1"
                    line = f'{path.replace("/", "_")} v="{database}"'.encode()
                    token = {"Authorization": f"Bearer {own[server].token}"}
                    proxy.ask(f"{path}?{name}={database}", line, token)
    assert own["eu1"].databases() == ["telemetry_acme"]
    assert own["eu2"].databases() == ["telemetry_beta"]
