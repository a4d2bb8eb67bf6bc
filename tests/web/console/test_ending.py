"""What goes on behind the console's pages when the service ends."""

from __future__ import annotations

import re
import time
from pathlib import Path

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.servers import new_stand_in
from tests.provisioner.conftest import until as eventually
from tests.web.conftest import Web, platform, serving

PAGE = {"Accept": "text/html"}


def test_a_move_that_the_services_end_interrupts_is_gone_on_with_by_another_press(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    # The move waits a minute for clients that use the old place: it is under way when it ends.
    with new_stand_in() as first, new_stand_in() as second:
        more = f'[web]\ntimeout = 0.5\n[targets.de1]\nkind = "influxdb3"\nurl = "{first.url}"\n'
        with platform(tmp_path, postgres, second, more) as web:
            web.db.execute("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme')")
            # The service may be making it at this moment.
            eventually(lambda: web.cli("ensure").code == 0)
            press_move(web)
            shown = until(web, "waiting 60 s for clients")
            assert "under way" in shown
            began = time.monotonic()
            web.process.terminate()
            assert web.process.wait(30) == 0
            assert time.monotonic() - began < 25, "it does not wait for the move"
            assert web.rows("SELECT state, target FROM influxops.tenants") == [("moving", "eu1")]
            with serving(web.cli, web.db, second, web.admin, web.reader) as again:
                page = again.ask("GET", "/tenant?id=acme", headers=PAGE).data.decode()
                # Its server may be too slow for this service's timeout.
                assert ">moving</span>" in page or "was moving</span>" in page, page
                assert "Move…" in page
                press_move(again)
                until(again, "under way")
        assert first.databases() == second.databases() == ["telemetry_acme"]


def press_move(web: Web) -> None:
    """Log in, and do what the button does."""
    login = web.ask("POST", "/login", token="", json={"token": web.admin})
    cookie = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
    form = web.ask("GET", "/tenant/move?id=acme", token="", headers={**PAGE, **cookie})
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', form.data.decode())
    assert csrf is not None, form.data
    pressed = web.ask(
        "POST",
        "/tenant/move",
        token="",
        headers={**cookie, "Content-Type": "application/x-www-form-urlencoded"},
        body=f"csrf_token={csrf[1]}&id=acme&to=eu1",
    )
    assert pressed.status == 303, pressed.data


def until(web: Web, words: str) -> str:
    """Look at the tenant's page until it says something."""
    for _ in range(200):
        text = web.ask("GET", "/tenant?id=acme", headers=PAGE).data.decode()
        if words in text:
            return text
    raise AssertionError(text)
