"""What the console looks like, on what `influxops demo --web` runs.

With UPDATE_SCREENSHOTS=1 the picture in docs/ is taken again; look at it before a commit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.integration.command import PROGRAM, Cli
from tests.web.console.browser import Scheme, needs_chromium, running_chromium, shifted

pytestmark = [pytest.mark.stand_in, needs_chromium]

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "console.png"
#: What fits beside a page's text.
SIZE = (1000, 900)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Where the console of the demo is, and an operator's token."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user than root
        cli = Cli(tmp_path, {"TMPDIR": folder})
        process = subprocess.Popen(
            [str(PROGRAM), "demo", "--web"],
            cwd=tmp_path,
            env=cli.environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                shown = []
                for line in process.stdout:
                    shown.append(line.strip())
                    if line.startswith("Ctrl-C"):
                        break
                url = next(line for line in shown if line.startswith("http://127.0.0.1:"))
                token = next(line for line in shown if line.startswith("iop_"))
                yield url, token
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def test_the_console_looks_as_the_documentation_shows_it(
    demo: tuple[str, str], tmp_path: Path
) -> None:
    url, token = demo
    with running_chromium() as browser:
        schemes: list[Scheme] = ["light", "dark"]
        for scheme in schemes:
            width, height = SIZE
            context = browser.new_context(
                base_url=url,
                color_scheme=scheme,
                viewport={"width": width, "height": height},
            )
            page = context.new_page()
            page.goto("/")
            page.get_by_label("Operator's token").fill(token)
            page.get_by_role("button", name="Log in").click()
            for name, path in (
                ("tenants", "/"),
                ("fleet", "/fleet"),
                ("runs", "/runs"),
                ("tenant", "/tenant?id=acme"),
            ):
                page.goto(path)
                taken(page, tmp_path / f"{name}-{scheme}.png")
            assert page.get_by_role("img").locator("rect").count() > 0
            if scheme == "light" and os.environ.get("UPDATE_SCREENSHOTS"):
                page.screenshot(path=PICTURE)
            context.close()
    assert PICTURE.stat().st_size < 150_000, "a picture is quick to load"


def taken(page: Page, path: Path) -> None:
    """Take a picture, and see that the page fits its window and is not empty."""
    page.screenshot(path=path)
    assert shifted(page) == 0
    # One colour alone would be packed into next to nothing.
    assert path.stat().st_size > 5_000
