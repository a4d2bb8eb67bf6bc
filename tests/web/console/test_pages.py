"""The console's pages, in a real browser, as operators use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx, new_stand_in
from tests.pg import new_database
from tests.provisioner.conftest import until as eventually
from tests.web.conftest import REGISTRY, Web, install, serving, write_config
from tests.web.console.browser import (
    NARROW,
    Scheme,
    accessible,
    needs_chromium,
    opened,
    running_chromium,
    shifted,
)

pytestmark = needs_chromium

#: Ids that a link, a form and a page could get wrong.
ODD = ["a/b", "..", "what?x=1&y=2#z", "100%", "ünï-✓", "<script>alert(1)</script>", "a b+c"]
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"

#: What a form may hold, as the browser's own client types it.
Form = dict[str, str | float | bool]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@dataclass(frozen=True)
class Fleet:
    """The service, and its two servers: the first one is filled first."""

    web: Web
    first: Influx
    second: Influx


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> Iterator[Fleet]:
    with (
        new_stand_in(max_databases=None) as first,
        new_stand_in() as second,
        new_database(postgres) as db,
    ):
        db.execute(REGISTRY)
        cli = Cli(tmp_path_factory.mktemp("console"), {"DSN": db.conninfo})
        more = f'[targets.de1]\nkind = "influxdb3"\nurl = "{first.url}"\n'
        write_config(cli, second.url, f"[web]\ntimeout = 20.0\n{more}")
        config = cli.folder / "influxops.toml"
        # A move waits for clients that use the old place for so long.
        quick = config.read_text().replace("[ledger]\n", '[ledger]\ncache_ttl = "1s"\n')
        config.write_text(quick)
        admin, reader = install(cli)
        with serving(cli, db, second, admin, reader) as web:
            for tenant in ("acme", "globex", "initech"):
                made = web.ask(
                    "POST",
                    "/operator/tenants",
                    json={"tenant_id": tenant, "name": f"{tenant.title()} Ltd"},
                )
                assert made.status == 201, made.data
            write(first, "telemetry_acme")
            first.write("telemetry_acme", "cpu,host=h value=1")
            web.db.execute(
                "INSERT INTO device_registry (device_id, tenant_id, name, last_seen_at) SELECT "
                "'acme-' || n, 'acme', 'Pump ' || n, now() FROM generate_series(1, 30) AS n"
            )
            yield Fleet(web, first, second)


def write(influx: Influx, database: str) -> None:
    """Write telemetry of the last day, more in some hours than in others."""
    now = datetime.now(UTC)
    lines = [
        f"telemetry,device_id=d{n % 5} t={n} {int(at.timestamp() * 1e9)}"
        for hour in range(24)
        for n in range(3 + hour * 7 % 11)
        for at in [now - timedelta(hours=hour, seconds=n)]
    ]
    answer = influx.request("POST", f"/api/v3/write_lp?db={database}", body="\n".join(lines))
    assert answer.status == 204, answer.data


def tenant_page(tenant: str, **more: str) -> str:
    return f"/tenant?{urlencode({'id': tenant, **more})}"


def test_an_operator_logs_in_sees_the_tenants_and_logs_out(chromium: Browser, fleet: Fleet) -> None:
    with opened(chromium, fleet.web) as page:
        page.goto("/fleet")
        expect(page).to_have_url(f"{fleet.web.url}/login?next=/fleet")
        page.get_by_label("Operator's token").fill(fleet.web.reader)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
        page.get_by_role("link", name="Tenants").click()
        expect(page.get_by_role("row", name="acme")).to_contain_text("ready")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_tenants_page_tells_all_that_is_known(chromium: Browser, fleet: Fleet) -> None:
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.goto("/")
        page.get_by_role("link", name="acme").click()
        database = page.get_by_role("region", name="Database")
        expect(database).to_contain_text("telemetry_acme")
        expect(database).to_contain_text(fleet.first.url)
        expect(database).to_contain_text("kept for ever")
        expect(database).to_contain_text("cpu 1, telemetry ")
        expect(page.get_by_role("region", name="Devices")).to_contain_text("30 devices, 30 active")
        chart = page.get_by_role("img")
        told = chart.get_attribute("aria-label") or ""
        assert "rows in the last 24 hours" in told
        assert chart.locator("rect").count() == 24
        shown = [bar.bounding_box() for bar in chart.locator("rect").all()]
        assert any(box is not None and box["height"] > 100 for box in shown), "a bar is drawn"
        history = page.get_by_role("region", name="History")
        expect(history).to_contain_text("created telemetry_acme on de1")
        history.get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Run")
        expect(page.get_by_role("row", name="acme")).to_contain_text("created")


PAGES = {
    "login": "/login",
    "tenants": "/",
    "tenants that are not": "/?q=nobody",
    "tenant": tenant_page("acme"),
    "tenant without telemetry": tenant_page("globex"),
    "retire": f"/tenant/retire?{urlencode({'id': 'acme'})}",
    "move": f"/tenant/move?{urlencode({'id': 'acme'})}",
    "fleet": "/fleet",
    "runs": "/runs",
    "error": tenant_page("nobody"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    chromium: Browser, fleet: Fleet, tmp_path: Path, scheme: Scheme
) -> None:
    with opened(chromium, fleet.web, fleet.web.admin, scheme=scheme) as page:
        wrong = {}
        for name, path in PAGES.items():
            page.goto(path)
            for summary in page.locator("summary").all():
                summary.click()
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            found = accessible(page)
            if found:
                wrong[name] = found
        assert wrong == {}


def test_pages_fit_on_a_phone(chromium: Browser, fleet: Fleet, tmp_path: Path) -> None:
    with opened(chromium, fleet.web, fleet.web.admin, size=NARROW) as page:
        wider = {}
        for name, path in PAGES.items():
            page.goto(path)
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            wider[name] = shifted(page)
        assert wider == dict.fromkeys(PAGES, 0)
        page.goto("/")
        assert accessible(page) == []
        row = page.get_by_role("link", name="acme").bounding_box()
        assert row is not None and row["height"] < 30, "a name is not broken into letters"
        page.goto(tenant_page("acme"))
        labels = page.get_by_role("img").locator("text").all()
        boxes = [box for each in labels if (box := each.bounding_box()) is not None]
        assert min(box["height"] for box in boxes) > 12, "it is as large as other text"
        times = sorted((box for box in boxes if box["width"] > 60), key=lambda box: box["x"])
        assert len(times) == 3
        assert all(a["x"] + a["width"] < b["x"] for a, b in pairwise(times))


def test_the_active_tab_does_not_move_the_others(chromium: Browser, fleet: Fleet) -> None:
    with opened(chromium, fleet.web, fleet.web.reader) as page:
        places = []
        for path in ("/", "/fleet", "/runs"):
            page.goto(path)
            places.append([tab.bounding_box() for tab in page.locator("header a").all()])
        assert places[0] == places[1] == places[2]


def test_the_keyboard_alone_logs_in_and_ensures_a_tenant(chromium: Browser, fleet: Fleet) -> None:
    make(fleet.web, "by-hand", ensured=False)
    with opened(chromium, fleet.web) as page:
        page.goto("/login")
        expect(focused(page)).to_have_attribute("name", "token")
        page.keyboard.type(fleet.web.admin)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Tenants")
        page.keyboard.press("Tab")
        expect(focused(page)).to_have_text("Skip to the content")
        expect(focused(page)).to_be_in_viewport()
        page.keyboard.press("Enter")
        tab_to(page, "by-hand")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("by-hand")
        tab_to(page, "Ensure")
        outline = focused(page).evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline == "solid", "one sees where one is"
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("The database")
        expect(page.get_by_role("region", name="Database")).to_contain_text("There nowyes")
    assert "telemetry_by-hand" in fleet.first.databases()


def test_who_only_reads_is_shown_no_button_and_refused_without_one(
    chromium: Browser, fleet: Fleet
) -> None:
    with opened(chromium, fleet.web, fleet.web.reader) as page:
        page.goto(tenant_page("acme"))
        for name in ("Ensure", "Retire…", "Move…"):
            assert page.get_by_text(name, exact=True).count() == 0
        expect(page.get_by_text("Your role, operator, reads")).to_be_visible()
        token = page.locator("input[name=csrf_token]").first.get_attribute("value") or ""
        form: Form = {"csrf_token": token, "id": "acme"}
        for path in ("/tenant/ensure", "/tenant/retire", "/tenant/unretire"):
            answer = page.request.post(path, form=form, headers={"Accept": "text/html"})
            assert answer.status == 403
            assert "operator_admin may write" in answer.text()


def test_a_form_of_another_page_is_refused(chromium: Browser, fleet: Fleet) -> None:
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        for given in ("", "0" * 64):
            form: Form = {"csrf_token": given, "id": "acme"}
            answer = page.request.post("/tenant/ensure", form=form)
            assert answer.status == 403


@pytest.mark.parametrize("odd", ODD)
def test_ids_of_any_characters_have_a_page_and_are_shown_as_text(
    chromium: Browser, fleet: Fleet, odd: str
) -> None:
    note(fleet.web, odd, SCRIPT)
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.on("dialog", lambda dialog: pytest.fail("a script ran"))
        page.goto(f"/?{urlencode({'q': odd})}")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=odd, exact=True))
        expect(row).to_contain_text(SCRIPT)
        row.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(odd)
        expect(page.get_by_text(SCRIPT)).to_be_visible()
        page.get_by_role("button", name="Ensure").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(odd)


def test_a_tenant_is_moved_by_a_button(chromium: Browser, fleet: Fleet) -> None:
    make(fleet.web, "nomad")
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.goto(tenant_page("nomad"))
        page.get_by_role("link", name="Move…").click()
        page.get_by_label("eu1").check()
        page.get_by_role("button", name="Move").click()
        until(page, "UTC: done.")
        expect(page.get_by_role("region", name="Database")).to_contain_text(fleet.second.url)
        expect(page.get_by_text("info its old copy on de1 is kept until")).to_be_visible()
    assert "telemetry_nomad" in fleet.second.databases()


def test_a_tenant_is_retired_and_kept_by_buttons(chromium: Browser, fleet: Fleet) -> None:
    make(fleet.web, "leaver")
    fleet.web.db.execute("DELETE FROM tenants WHERE tenant_id = 'leaver'")
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.goto(tenant_page("leaver"))
        page.get_by_role("link", name="Retire…").click()
        page.get_by_role("button", name="Retire").click()
        until(page, "UTC: done.")
        expect(page.get_by_role("heading", level=1)).to_contain_text("retiring")
        expect(page.get_by_text("warning its data is kept until")).to_be_visible()
        page.get_by_role("button", name="Keep it").click()
        until(page, "UTC: done.")
        expect(page.get_by_role("heading", level=1)).to_contain_text("ready")
        told = page.get_by_role("listitem").filter(has_text="unretired").last
        expect(told).to_contain_text("by admin via console")
        told.get_by_role("link").click()
        expect(page.get_by_text("by admin via console")).to_be_visible()
        page.goto("/runs")
        row = page.get_by_role("row").filter(has_text="unretired").first
        expect(row).to_contain_text("admin via console")


def test_what_a_guard_refuses_is_told_with_what_to_do(chromium: Browser, fleet: Fleet) -> None:
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.goto(f"/tenant/retire?{urlencode({'id': 'initech'})}")
        page.get_by_role("button", name="Retire").click()
        until(page, "UTC: not done.")
        expect(page.get_by_role("status")).to_contain_text("still-registered")
        expect(page.get_by_role("heading", level=1)).to_contain_text("ready")


def test_a_page_says_that_another_server_holds_what_the_ledger_does_not_know(
    chromium: Browser, fleet: Fleet
) -> None:
    made = fleet.web.ask("POST", "/operator/tenants", json={"tenant_id": "back", "name": "Back"})
    assert made.status == 201, made.data
    marker = "_init,source=provisioning,tenant=back value=1i,initialized=1i"
    servers = {"de1": fleet.first, "eu1": fleet.second}
    home = next(name for name, each in servers.items() if "telemetry_back" in each.databases())
    other = next(name for name in servers if name != home)
    servers[other].write("telemetry_back", marker)  # as after the ledger was restored
    why = f"its database is on {other} with its marker, and recorded on {home}"
    try:
        with opened(chromium, fleet.web, fleet.web.reader) as page:
            told = page.get_by_text(why)
            for _ in range(10):  # until what is known from before is known no more
                page.goto(tenant_page("back"))
                if told.count():
                    break
                page.wait_for_timeout(500)
            expect(told).to_be_visible()
    finally:
        servers[other].request("DELETE", "/api/v3/configure/database?db=telemetry_back")


def test_runs_can_be_followed_to_what_they_changed(chromium: Browser, fleet: Fleet) -> None:
    make(fleet.web, "followed")
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        page.goto("/runs")
        row = page.get_by_role("row").filter(has_text="created").first
        row.get_by_role("link").first.click()
        created = page.get_by_role("row").filter(has_text="created telemetry_")
        expect(created.first).to_be_visible()


def test_wrong_addresses_get_a_page_that_says_so(chromium: Browser, fleet: Fleet) -> None:
    told = {
        tenant_page("nobody"): (404, "there is no tenant nobody"),
        "/tenant": (404, "there is no tenant"),
        "/tenant?id=%00": (404, "there is no tenant"),
        "/run?id=nothing": (404, "the history has no run nothing"),
        "/?page=0": (422, "not as it must be"),
        "/?page=99": (404, "beyond the end"),
        "/nowhere": (404, "nothing at this path"),
        "/?state=nonsense&target=%00&q=nobody": (200, "No tenant is like that"),
    }
    with opened(chromium, fleet.web, fleet.web.admin) as page:
        found = {}
        for path in told:
            answer = page.request.get(path, headers={"Accept": "text/html"})
            text = answer.text()
            assert "<h1" in text, path
            found[path] = (answer.status, told[path][1] if told[path][1] in text else text)
        assert found == told


# How ---------------------------------------------------------------------------------------------


def make(web: Web, tenant: str, *, ensured: bool = True) -> None:
    """Make a tenant; one that is not ensured is known to the table alone."""
    if not ensured:
        note(web, tenant, "")
        return
    made = web.ask("POST", "/operator/tenants", json={"tenant_id": tenant, "name": tenant})
    assert made.status == 201, made.data
    # Its marker is written, and seen, a moment after the answer.
    query = "SELECT state FROM influxops.tenants WHERE tenant = %s"
    eventually(lambda: web.rows(query, tenant) == [("ready",)])


def note(web: Web, tenant: str, name: str) -> None:
    with psycopg.connect(web.db.conninfo) as connection:
        connection.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", [tenant, name])


def focused(page: Page) -> Locator:
    return page.locator(":focus")


def tab_to(page: Page, name: str) -> None:
    """Press the tab key until what has this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page).inner_text().strip() == name:
            return
    pytest.fail(f"the tab key does not lead to {name}")


def until(page: Page, words: str) -> None:
    """Look again until what was begun has ended."""
    for _ in range(60):
        told = page.get_by_role("status")
        if "under way" not in told.inner_text():
            break
        page.get_by_role("link", name="Look again").click()
    assert words in " ".join(page.get_by_role("status").inner_text().split())
