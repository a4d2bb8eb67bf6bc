"""The site of the documentation: built without a warning, in order, and searched in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.console.browser import needs_chromium, running_chromium

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--quiet", "--fail-on-warning", "-c", str(DOCS / "site")]
    places = ["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    done = subprocess.run(
        [sys.executable, *command, *places], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def test_each_page_is_on_the_site_in_the_order_of_the_contents(site: Path) -> None:
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    assert {name for name in pages if not (site / f"{name}.html").exists()} == set()
    (contents,) = re.findall(
        r'<nav class="bd-docs-nav.*?</nav>', (site / "ledger.html").read_text(), re.DOTALL
    )
    linked = [name for name in re.findall(r'href="([\w/-]+)\.html', contents) if name in pages]
    listed = re.findall(r"^- \[.*\((.*)\.md\)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert [name for name in linked if name != "index"] == [n for n in listed if n != "ledger"]


@needs_chromium
def test_the_site_is_searched_without_a_server(site: Path) -> None:
    asked: list[str] = []
    with running_chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "search.html").as_uri() + "?q=mass_change")
        found = page.locator("#search-results li a")
        expect(found.first).to_be_visible()
        assert "influxops.toml" in found.all_inner_texts()
        found.first.click()
        expect(page.locator("h1")).to_be_visible()
        page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
