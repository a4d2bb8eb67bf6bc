"""What the console and the API show where a server does not have what the ledger remembers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from influxops_web.console.wording import state_of
from influxops_web.db.queries import TenantRow
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Seen, running_proxy
from tests.integration.servers import Influx, new_stand_in
from tests.pg import new_database
from tests.provisioner.conftest import until
from tests.web.conftest import REGISTRY, Web, install, serving, write_config
from tests.web.console.browser import (
    COOKIE,
    WIDE,
    Scheme,
    accessible,
    needs_chromium,
    opened,
    running_chromium,
    session,
    shifted,
)

pytestmark = pytest.mark.stand_in

PAGE = {"Accept": "text/html"}
PLACES = {
    **dict.fromkeys(("acme", "gone", "tried", "leaver"), "eu1"),
    **dict.fromkeys(("moved", "mover"), "us1"),
    **dict.fromkeys(("old", "older"), "eu3"),
    "away": "ap1",
}


@dataclass(frozen=True)
class Held:
    """A server that answers no more than it has to while a tenant is copied from it."""

    influx: Influx
    let_go: threading.Event

    def hold(self, seen: Seen) -> Answer:
        sql = seen.body.decode(errors="replace")
        if 'FROM \\"mem\\"' in sql and "COUNT(" not in sql and "LIMIT" not in sql:
            self.let_go.wait(60)
        return None


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    with new_stand_in() as server, running_proxy(server.url) as proxy:
        found = Held(Influx(proxy.url), threading.Event())
        proxy.before = found.hold
        yield found
        found.let_go.set()


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, held: Held
) -> Iterator[Web]:
    """A service with a replaced server, one that is away, and tenants in trouble."""
    names = ("eu1", "us1", "eu3", "ap1")
    with (
        new_stand_in() as us1,
        new_stand_in() as eu3,
        new_stand_in() as ap1,
        new_database(postgres) as db,
    ):
        eu1 = held.influx
        servers = dict(zip(names, (eu1, us1, eu3, ap1), strict=True))
        db.execute(REGISTRY)
        cli = Cli(tmp_path_factory.mktemp("trouble"), {"DSN": db.conninfo})
        more = "".join(
            f'[targets.{name}]\nkind = "influxdb3"\nurl = "{each.url}"\nretries = 0\n'
            for name, each in servers.items()
            if name != "eu1"
        )
        pins = ", ".join(f'{tenant} = "{target}"' for tenant, target in PLACES.items())
        write_config(cli, eu1.url, f"[placement]\npins = {{{pins}}}\n{more}")
        admin, reader = install(cli)
        with psycopg.connect(db.conninfo) as connection:
            for tenant in PLACES:
                values = [tenant, f"The {tenant}"]
                connection.execute("INSERT INTO tenants VALUES (%s, %s)", values)
        assert cli("ensure").code == 0
        write_config(cli, eu1.url, f"[web]\ntimeout = 10.0\n{more}")  # where they are, they stay
        began = datetime.now(UTC)
        with serving(cli, db, eu1, admin, reader) as running:
            # The full run that it begins with sees all as it was.
            query = "SELECT count(*) FROM influxops.servers WHERE read > %s"
            until(lambda: running.rows(query, began) == [(4,)])
            break_it(running, servers)
            yield running


def break_it(web: Web, servers: dict[str, Influx]) -> None:
    """Let things happen that no run has seen yet."""
    servers["eu1"].drop("telemetry_gone")
    for tenant in ("old", "older"):
        servers["eu3"].drop(f"telemetry_{tenant}")
    stand_in = servers["ap1"].stand_in
    assert stand_in is not None
    stand_in.kill()
    web.db.execute(
        # As if all of it was an hour ago, and another server had been at eu3 then.
        "UPDATE influxops.tenants SET state_since = state_since - interval '1h', "
        "created_at = created_at - interval '1h', last_seen_at = last_seen_at - interval '1h'",
        "UPDATE influxops.servers SET identity = '11111111-1111' WHERE target = 'eu3'",
        "UPDATE influxops.tenants SET state = 'pending', target = NULL, attempts = 5, "
        "error = 'no server has a place' WHERE tenant = 'tried'",
        "UPDATE influxops.tenants SET state = 'moving', target = 'eu1', secondary_target = 'us1', "
        "drop_after = now() + interval '7d' WHERE tenant = 'moved'",
        "UPDATE influxops.tenants SET state = 'moving', secondary_target = 'eu1', "
        "progress = '37% {}' WHERE tenant = 'mover'",
        "UPDATE influxops.tenants SET state = 'retiring', drop_after = now() - interval '1h' "
        "WHERE tenant = 'leaver'",
    )
    marker = "_init,source=provisioning,tenant=moved value=1i,initialized=1i"
    servers["eu1"].write("telemetry_moved", marker)
    # What was read before is read again.
    until(lambda: fleet(web)["ap1"]["fault"] and fleet(web)["eu3"]["fault"])


def fleet(web: Web) -> dict[str, Any]:
    answer = web.ask("GET", "/operator/fleet").json()
    return {each["name"]: each for each in answer["servers"]} | {"states": answer["states"]}


def influxdb(web: Web, tenant: str) -> dict[str, Any]:
    found: dict[str, Any] = web.ask("GET", f"/operator/tenants/{tenant}").json()["influxdb"]
    return found


def page(web: Web, path: str, headers: Mapping[str, str] | None = None) -> str:
    token = "" if headers else None
    text = web.ask("GET", path, token=token, headers={**PAGE, **(headers or {})}).data.decode()
    return " ".join(text.split())


def row(text: str, tenant: str) -> str:
    """The row of a tenant in the list."""
    return next(
        part for part in text.split("<tr>") if f"id={tenant}&" in part or f'id={tenant}"' in part
    )


def test_each_count_leads_to_a_list_of_as_many(web: Web) -> None:
    counts = re.findall(
        r'<a class="count [^"]*" href="([^"]+)"><strong>(\d+)</strong> ([a-z ]+)</a>',
        page(web, "/"),
    )
    assert {word: int(number) for _, number, word in counts} == fleet(web)["states"]
    for address, number, word in counts:
        shown = page(web, address)
        tenants = "1 tenant" if number == "1" else f"{number} tenants"
        assert f'role="status">{tenants}</p>' in shown, word
        rows = shown.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
        assert [f'">{word}</span>' in each for each in rows] == [True] * int(number), word


def test_a_move_that_another_process_makes_shows_how_far_it_is(web: Web) -> None:
    shown = page(web, "/tenant?id=mover")
    assert '<progress class="flex-grow-1" max="100" value="37"' in shown
    assert "37 % copied, as last recorded" in shown
    assert "% copied" not in page(web, "/tenant?id=moved")


def test_console_and_api_count_the_same_tenants_that_wait(web: Web) -> None:
    told = web.ask("GET", "/operator/fleet").json()
    waiting = page(web, "/fleet").split('id="waiting"')[1]
    assert f">{told['waiting_total']} tenant" in waiting
    assert waiting.count('<tr><th scope="row"') == len(told["waiting"])


def test_programs_are_told_of_faults_and_never_that_all_is_well(web: Web) -> None:
    found = fleet(web)
    assert found["eu3"]["fault"] == "replaced"
    assert "another server answers there than before" in found["eu3"]["trouble"]
    assert (found["ap1"]["fault"], found["ap1"]["found"]) == ("unavailable", 1)
    assert found["eu1"]["fault"] is found["eu1"]["trouble"] is None
    # The limit is estimated, and given all the same.
    assert (found["eu1"]["capacity"], found["eu1"]["capacity_is_estimate"]) == (5, True)
    assert found["eu1"]["read_at"] is not None
    states = found["states"]
    assert states == {
        "ready": 1,
        "missing": 1,
        "replaced": 2,
        "unavailable": 1,
        "pending": 1,
        "moving": 2,
        "retiring": 1,
    }


@pytest.mark.parametrize(
    ("tenant", "state", "trouble"),
    [
        ("acme", "ready", None),
        ("gone", "missing", "eu1 does not have the database telemetry_gone, which was there"),
        ("old", "replaced", "eu3: another server answers there than before"),
        ("away", "unavailable", "ap1: "),
    ],
)
def test_a_tenant_has_a_url_where_its_database_is_there(
    web: Web, tenant: str, state: str, trouble: str | None
) -> None:
    for found in (
        influxdb(web, tenant),
        web.ask("GET", f"/operator/tenants?search={tenant}").json()["tenants"][0]["influxdb"],
    ):
        assert found["state"] == state
        assert (found["trouble"] or "").startswith(trouble or "")
        assert (found["trouble"] is None) == (trouble is None)
        assert bool(found["url"]) == (state in ("ready", "unavailable"))
    assert (
        web.ask("POST", "/operator/tenants/acme/ensure").json()["url"]
        == influxdb(web, "acme")["url"]
    )


def test_the_list_shows_trouble_first_and_no_green_over_it(web: Web) -> None:
    text = page(web, "/")
    head = text.partition("<table")[0]
    assert 'badge text-bg-danger">replaced</span> another server answers there than before' in head
    assert 'badge text-bg-warning">unavailable</span>' in head
    assert "<strong>1 tenant</strong> " in head and ">missing</span>" in head
    for tenant, word in (("gone", "missing"), ("old", "replaced"), ("away", "unavailable")):
        assert f">{word}</span>" in row(text, tenant)
        assert "text-bg-success" not in row(text, tenant)
    assert "text-bg-success" in row(text, "acme")
    assert 'text-bg-warning">pending</span>' in row(text, "tried"), "after five tries"
    assert "us1 → eu1" in row(text, "mover")
    assert "moved from us1" in row(text, "moved") and "→" not in row(text, "moved")


def test_a_tenants_page_names_the_fault_and_not_what_was(web: Web) -> None:
    for tenant, word in (("gone", "missing"), ("old", "replaced"), ("away", "unavailable")):
        heading = page(web, f"/tenant?id={tenant}").partition("<h1")[2].partition("</h1>")[0]
        assert f">{word}</span>" in heading
        assert "text-bg-success" not in heading
    text = page(web, "/tenant?id=gone")
    assert "`" not in text.partition("<main")[2], "what is to be typed is set as code"
    assert "<code>influxops plan</code>" in text
    assert "<dt>Retention</dt><dd>not known</dd>" in page(web, "/tenant?id=away")


def test_a_tenant_that_was_given_up_is_not_said_to_have_lost_a_database() -> None:
    given_up = TenantRow("t", state="retired", database="")
    assert state_of(given_up) == "it was given up before it had a database"
    assert state_of(TenantRow("t", state="retired", database="d")) == "its database was dropped"


def test_the_fleet_names_a_replaced_server_and_counts_nothing_on_it_as_ready(web: Web) -> None:
    text = page(web, "/fleet")
    cards = {part.partition('<h3 class="h6">')[2][:3]: part for part in text.split("<article")}
    assert ">1 missing</span>" in cards["eu1"]
    assert ", 1 further copy;" in cards["eu1"]
    card = cards["eu3"]
    assert ">replaced</span>" in card
    assert "2 were ready" in card
    assert "0 of 5 slots used (estimated)" in card and "read " in card


def test_the_list_is_sorted_the_worst_first(web: Web) -> None:
    def order(sort: str) -> list[str]:
        text = page(web, f"/?sort={sort}").partition("<table")[2]
        return [part.partition('"')[0] for part in text.split('href="/tenant?id=')[1:]]

    assert order("tenant") == sorted(PLACES)
    assert order("-tenant") == sorted(PLACES, reverse=True)
    assert order("state")[:4] == ["away", "old", "older", "tried"]
    assert set(order("-state")[-3:]) == {"away", "old", "older"}
    assert order("server")[0] == "away" and order("server")[-1] == "tried"
    assert order("nonsense") == sorted(PLACES)
    assert 'aria-sort="descending"' in page(web, "/?sort=-since")


def test_old_copies_and_what_is_due_are_listed(web: Web) -> None:
    text = page(web, "/due")
    assert 'text-bg-warning">due</span>' in row(text, "leaver")
    assert "old copy" in row(text, "moved") and "us1" in row(text, "moved")
    assert "acme" not in text


def test_a_move_is_offered_with_room_and_no_full_server_chosen_beforehand(web: Web) -> None:
    text = page(web, "/tenant/move?id=acme")
    choices = {part.partition('"')[0]: part for part in text.split('name="to" value="')[1:]}
    assert set(choices) == {"us1", "eu3", "ap1"}
    assert "slots used, " in choices["us1"] and " free" in choices["us1"]
    assert [name for name, part in choices.items() if " checked>" in part] == ["us1"]
    assert "To copy:</strong> 0 rows" in text


@pytest.mark.parametrize(("tenant", "target"), [("mover", "eu1"), ("moved", "eu1")])
def test_a_move_that_ended_with_its_process_goes_on_where_it_was(
    web: Web, tenant: str, target: str
) -> None:
    text = page(web, f"/tenant/move?id={tenant}")
    choices = {part.partition('"')[0]: part for part in text.split('name="to" value="')[1:]}
    assert [name for name, part in choices.items() if " checked>" in part] == [target]
    assert ("It is on eu1 already" in text) == (tenant == "moved")


@needs_chromium
@pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", WIDE), ("light", (390, 844))]
)
def test_pages_with_trouble_fit_a_phone_and_axe_finds_nothing(
    web: Web, tmp_path: Path, scheme: Scheme, size: tuple[int, int]
) -> None:
    wrong: dict[str, Any] = {}
    paths = {
        **{name: f"/{name}" for name in ("", "fleet", "due", "tokens", "audit", "create")},
        "gone": "/tenant?id=gone",
        "moving": "/tenant?id=mover&still=1",
        "adopt": "/tenant/adopt?id=gone",
        "move": "/tenant/move?id=acme",
    }
    with (
        running_chromium() as browser,
        opened(browser, web, web.admin, scheme=scheme, size=size) as shown,
    ):
        for name, path in paths.items():
            shown.goto(path)
            picture = f"{name or 'tenants'}-{scheme}-{size[0]}.png"
            shown.screenshot(path=tmp_path / picture, full_page=True)
            if found := accessible(shown) if size == WIDE else shifted(shown):
                wrong[picture] = found
    assert wrong == {}


def test_a_move_under_way_shows_rows_and_percent_and_is_looked_at_again(
    web: Web, held: Held
) -> None:
    for table, number in (("cpu", 30), ("mem", 30), ("telemetry", 90)):
        lines = "\n".join(f"{table},host=h value={n} {1 + n}" for n in range(number))
        held.influx.write("telemetry_acme", lines)
    cookie = {"Cookie": f"{COOKIE}={session(web, web.admin)}"}
    csrf = re.search(r'"csrf_token" value="([^"]+)"', page(web, "/create", cookie))
    assert csrf is not None
    form = f"csrf_token={csrf[1]}&id=acme&to=us1"
    headers = {**cookie, "Content-Type": "application/x-www-form-urlencoded"}
    pressing = threading.Thread(
        target=web.ask,
        args=("POST", "/tenant/move"),
        kwargs={"token": "", "headers": headers, "body": form},
    )
    pressing.start()
    try:
        until(lambda: "30 of 150 rows, 20 %" in page(web, "/tenant?id=acme"))
        text = page(web, "/tenant?id=acme")
        assert '<meta http-equiv="refresh" content="5">' in text
        assert 'max="100" value="20"' in text
        assert "us1" in text and "moving" in text
        # A reader can stop that.
        assert 'http-equiv="refresh"' not in page(web, "/tenant?id=acme&still=1")
    finally:
        held.let_go.set()
        pressing.join()
