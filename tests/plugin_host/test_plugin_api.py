"""What plugins are held to when they are loaded, and what they import."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from msgspec.structs import replace

import influxops.plugin
from influxops.config.load import parse_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.errors import PluginError, PluginLoadError
from influxops.plugin import (
    PluginSettings,
    RunContext,
    TargetCapabilities,
    Tenant,
    TenantLookup,
    hookimpl,
    setting,
)
from influxops.plugin_host.hookspecs import API_VERSION, OPTIONAL, REQUIRED, hooks_of
from influxops.plugin_host.validation import implements, validate_hooks
from influxops.report.model import Report
from tests.bench import Bench
from tests.fakes import KINDS, MemorySource, MemoryTarget, kind

GOOD = MemoryTarget.capabilities


class OwnTarget(MemoryTarget):
    """Declares what a test wants."""

    capabilities: Any = GOOD


class PlainSettings(MemoryTarget):
    """Has settings that the engine cannot read."""

    class Settings(PluginSettings):
        world: str = setting(description="Which world.")


class Newer(MemorySource):
    API_VERSION = API_VERSION + 1


class Nonsense(MemorySource):
    API_VERSION = "3"


class Current(MemorySource):
    API_VERSION = API_VERSION


class Unfinished(MemorySource, TenantLookup):
    """Says that it looks up tenants, and does not."""


class Finished(MemorySource, TenantLookup):
    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        return []


OWN = {
    **KINDS,
    **{
        n: kind(n, f"tests.plugin_host.test_plugin_api:{n}")
        for n in (
            "OwnTarget",
            "PlainSettings",
            "Newer",
            "Nonsense",
            "Current",
            "Unfinished",
            "Finished",
        )
    },
}


def run(bench: Bench, **extra: Any) -> Report:
    bench.tenants("a")
    bench.extra = extra
    with Engine(parse_config(bench.merged()), kinds=OWN) as engine:
        return engine.run(Ensure(), RunContext())


def with_target(bench: Bench) -> Report:
    bench.targets = ()
    return run(bench, targets={"own": {"kind": "OwnTarget", "world": bench.name}})


def with_source(bench: Bench, name: str) -> Report:
    return run(bench, sources={"own": {"kind": name, "world": bench.name}})


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"server": "mine"}, "`capabilities` is dict, not TargetCapabilities"),
        (TargetCapabilities(retention=("1h", "30d")), "`retention` of its capabilities"),  # type: ignore[arg-type]
        (replace(GOOD, completion_marker=1), "`completion_marker` of its capabilities"),
        (replace(GOOD, visible_after="1 s"), "`visible_after` of its capabilities"),
        (replace(GOOD, validate_name="[a-z]+"), "`validate_name` is str, not a function"),
    ],
)
def test_a_target_that_declares_nonsense_is_named_when_it_is_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, declared: object, says: str
) -> None:
    monkeypatch.setattr(OwnTarget, "capabilities", declared)
    with pytest.raises(PluginLoadError) as caught:
        with_target(bench)
    message = caught.value.message
    assert message.startswith("target:own (kind OwnTarget of an unknown distribution)")
    assert says in message


def test_a_target_whose_settings_lack_what_the_engine_reads_is_named(bench: Bench) -> None:
    bench.targets = ()
    with pytest.raises(PluginLoadError) as caught:
        run(bench, targets={"own": {"kind": "PlainSettings", "world": bench.name}})
    message = caught.value.message
    assert message.startswith("target:own (kind PlainSettings of an unknown distribution)")
    assert "does not derive from influxops.plugin.TargetSettings" in message


@pytest.mark.parametrize("rule", ["validate_name", "validate_tenant"])
@pytest.mark.parametrize("gives", [None, 1 / 3])
def test_a_rule_of_a_target_that_breaks_is_the_plugins_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, rule: str, gives: object
) -> None:
    def broken(text: str) -> Any:
        return "" if gives is None and text != "a" and text != "telemetry_a" else gives

    monkeypatch.setattr(OwnTarget, "capabilities", replace(GOOD, **{rule: broken}))
    with pytest.raises(PluginError) as caught:
        with_target(bench)
    message = caught.value.message
    assert message.startswith("target:own (kind OwnTarget of an unknown distribution)")
    assert f"`{rule}` of its capabilities broke: TypeError" in message


@pytest.mark.parametrize("name", ["Newer", "Nonsense"])
def test_a_plugin_for_a_newer_version_of_the_api_is_refused_when_it_is_loaded(
    bench: Bench, name: str
) -> None:
    with pytest.raises(PluginLoadError) as caught:
        with_source(bench, name)
    says = f"the plugin kind {name!r} of an unknown distribution was written for version"
    assert says in str(caught.value)
    assert with_source(bench, "Current").exit_code == 0


def test_a_plugin_that_derives_from_a_mixin_has_to_implement_its_hook(bench: Bench) -> None:
    with pytest.raises(PluginLoadError) as caught:
        with_source(bench, "Unfinished")
    says = "influxops_get_tenants of its base class TenantLookup is not implemented"
    assert says in caught.value.message
    assert validate_hooks(Unfinished) == says
    assert not implements(Unfinished, "influxops_get_tenants")
    assert implements(Finished, "influxops_get_tenants")
    assert with_source(bench, "Finished").exit_code == 0


def test_no_two_hooks_have_one_name_and_the_context_is_the_last_argument() -> None:
    specs = [hooks_of(spec) for spec in (*REQUIRED.values(), *OPTIONAL)]
    names = [name for hooks in specs for name in hooks]
    assert len(names) == len(set(names))
    for hooks in specs:
        for name, hook in hooks.items():
            arguments = hook.__code__.co_varnames[1 : hook.__code__.co_argcount]
            assert arguments[-1:] == ("context",) or name == "influxops_close"


@pytest.mark.parametrize("module", ["base", "source", "target", "ledger", "reporter", "cli"])
def test_what_a_kind_of_plugin_imports_is_listed(module: str) -> None:
    found = importlib.import_module(f"influxops.plugin.{module}")
    for name in found.__all__:
        assert hasattr(found, name)
        if module != "cli":
            assert getattr(influxops.plugin, name) is getattr(found, name)
