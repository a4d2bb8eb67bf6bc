"""What the contract suites of all kinds of plugins have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

from influxops.config.load import Role, parse_config
from influxops.config.settings import PluginSettings
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.plugin_host.base import Handle
from influxops.plugin_host.discovery import lacks
from influxops.plugin_host.validation import implements, validate_hooks
from influxops.runtime.context import RunContext
from influxops.testing.memory import kinds_of, memory_kinds

#: What the section of the tested plugin is called.
TESTED = "tested"


class PluginContract:
    """What holds for every plugin; derive from the suite of a kind, as `SourceContract`.

    Say what is tested by attributes of the class, or set them on `self` in a fixture that pytest
    uses by itself (`@pytest.fixture(autouse=True)`).
    """

    role: ClassVar[Role]
    #: The plugin's class.
    plugin: ClassVar[type[Any]]
    #: What its section says, as it would be written in influxops.toml.
    settings: Mapping[str, Any] = {}
    #: The same for a place where nothing is available; None where it has none.
    unreachable: Mapping[str, Any] | None = None

    def configuration(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration in which the plugin is used, what else it needs in memory."""
        section = {"kind": TESTED, **settings}
        tested = section if self.role == "ledger" else {TESTED: section}
        memory = {
            "sources": {"memory": {"kind": "memory"}},
            "targets": {"memory": {"kind": "memory"}},
        }
        return {**memory, self.role: tested}

    @contextlib.contextmanager
    def engine(self, settings: Mapping[str, Any] | None = None, **tables: Any) -> Iterator[Engine]:
        """Yield an engine in which the plugin is used; `tables` replace some of its tables."""
        kinds = {**memory_kinds(), **kinds_of({f"{self.role}.{TESTED}": self.plugin})}
        written = self.configuration(self.settings if settings is None else settings)
        with Engine(parse_config({**written, **tables}), kinds=kinds) as engine:
            yield engine

    @contextlib.contextmanager
    def handle(self, settings: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Yield the tested plugin as the engine calls it."""
        with self.engine(settings) as engine:
            yield self.handle_of(engine)

    def handle_of(self, engine: Engine) -> Handle:
        """Return the tested plugin as an engine calls it."""
        handles: list[Handle | None] = [engine.ledger]
        if self.role != "ledger":
            handles = [*getattr(engine, self.role)]
        assert handles[0] is not None
        return handles[0]

    def implements(self, hook: str) -> bool:
        """Return whether the plugin has an optional hook."""
        return implements(self.plugin, hook)

    def needs(self, hook: str) -> None:
        """Skip a test where the plugin lacks an optional hook."""
        if not self.implements(hook):
            skip(f"{self.plugin.__name__} has no {hook}")

    def test_it_implements_the_hooks_of_its_kind_and_no_others(self) -> None:
        """What it must implement is there, and each has arguments that the engine knows."""
        assert not (missing := lacks(self.plugin, self.role)), f"it lacks {missing}"
        assert not (wrong := validate_hooks(self.plugin)), wrong

    def test_it_says_what_it_is_and_what_each_setting_does(self) -> None:
        """`influxops plugins show` has a word for each."""
        assert (self.plugin.__doc__ or "").strip(), "the class has no docstring"
        for name, spec in self.plugin.Settings.declared().items():
            assert spec.description, f"the setting {name} has no description"

    def test_its_settings_show_no_secret(self) -> None:
        """Neither they nor where they lead have the value of a secret."""
        with self.handle() as tested:
            settings: PluginSettings = tested.settings
            shown = repr(settings) + repr(settings.location())
            for secret in settings.secrets():
                assert secret.reveal() not in shown, "a secret is shown"

    def test_its_checks_find_no_fault(self) -> None:
        """`influxops doctor` is content."""
        self.needs("influxops_check")
        with self.handle() as tested:
            checks = [*tested.checks(RunContext())]
        assert checks, "it yields no check"
        faults = [f"{each.name}: {each.message}" for each in checks if each.ok is False]
        assert not faults, faults

    def test_its_checks_tell_of_a_place_that_is_not_there(self) -> None:
        """`influxops doctor` finds a fault, or says that it cannot know, and goes on."""
        self.needs("influxops_check")
        with self.handle(self.unreachable_settings()) as tested:
            checks = [*tested.checks(RunContext())]
        assert any(each.ok is not True for each in checks), f"it is content: {checks}"

    def unreachable_settings(self) -> Mapping[str, Any]:
        """Return settings for a place where nothing is available; skip the test without."""
        if self.unreachable is None:
            skip("`unreachable` says no settings")
        return self.unreachable

    def told(self, error: InfluxopsError, kind: type[InfluxopsError]) -> None:
        """Check an error of the plugin: its kind, a reason, and what to do next."""
        assert isinstance(error, kind), (
            f"{type(error).__name__} instead of {kind.__name__}: {error}"
        )
        assert error.message, "the error says nothing"
        assert error.hint, f"the error has no hint: {error.message}"


def skip(why: str) -> NoReturn:
    """Skip a test."""
    import pytest  # for who runs one; the module is for everybody

    pytest.skip(why)


def raised(work: Any) -> InfluxopsError:
    """Return what a call raises; fail where that is nothing, or no error of a plugin's kind."""
    try:
        work()
    except InfluxopsError as error:
        return error
    raise AssertionError("nothing was raised")
