"""Pages in a real browser: Debian's Chromium without a window, and axe's rules."""

from __future__ import annotations

import contextlib
import http.cookies
import shutil
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect, sync_playwright

from tests.web.conftest import Web

Scheme = Literal["light", "dark"]
#: A desktop's window, and a phone's.
WIDE, NARROW = (1280, 900), (375, 740)
#: Milliseconds that a page is waited for; a machine that is busy with other tests needs a few.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

COOKIE = "pulse_session"
#: What the browser says of an answer that is an error; that of a page itself may be one.
_NOT_LOADED = "Failed to load resource"

needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="needs Chromium: apt-get install chromium"
)


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser,
    web: Web,
    token: str | None = None,
    *,
    scheme: Scheme = "light",
    size: tuple[int, int] = WIDE,
) -> Iterator[Page]:
    """Open a page of the console, logged in with a token.

    Whatever the page complains about (a script that is refused, a file that is not there) fails
    the test.
    """
    width, height = size
    context: BrowserContext = browser.new_context(
        base_url=web.url,
        color_scheme=scheme,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in ("error", "warning") and not said.text.startswith(_NOT_LOADED)
            else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda answer: complaints.extend(_wrong(answer, web.url)))
    try:
        if token is not None:
            context.add_cookies([{"name": COOKIE, "value": session(web, token), "url": web.url}])
        yield page
    finally:
        context.close()
    assert not complaints, complaints


#: The cookies of sessions, by service and token. Logins are limited, so all tests share them.
_sessions: dict[tuple[str, str], str] = {}


def session(web: Web, token: str) -> str:
    """The cookie of a session."""
    found = _sessions.get((web.url, token))
    if found is None:
        answer = web.ask("POST", "/login", token="", json={"token": token})
        assert answer.status == 200, answer.data
        found = http.cookies.SimpleCookie(answer.headers["set-cookie"])[COOKIE].value
        _sessions[web.url, token] = found
    return found


def _wrong(answer: Response, url: str) -> Iterator[str]:
    """What is wrong with a request of a page: it goes elsewhere, or finds nothing."""
    if not answer.url.startswith((url, "data:")):
        yield f"asks {answer.url}"
    if answer.status >= 400 and answer.request.resource_type != "document":
        yield f"{answer.url}: {answer.status}"


def accessible(page: Page) -> list[str]:
    """What axe's rules find on a page; nothing is right."""
    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{each['id']}: {each['help']} {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
    ]


def shifted(page: Page) -> int:
    """By how many pixels a page is wider than the window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wider
