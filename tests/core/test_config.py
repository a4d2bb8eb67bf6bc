"""Configuration files, and what is said about mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from influxops.sections import resolve

from influxops import Config, ConfigError, PluginError, load_config, parse_config
from tests.core.fakes import KINDS, kind


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
        ('[database]\nretention = "5m"\n', 2, "shorter than an hour"),
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
        ('[database]\nretention = "200000d"\n', 2, "write `none`"),
        ("[naming\n", 1, ""),
        ("naming = \n", 1, ""),
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
        ({"state": '"resting"'}, "draining"),
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


def test_a_kind_that_is_not_installed_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert "did you mean memory?" in mistake(tmp_path, '[sources.a]\nkind = "memmory"\n')
    said = mistake(tmp_path, '[sources.a]\nkind = "memo"\nworld = "w"\n')
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
    assert target.settings.model_dump()["url"] == "http://127.0.0.1:1"
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
    assert [t.settings.model_dump()["url"] for t in targets] == [
        "http://localhost:2",
        "http://localhost:3",
    ]


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
        ("tests.core.fakes:KINDS", "is no plugin"),
        ("tests.core.fakes:nothing", "AttributeError"),
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


def _target() -> dict[str, object]:
    return {"eu1": {"kind": "memorydb", "world": "w"}}
