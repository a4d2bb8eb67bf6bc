"""docs/reference/hooks.md: nothing of the hooks and their values lacks its entry."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

import pytest
from msgspec.structs import fields

from docs.generate.hooks import hooks_by_kind, values
from docs.generate.pages import FOLDER, comments
from influxops.plugin_host.hookspecs import API_VERSION, OPTIONAL, REQUIRED, hooks_of
from influxops.runtime.context import RunContext

PAGE = (FOLDER / "hooks.md").read_text(encoding="utf-8")
#: What plugin authors meet first; others come by being a field of one of these.
FIRST = {"Change", "Check", "Database", "Inventory", "Outcome", "Record", "Report", "Tenant"}
SPECS = [*REQUIRED.values(), *OPTIONAL]


def section(heading: str) -> str:
    parts = re.split(r"^(?=##)", PAGE, flags=re.MULTILINE)
    found = [each for each in parts if each.split("\n")[0].lstrip("# ") == heading]
    assert len(found) == 1, f"{heading}: {len(found)} entries"
    return found[0]


def test_each_hook_is_listed_once_by_who_implements_it() -> None:
    listed = [spec for specs in hooks_by_kind().values() for spec in specs]
    assert sorted(map(id, listed)) == sorted(map(id, SPECS))
    assert f"Version {API_VERSION} " in PAGE


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.__name__))
def test_each_hook_has_its_contract_and_whether_it_must_be_implemented(spec: type) -> None:
    for name, hook in hooks_of(spec).items():
        entry = section(name)
        assert ("*must*" in entry) is (spec in REQUIRED.values())
        assert spec in REQUIRED.values() or f"mixin `{spec.__name__}`" in entry
        assert inspect.getdoc(hook), f"{name} has no docstring"
        assert inspect.getdoc(hook).split("\n")[0] in entry  # type: ignore[union-attr]
        for argument in [*inspect.signature(hook).parameters][1:]:
            assert argument in entry.split("```")[1]


def test_the_values_that_authors_meet_are_listed() -> None:
    assert {"TargetCapabilities", "Location", *FIRST} <= {each.__name__ for each in values()}


@pytest.mark.parametrize("value", values(), ids=lambda value: str(value.__name__))
def test_each_field_of_a_value_is_described(value: Any) -> None:
    entry, said = section(value.__name__), comments(value)
    if issubclass(value, Enum):
        text = inspect.getdoc(value) or ""
        for member in value:
            assert f"| `{member.name}` | `{member.value}` |" in entry
            is_said = said.get(member.name) or len(value) < 4 or f"`{member.name}`" in text
            assert is_said, f"{value.__name__}.{member.name} has no comment"
        return
    for field in fields(value):
        assert said.get(field.name), f"{value.__name__}.{field.name} has no comment"
        (row,) = (line for line in entry.splitlines() if line.startswith(f"| `{field.name}` |"))
        assert ("| must be given |" in row) is field.required


def test_each_part_of_the_context_is_described() -> None:
    entry = section("The run")
    public = {name for name in {*dir(RunContext), *vars(RunContext())} if not name.startswith("_")}
    for name in public:
        assert re.search(rf"^\| `{name}[`(].*\| \S.* \|$", entry, re.MULTILINE), name
