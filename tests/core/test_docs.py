"""Documentation, held against what it describes."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest
from influxops.sections import resolve_section

from influxops import hookspecs, parse_config
from influxops.cli.group import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLUGINS = (ROOT / "docs" / "plugins.md").read_text()
HOOKS = [name for name in vars(hookspecs) if name.startswith("influxops_")]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    parameters = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({parameters})`" in PLUGINS


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"`(influxops_\w+)\(", PLUGINS)) == set(HOOKS)


def test_every_command_of_the_core_is_in_the_readme() -> None:
    documented = set(re.findall(r"^\| `influxops (\w+)", README, flags=re.MULTILINE))
    assert documented == set(cli._modules)


def test_the_readmes_configuration_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from influxops.plugins import installed

    (text,) = blocks(README, "toml")
    config = parse_config(tomllib.loads(text))
    for section in config.sections:
        resolve_section(section, installed(), use_environment=False)


def test_the_file_that_init_writes_says_what_the_defaults_are() -> None:
    from influxops.plugins import installed

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


def test_the_example_of_a_plugin_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from influxops import Run, SourceError

    code = blocks(PLUGINS, "python")[0]
    namespace: dict[str, object] = {"__name__": "influxops_http"}
    exec(compile(code, "influxops_http.py", "exec", dont_inherit=True), namespace)
    source = namespace["HttpSource"]
    listing = tmp_path / "tenants.json"
    listing.write_text('["a", "b"]')
    made = source("registry", source.Settings(url=listing.as_uri()))  # type: ignore[operator, attr-defined]
    assert [tenant.id for tenant in made.influxops_tenants(Run())] == ["a", "b"]
    listing.write_text("no json")
    with pytest.raises(SourceError, match="gave no list"):
        list(made.influxops_tenants(Run()))
