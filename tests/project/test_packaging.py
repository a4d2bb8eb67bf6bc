"""What is installed: the packages that setup.cfg lists are the folders that there are."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_pages_of_the_documentation_are_in_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = setup["options.package_data"]["*"].split(", ")
    held = {path for pattern in patterns for path in (ROOT / "influxops").glob(pattern)}
    pages = {ROOT / "influxops" / page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= held


def test_every_package_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    there = [
        ".".join(file.parent.relative_to(root).parts)
        for root, pattern in ((ROOT, "influxops"), (ROOT / "plugins", "influxops_*"))
        for top in root.glob(pattern)
        for file in top.rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(there)
