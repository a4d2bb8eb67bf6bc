"""Documentation, held against what it describes."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from influxops.config.load import parse_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.errors import ExitCode, SourceError
from influxops.plugin_host.hookspecs import API_VERSION, OPTIONAL, REQUIRED, hooks_of
from influxops.plugin_host.resolve import resolve_section
from influxops.runtime.context import RunContext
from influxops_postgres.connection.migrations import migrations
from tests.bench import Bench
from tests.fakes import KINDS, kind

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLUGINS = (ROOT / "docs" / "plugins.md").read_text()
HOOKS = {
    name: (spec, hook)
    for spec in (*REQUIRED.values(), *OPTIONAL)
    for name, hook in hooks_of(spec).items()
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_signature_and_its_mixin(name: str) -> None:
    spec, hook = HOOKS[name]
    parameters = ", ".join([*inspect.signature(hook).parameters][1:])
    mixin = "must" if spec in REQUIRED.values() else f"`{spec.__name__}`"
    assert f"`{name}({parameters})` | {mixin} |" in PLUGINS


def test_the_version_of_the_hooks_is_documented() -> None:
    assert f"`API_VERSION = {API_VERSION}`" in PLUGINS


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"`(influxops_\w+)\(", PLUGINS)) == set(HOOKS)


def test_the_page_of_what_is_promised_names_all_exit_codes_and_modules_for_plugins() -> None:
    text = (ROOT / "docs" / "stability.md").read_text()
    (codes,) = re.findall(r"exit codes ([\d, and]+)", text)
    assert {*map(int, re.findall(r"\d+", codes))} == {*ExitCode}
    (modules,) = re.findall(r"of its modules (.*?) \|", text)
    there = {path.stem for path in (ROOT / "influxops" / "plugin").glob("[a-z]*.py")}
    assert set(re.findall(r"`(\w+)`", modules)) == there
    assert "(docs/stability.md)" in README


def test_the_readme_is_two_screens_and_names_what_it_has_no_room_for() -> None:
    assert len(README.splitlines()) <= 100
    named = re.findall(r"\]\(([\w/.-]+)\)", README)
    assert all((ROOT / name).exists() for name in named)
    assert {"docs/index.md", "docs/quickstart.md", "docs/images/run.svg"} <= {*named}


def test_pages_show_the_ledger_of_the_version_that_is_installed() -> None:
    newest = migrations("influxops_postgres.ledger")[-1].version
    pages = (ROOT / "docs" / name for name in ("ledger.md", "lifecycle.md"))
    shown = {
        number for page in pages for number in re.findall(r"of version (\d+)", page.read_text())
    }
    assert shown == {str(newest)}


def test_the_file_that_init_writes_says_what_the_defaults_are() -> None:
    from influxops.plugin_host.discovery import installed

    text = (ROOT / "influxops" / "cli" / "influxops.toml").read_text()
    plain = parse_config(tomllib.loads(text))
    nothing = parse_config({})
    assert (plain.naming, plain.database, plain.placement, plain.run) == (
        nothing.naming,
        nothing.database,
        nothing.placement,
        nothing.run,
    )
    for given, default in zip(plain.sections, nothing.sections, strict=True):
        assert (
            resolve_section(given, installed(), use_environment=False).settings
            == resolve_section(default, installed(), use_environment=False).settings
        )


def example(number: int, name: str) -> Any:
    code = blocks(PLUGINS, "python")[number]
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(code, f"{name}.py", "exec", dont_inherit=True), namespace)
    return namespace[name]


def test_the_smallest_source_of_the_documentation_is_one() -> None:
    source = example(0, "CrmSource")
    made = source("customers", source.Settings())
    assert [tenant.id for tenant in made.influxops_tenants(RunContext())] == ["acme", "globex"]


def test_the_source_with_settings_of_the_documentation_reads_its_list(tmp_path: Path) -> None:
    source = example(1, "HttpSource")
    listing = tmp_path / "tenants.json"
    listing.write_text('["a", "b"]')
    made = source("registry", source.Settings.parse({"url": listing.as_uri()}))
    assert [tenant.id for tenant in made.influxops_tenants(RunContext())] == ["a", "b"]
    listing.write_text("no json")
    with pytest.raises(SourceError, match="gave no list"):
        list(made.influxops_tenants(RunContext()))


def test_the_target_of_the_documentation_works_in_a_run(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("influxops_folders")
    vars(module)["FolderTarget"] = example(2, "FolderTarget")
    monkeypatch.setitem(sys.modules, "influxops_folders", module)
    (tmp_path / "telemetry_a").mkdir()
    bench.targets = ()
    bench.extra = {"targets": {"here": {"kind": "folder", "path": str(tmp_path)}}}
    bench.tenants("a", "b")
    kinds = {**KINDS, "folder": kind("folder", "influxops_folders:FolderTarget")}
    with Engine(parse_config(bench.merged()), kinds=kinds) as engine:
        report = engine.run(Ensure(), RunContext())
    assert {each.name for each in tmp_path.iterdir()} == {"telemetry_a", "telemetry_b"}
    assert report.exit_code == 0


def test_contributings_map_names_every_module_of_the_core() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`(influxops/[\w/]+\.py|influxops/[\w/]+/)`", text))
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "influxops").rglob("*.py")
        if not path.name.startswith("_")
    }
    folders = {name for name in named if name.endswith("/")}
    missing = {name for name in there - named if not any(name.startswith(f) for f in folders)}
    assert not missing
    assert not {name for name in named if not (ROOT / name).exists()}


def test_the_tests_that_pages_name_exist() -> None:
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"tests/[\w/]+\.py", page.read_text())}
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()
