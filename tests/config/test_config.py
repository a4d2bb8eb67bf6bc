"""Configuration files, and what is said about mistakes in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from influxops.config.load import Config, Section, load_config, parse_config
from influxops.config.settings import InvalidSettings
from influxops.config.toml import TomlFile
from influxops.plugin import (
    Change,
    ConfigError,
    Inventory,
    Outcome,
    PluginError,
    PluginSettings,
    RunContext,
    Secret,
    Source,
    SourceSettings,
    Target,
    hookimpl,
    setting,
)
from influxops.plugin_host.base import ResolvedSection
from influxops.plugin_host.resolve import resolve
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.fakes import KINDS, kind


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "influxops.toml"
    path.write_text(text)
    return load_config(path)


def mistake(tmp_path: Path, text: str) -> str:
    with pytest.raises((ConfigError, PluginError)) as caught:
        resolve(load(tmp_path, text), KINDS)
    assert caught.value.exit_code == 2
    return str(caught.value)


def section(**keys: str) -> str:
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return f"""
[sources.registry]
kind = "memory"
world = "w"
[targets.eu1]
kind = "memorydb"
world = "w"
{lines}
"""


def test_without_a_file_the_environment_makes_a_source_and_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INFLUXOPS_CONFIG", raising=False)
    config = load_config()
    assert [(s.full_name, s.kind) for s in config.sections] == [
        ("source:registry", "postgres"),
        ("target:default", "influxdb3"),
    ]


def test_a_file_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INFLUXOPS_CONFIG", raising=False)
    Path("influxops.toml").write_text('[naming]\ndatabase = "t_{tenant_id}"\n')
    assert load_config().naming.database == "t_{tenant_id}"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ('[naming]\ndatabas = "x"\n', 2, "did you mean database?"),
        ("[nameing]\n", 1, "did you mean naming?"),
        ('[database]\n\nretention = "30 parsecs"\n', 3, "30d"),
        ('[naming]\ndatabase = "telemetry"\n', 2, "exactly once"),
        ('[naming]\ndatabase = "{tenant}"\n', 2, "{tenant_id}"),
        ('[placement]\npolicy = "random"\n', 2, "fill"),
        ('[sources.x]\nurl = "y"\n', 1, "kind"),
        (
            '[targets]\n[targets.a]\nkind = "memorydb"\n[placement]\npins = {x = "b"}\n',
            5,
            "targets",
        ),
        ('\n[target.a]\nkind = "memorydb"\n', 2, "did you mean targets?"),
        ("[naming\n", 1, "invalid TOML: expected ']' at the end of a table"),
        ("naming = \n", 1, "invalid value"),
        ("[naming]\ndatabase = x_{tenant_id}\n", 2, "put text in quotes"),
        ('[naming]\ndatabase = "a"\ndatabase = "b"\n', 3, "cannot overwrite a value"),
        ("[naming]\n[run]\n[naming]\n", 3, "write each key and table once"),
        ('[tenants]\nignore = [\n"a"\n', 3, "unclosed array"),
        ('[tenants]\nignore = [\n"a",\n', 3, "close every bracket"),
        ('[naming]\ndatabase = "a\n', 2, "illegal character"),
        ("naming = 3\n", 1, "expected a table"),
        ("[sources]\nregistry = 3\n", 2, "expected a table"),
        ('[run]\ntimeout = "0s"\n', 2, "one second"),
        ('[run]\ntarget_read_timeout = "999999999999w"\n', 2, "365 days"),
        ("[run]\ntarget_read_timeout = 10\n", 2, "expected text, got a whole number"),
        ('[tenants]\nignore = "a"\n', 2, "expected a list of text, got text"),
        ("[tenants]\nignore = [1]\n", 2, "expected a list of text"),
        ("[placement]\npins = 1.5\n", 2, "expected a table of text, got a number"),
        ('[placement]\npolicy = "spred"\n', 2, "expected one of fill, spread"),
        ('[naming]\nacknowledged = ["a"]\n', 2, "was renamed to `ignore` of [tenants]"),
        ('[run]\nreading = "10s"\n', 2, "was renamed to `target_read_timeout`"),
    ],
)
def test_a_mistake_names_file_line_and_what_to_write(
    tmp_path: Path, text: str, line: int, hint: str
) -> None:
    said = mistake(tmp_path, text)
    assert f"influxops.toml:{line}:" in said
    assert hint in said


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ({"utl": '"http://x"'}, "did you mean url?"),
        ({"capacity": '"lots"'}, "capacity"),
        ({"state": '"resting"'}, "expected one of active, draining"),
        ({"state": "[]"}, "expected one of active, draining, got a list"),
        ({"capacity": "true"}, "(at least 0) or unlimited, got true or false"),
        ({"capacity": "-1"}, "expected a whole number (at least 0) or unlimited"),
        ({"capacity": "1979-05-27"}, "got a date"),
        ({"capacity": '{of = "x"}'}, "got a table"),
        ({"token": "3"}, "a secret is never written here"),
    ],
)
def test_a_mistake_in_a_plugins_section_names_its_line_too(
    tmp_path: Path, keys: dict[str, str], hint: str
) -> None:
    said = mistake(tmp_path, section(**keys))
    assert "influxops.toml:8:" in said
    assert hint in said


def test_all_mistakes_of_the_core_tables_are_told_at_once(tmp_path: Path) -> None:
    text = '[naming]\nx = 1\ny = 2\n[run]\ntimeout = "0s"\n[databse]\n'
    assert len(mistake(tmp_path, text).splitlines()) == 4


def test_a_table_of_a_plugin_is_checked_together_with_the_core_tables(tmp_path: Path) -> None:
    told = mistake(tmp_path, '[run]\ntimeout = "soon"\n\n[web]\ndevice_tabel = "x"\n')
    assert "influxops.toml:2: `timeout` of [run]: " in told
    assert (
        "influxops.toml:5: `device_tabel` of [web]: no such setting (did you mean device_table?)"
        in told
    )
    assert (
        load(tmp_path, "[web]\ntimeout = 5\n").where("web", "timeout").endswith("influxops.toml:2")
    )


def test_a_table_whose_plugin_is_broken_is_refused_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[influxops.tables]\nbroken = no_such_module:Table\n")
    monkeypatch.syspath_prepend(tmp_path)
    load(tmp_path, '[run]\ntimeout = "1m"\n')
    with pytest.raises(PluginError, match=r"the table \[broken\] of a plugin cannot be loaded"):
        load(tmp_path, "[broken]\n")


def test_a_kind_that_is_not_installed_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    targets = '[targets.eu1]\nkind = "memorydb"\nworld = "w"\n'
    said = mistake(tmp_path, f'[sources.a]\nkind = "memmory"\n{targets}')
    assert "did you mean memory?" in said
    said = mistake(tmp_path, f'[sources.a]\nkind = "memo"\nworld = "w"\n{targets}')
    assert "it serves as reporter" in said


def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = section().replace('world = "w"\n[targets', 'world = "w"\npassword = "hunter2"\n[targets')
    said = mistake(tmp_path, text)
    assert "hunter2" not in said
    assert "`env`" in said
    assert "`file`" in said


def test_a_literal_secret_is_refused_even_where_a_variable_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_PASS", "from-environment")
    text = section().replace('world = "w"\n[targets', 'world = "w"\npassword = "hunter2"\n[targets')
    said = mistake(tmp_path, text)
    assert "influxops.toml:5:" in said
    assert "hunter2" not in said


def test_a_variable_wins_over_the_file_and_its_name_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_URL", "http://127.0.0.1:1")
    config = load(tmp_path, section(url='"http://localhost:2"'))
    target = resolve(config, KINDS)[1]
    assert _url(target) == "http://127.0.0.1:1"
    assert target.origins["url"] == "MEMORY_URL"
    assert target.origins["world"].endswith("influxops.toml:7")
    assert target.origins["state"] == "default"


def test_a_variable_speaks_for_no_section_where_several_are_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_URL", "http://127.0.0.1:1")
    more = '[targets.eu2]\nkind = "memorydb"\nworld = "w"\nurl = "http://localhost:3"\n'
    text = section(url='"http://localhost:2"').replace(
        "[targets", 'host = "localhost"\n[targets', 1
    )
    targets = resolve(load(tmp_path, text + more), KINDS)[1:]
    assert [_url(target) for target in targets] == ["http://localhost:2", "http://localhost:3"]


def test_a_default_never_meets_an_explicit_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_HOST", "db.example")
    said = mistake(tmp_path, section())
    assert "source:registry is on another machine (db.example)" in said
    assert "target:eu1" in said
    monkeypatch.setenv("MEMORY_HOST", "127.0.0.1")
    assert resolve(load(tmp_path, section()), KINDS)
    monkeypatch.delenv("MEMORY_HOST")
    monkeypatch.setenv("MEMORY_URL", "https://influx.example:8181")
    assert "target:eu1 is on another machine" in mistake(tmp_path, section())


def test_what_a_program_says_wins_over_the_environment_and_a_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_URL", "http://localhost/variable")

    def url(config: Config) -> str:
        (target,) = [item for item in resolve(config, KINDS) if item.section.role == "targets"]
        location = target.location
        assert location is not None
        return location.text

    said = {"kind": "memorydb", "world": "w", "url": "http://localhost/said"}
    sources = {"registry": {"kind": "memory", "world": "w"}}
    program = parse_config({"sources": sources, "targets": {"eu1": said}})
    file = load(tmp_path, section(url='"http://localhost/said"'))
    assert url(program) == "http://localhost/said"
    assert url(file) == "http://localhost/variable"


def test_a_missing_file_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="influxops init"):
        load_config(tmp_path / "nope.toml")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no.such.module:Thing", "ModuleNotFoundError"),
        ("tests.fakes:KINDS", "is no plugin"),
        ("tests.fakes:nothing", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_fatal_only_where_it_is_used(value: str, reason: str) -> None:
    kinds = {**KINDS, "broken": kind("broken", value)}
    used = parse_config({"sources": {"a": {"kind": "broken"}}, "targets": _target()})
    with pytest.raises(PluginError, match=reason) as caught:
        resolve(used, kinds)
    assert caught.value.exit_code == 2
    unused = parse_config(
        {"sources": {"a": {"kind": "memory", "world": "w"}}, "targets": _target()}
    )
    assert len(resolve(unused, kinds)) == 2


def test_a_kind_that_two_distributions_offer_names_both() -> None:
    first, second = KINDS["memory"].entry_points[0], KINDS["memorydb"].entry_points[0]
    double = type(KINDS["memory"])("memory", (first, second))
    with pytest.raises(PluginError, match=r"is offered by .* and .*"):
        double.load()


def test_mistakes_of_several_sections_and_of_pins_are_told_at_once(tmp_path: Path) -> None:
    text = section(capacity='"x"', state='"y"') + '[targets.eu2]\nkind = "memorydb"\nuurl = "z"\n'
    assert len(mistake(tmp_path, text).splitlines()) == 4
    text = section() + '[placement]\npolicy = "x"\n[placement.pins]\na = "eu2"\nb = "eu3"\n[x]\n'
    assert len(mistake(tmp_path, text).splitlines()) == 4
    text = section() + '[placement.pins]\na = "eu2"\nb = "eu1"\nc = "eu3"\n[x]\n'
    assert len(mistake(tmp_path, text).splitlines()) == 3


HIDDEN = "Xq7Zw2"


@pytest.mark.parametrize(
    "text",
    [
        f'[naming]\ndatabase = "{HIDDEN}"\n',
        f'[tenants]\nignore = "{HIDDEN}"\n',
        f'[database]\nretention = "{HIDDEN}"\n',
        f'[placement]\npolicy = "{HIDDEN}"\n',
        f'[placement]\npins = "{HIDDEN}"\n',
        f'[run]\ntimeout = "{HIDDEN}"\n',
        f'run = "{HIDDEN}"\n',
        f'targets = "{HIDDEN}"\n',
        f'[targets]\neu1 = "{HIDDEN}"\n',
        *[section(**{key: f'"{HIDDEN}"'}) for key in ("capacity", "state", "token", "urrl")],
        section(token=f'{{envv = "{HIDDEN}"}}'),
        section(token=f'["{HIDDEN}"]'),
        section(state=f'["{HIDDEN}"]'),
        f"[run]\ntimeout = {HIDDEN}\n",
        f'[run]\ntimeout = "{HIDDEN}\n',
        f'[run]\ntimeout = "\\{HIDDEN}"\n',
    ],
)
def test_no_value_is_repeated(tmp_path: Path, text: str) -> None:
    assert HIDDEN not in mistake(tmp_path, text)


def test_a_setting_is_called_as_its_author_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load(tmp_path, section())
    target = resolve(file, KINDS)[1]
    assert target.written("url") == "`url` of [targets.eu1]"
    monkeypatch.setenv("MEMORY_URL", "http://localhost:1")
    assert resolve(file, KINDS)[1].written("url") == "MEMORY_URL"
    one = parse_config({"targets": _target()})
    assert next(one.by_role("targets")).written("url", ("MEMORY_URL",)) == "`url`"
    two = parse_config({"targets": {**_target(), "eu2": {"kind": "memorydb"}}})
    assert next(two.by_role("targets")).written("url") == "`url` of targets.eu1"
    alone = Section("targets", "default", "memorydb")
    assert alone.written("url", ("MEMORY_URL", "OTHER")) == "MEMORY_URL"
    assert alone.written("capacity") == "`capacity` of [targets.default] in influxops.toml"
    odd = Section("targets", "a b", "memorydb", author=TomlFile(tmp_path / "influxops.toml"))
    assert odd.written("url") == '`url` of [targets."a b"]'


def test_a_mistake_is_told_in_the_words_of_its_author(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = mistake(tmp_path, section(capacity="1.5"))
    assert "influxops.toml:8: `capacity` of [targets.eu1]: expected" in said
    program = parse_config({"sources": _source(), "targets": _target(capacity=1.5)})
    with pytest.raises(ConfigError, match=r"^`capacity`: expected"):
        resolve(program, KINDS)
    with pytest.raises(ConfigError, match=r"^`database.retention`: x is no duration"):
        parse_config({"database": {"retention": "x"}})
    monkeypatch.setenv("SERIES_SIZE", "many")
    kinds = {**KINDS, "series": kind("series", "tests.config.test_config:SeriesSource")}
    text = section().replace('"memory"\nworld = "w"', '"series"')
    with pytest.raises(ConfigError, match=r"^SERIES_SIZE: expected a whole number \(at least 1\)$"):
        resolve(load(tmp_path, text), kinds)


def test_what_is_overridden_by_a_variable_is_checked_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERIES_SIZE", "3")
    kinds = {**KINDS, "series": kind("series", "tests.config.test_config:SeriesSource")}
    text = section().replace('"memory"\nworld = "w"', '"series"\nsize = 0')
    with pytest.raises(ConfigError, match=r":4: `size` of \[sources.registry\]: expected"):
        resolve(load(tmp_path, text), kinds)
    text = section().replace('"memory"\nworld = "w"', '"series"\nsize = 2')
    (source, _) = resolve(load(tmp_path, text), kinds)
    assert source.settings.given == {"size"}
    assert getattr(source.settings, "size") == 3  # noqa: B009


def test_a_numbers_that_is_none_is_refused() -> None:
    for value in (float("nan"), float("inf"), True, "3"):
        config = parse_config(
            {"sources": _source(), "targets": _target(), "reporters": _memo(timeout=value)}
        )
        with pytest.raises(ConfigError, match="`timeout`: expected a "):
            resolve(config, KINDS)


@pytest.mark.parametrize(
    "number", [2**63, -(2**64), 2**20_000], ids=["64 bits", "negative", "thousands of digits"]
)
def test_a_number_that_nothing_else_could_hold_is_refused(number: int) -> None:
    url = {"url": "http://127.0.0.1:1"}
    with pytest.raises(InvalidSettings, match="capacity: expected a whole number"):
        InfluxDB3Settings.parse({**url, "capacity": number})
    assert InfluxDB3Settings.parse({**url, "capacity": 2**63 - 1}).capacity == 2**63 - 1


def test_how_long_reading_may_take_is_configured(tmp_path: Path) -> None:
    assert load(tmp_path, "").reading == 10
    assert load(tmp_path, '[run]\ntarget_read_timeout = "1m"\n').reading == 60


def test_where_a_table_says_something_is_known(tmp_path: Path) -> None:
    config = load(tmp_path, '[run]\ntarget_read_timeout = "1m"\n')
    assert config.where("run", "target_read_timeout").endswith("influxops.toml:2")
    assert config.where("run", "timeout") == "default"
    assert (
        parse_config({"run": {"target_read_timeout": "1m"}}).where("run", "target_read_timeout")
        == "a program"
    )


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        ("30m", "30m is shorter than the 1h that eu1 keeps at least"),
        ("200000d", "that eu1 keeps at most"),
    ],
)
def test_a_retention_that_a_target_does_not_keep_is_refused(
    tmp_path: Path, retention: str, said: str
) -> None:
    text = section() + f'[database]\nretention = "{retention}"\n'
    assert f"influxops.toml:10: `retention` of [database]: {retention} is" in mistake(
        tmp_path, text
    )
    assert said in mistake(tmp_path, text)


class PlainTarget(Target):
    """Knows no retention period."""

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        return Inventory({})

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        return iter(())


class SeriesSource(Source):
    """Gives tenants in a series."""

    class Settings(SourceSettings):
        """How many."""

        size: int = setting(1, description="How many.", env=("SERIES_SIZE",), ge=1)

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> list[Any]:
        return []


class MisspeltSource(Source):
    """Has its hook's name wrong."""

    @hookimpl
    def influxops_tenant(self) -> list[Any]:
        return []


class BrokenSource(SeriesSource):
    """Has a check that breaks, and an exception that repeats a value."""

    class Settings(SourceSettings):
        """One word."""

        word: str = setting(description="A word.")

        def check(self) -> None:
            raise KeyError(self.word)


class UnfinishedSource(SeriesSource):
    """Has an annotation that names what is not there."""

    class Settings(SourceSettings):
        """Nothing that works."""

        word: NotThere = setting(description="A word.")  # type: ignore[name-defined]  # noqa: F821


def _with(name: str) -> Mapping[str, Any]:
    return {**KINDS, "own": kind("own", f"tests.config.test_config:{name}")}


def test_a_retention_is_refused_where_a_target_knows_none(tmp_path: Path) -> None:
    text = section() + '[targets.plain]\nkind = "own"\n[database]\nretention = "30d"\n'
    with pytest.raises(ConfigError, match="plain keeps no retention periods"):
        resolve(load(tmp_path, text), _with("PlainTarget"))
    forever = text.replace("30d", "none")
    assert len(resolve(load(tmp_path, forever), _with("PlainTarget"))) == 3


def test_a_template_that_makes_no_name_which_a_target_takes_is_refused(tmp_path: Path) -> None:
    text = '[naming]\ndatabase = "a/{tenant_id}"\n' + section()
    said = mistake(tmp_path, text)
    assert "influxops.toml:2: `database` of [naming]: a database's name holds a slash" in said
    more = text + '[targets.plain]\nkind = "own"\n'
    assert len(resolve(load(tmp_path, more), _with("PlainTarget"))) == 3


def test_a_misspelt_hook_is_named_with_the_nearest() -> None:
    config = parse_config({"sources": {"a": {"kind": "own"}}, "targets": _target()})
    with pytest.raises(ConfigError, match=r"influxops_tenant \(did you mean influxops_tenants\?\)"):
        resolve(config, _with("MisspeltSource"))


@pytest.mark.parametrize("name", ["BrokenSource", "UnfinishedSource"])
def test_a_plugin_that_breaks_over_its_settings_is_named_and_no_value_is(name: str) -> None:
    config = parse_config({"sources": {"a": {"kind": "own", "word": HIDDEN}}, "targets": _target()})
    with pytest.raises(PluginError, match=r"source:a: the plugin kind 'own' of .* broke") as caught:
        resolve(config, _with(name))
    assert HIDDEN not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_secret_that_cannot_be_read_is_no_mistake_of_the_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, section(token='{file = "nowhere"}'))
    resolved = resolve(config, KINDS)
    (secret,) = (each for item in resolved for each in item.settings.secrets())
    with pytest.raises(ConfigError, match="nowhere"):
        secret.reveal()


def test_settings_are_equal_by_what_they_say_and_do_not_change() -> None:
    class Own(PluginSettings):
        """Two."""

        a: int = setting(1, description="")
        b: Secret | None = setting(None, description="")

    assert Own.parse({"a": 1}) != Own.parse({})  # who gave a value is told apart
    assert Own.parse({"a": 1}) == Own.parse({"a": 1})
    assert (
        repr(Own.parse({"b": Secret.given("x", "the parameter `b`")})).count("the parameter") == 1
    )
    with pytest.raises(AttributeError):
        Own.parse({}).a = 2
    with pytest.raises(TypeError):
        Own(c=1)


def test_a_file_that_is_a_pipe_is_read_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops.config.toml.PATIENCE", 0.05)
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    start = time.monotonic()
    with pytest.raises(ConfigError, match="no process writes to"):
        load_config(pipe)
    reader, writer = os.pipe()
    os.write(writer, b'[run]\ntarget_read_timeout = "7s"\n')
    with pytest.raises(ConfigError, match="none closes"):
        load_config(f"/dev/fd/{reader}")
    assert time.monotonic() - start < 5
    os.write(writer, b'[run]\ntarget_read_timeout = "7s"\n')
    os.close(writer)
    assert load_config(f"/dev/fd/{reader}").reading == 7
    os.close(reader)


@pytest.mark.parametrize("name", [".", "/dev/zero", "a\0b"])
def test_what_is_no_file_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(name)
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret(file=name).reveal()


def test_nothing_at_all_is_a_configuration() -> None:
    assert load_config("/dev/null").reading == 10


def test_a_folder_that_is_gone_holds_no_file(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os\nos.rmdir(os.getcwd())\nfrom influxops.config.load import load_config\n"
        "print(load_config().path)\nfrom influxops.errors import ConfigError\n"
        "try:\n    load_config('x.toml')\nexcept ConfigError as error:\n    print(error.message)"
    )
    env = {key: value for key, value in os.environ.items() if key != "INFLUXOPS_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\nthe configuration file x.toml does not exist\n"


def test_importing_the_configuration_loads_no_parser() -> None:
    code = (
        "import sys, influxops.config.load\n"
        "slow = {'tomllib', 'difflib', 'pydantic', 'socket'}\n"
        "print(sorted(slow & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def _url(target: ResolvedSection) -> str:
    location = target.location
    assert location is not None
    return location.text


def _source() -> dict[str, Any]:
    return {"registry": {"kind": "memory", "world": "w"}}


def _target(**values: Any) -> dict[str, Any]:
    return {"eu1": {"kind": "memorydb", "world": "w", **values}}


def _memo(**values: Any) -> dict[str, Any]:
    return {"memo": {"kind": "memo", "world": "w", **values}}
