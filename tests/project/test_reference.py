"""docs/reference: what is generated from the code, and that nothing is missing."""

from __future__ import annotations

import re

import pytest

from docs.generate.configuration import builtin
from docs.generate.pages import FOLDER, generated, names
from influxops.config.load import all_tables

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generated()


@pytest.mark.parametrize("name", names())
def test_a_page_of_the_reference_is_as_the_code_makes_it(name: str, pages: dict[str, str]) -> None:
    assert PAGES[name] == pages[name], "`make reference` writes it"


def test_each_page_of_the_reference_is_generated() -> None:
    assert PAGES.keys() == {*names()}


def keys() -> list[tuple[str, str, str]]:
    """Each key: its heading, its name, what it does."""
    found = [(f"## [{name}]", table) for name, table in all_tables().items()]
    for plugin in builtin():
        found.append((f'`kind = "{plugin.kind}"`', plugin.load().Settings))
    return [
        (heading, key, spec.description)
        for heading, settings in found
        for key, spec in settings.declared().items()
    ]


@pytest.mark.parametrize(("heading", "key", "description"), keys())
def test_each_key_of_the_configuration_is_described(
    heading: str, key: str, description: str
) -> None:
    assert description, f"{key}: setting(…, description=…)"
    sections = re.split(r"^(?=##)", PAGES["configuration"], flags=re.MULTILINE)
    assert any(
        heading in section.split("\n")[0] and f"| `{key}` |" in section for section in sections
    )
