"""docs/reference: what is generated from the code, and that nothing is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.generate.commands import commands
from docs.generate.configuration import builtin
from docs.generate.environment import OTHERS, variables
from docs.generate.pages import FOLDER, comments, generated, names
from influxops.config.load import all_tables
from influxops.domain.finding import FindingKind
from influxops.engine.operations import GUARDS
from influxops.errors import ExitCode

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
    parts = re.split(r"^(?=##)", PAGES["configuration"], flags=re.MULTILINE)
    assert any(heading in part.split("\n")[0] and f"| `{key}` |" in part for part in parts)


@pytest.mark.parametrize("ctx", [*commands()], ids=lambda ctx: ctx.command_path)
def test_each_command_is_described_with_its_options(ctx: click.Context) -> None:
    command = ctx.command
    text = section("commands", f"## {ctx.command_path}")
    assert command.help
    common = section("commands", "## Options of every command")
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{option.opts} has no help"
            name = max(option.opts, key=len)
            assert re.search(rf"`[^`|]*{name}\b", text + common), name


def test_each_exit_code_is_described() -> None:
    said = comments(ExitCode)
    text = section("commands", "## Exit codes")
    assert all(f"| `{int(code)}` | {said[code.name]} |" in text for code in ExitCode)


@pytest.mark.parametrize("kind", FindingKind)
def test_each_kind_of_finding_is_described(kind: FindingKind) -> None:
    assert f"| `{kind}` | {comments(FindingKind)[kind.name]} |" in PAGES["findings"]


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_is_described(name: str) -> None:
    assert GUARDS[name].what
    assert f"| `{name}` | {GUARDS[name].what} |" in PAGES["guards"]


def test_each_metric_is_described() -> None:
    """A name of a metric is a text of its own in the code of the one that makes it."""
    rows = {
        line.split("`")[1].partition("{")[0].removesuffix("_total"): line.split(" | ")[2]
        for line in PAGES["metrics"].splitlines()
        if line.startswith("| `")
    }
    assert all(says.strip(" |") for says in rows.values())
    named = {
        text
        for text in texts("plugins")
        if re.fullmatch(r"influxops_(web|queue|target|run|last|recorded)_\w+", text)
    }
    others = {"influxops_target_", "influxops_recorded_", "influxops_web_migrations"}
    assert {name for name in named if name not in rows and name not in others} == set()
    assert {"influxops_tenants", "influxops_findings", "influxops_changes"} < rows.keys()


def test_each_variable_of_the_environment_is_described() -> None:
    described = OTHERS.keys() | variables().keys()
    assert {name for name in described if f"| `{name}` |" not in PAGES["environment"]} == set()
    assert read_variables() - described == set()


def section(page: str, heading: str) -> str:
    (text,) = [
        each
        for each in re.split(r"^(?=## )", PAGES[page], flags=re.MULTILINE)
        if each.split("\n")[0] == heading
    ]
    return text


def modules(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for path in (Path(__file__).parents[2] / folder).rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def texts(*folders: str) -> Iterator[str]:
    for node in modules(*folders):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def read_variables() -> set[str]:
    """The variables that the code reads by name."""
    found = set()
    for node in modules("influxops", "plugins"):
        match node:
            case ast.Call(
                func=ast.Attribute(ast.Attribute(attr="environ"), "get"), args=[name, *_]
            ):
                pass
            case ast.Call(func=ast.Attribute(attr="getenv"), args=[name, *_]):
                pass
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=name):
                pass
            case _:
                continue
        if isinstance(name, ast.Constant):
            found.add(str(name.value))
    return found
