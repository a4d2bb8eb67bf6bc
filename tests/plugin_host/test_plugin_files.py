"""`plugins = ["./crm.py"]`: a plugin in a file, for a first try without a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from influxops.config.load import parse_config
from influxops.errors import ConfigError
from tests.integration.command import Cli
from tests.integration.servers import Influx

SOURCE = """
from influxops.plugin import Source, Tenant, hookimpl

class CrmSource(Source):
    '''Gives the customers.'''

    @hookimpl
    def influxops_tenants(self):
        return [Tenant("acme")]
"""
USED = 'plugins = ["./crm.py"]\n[sources.customers]\nkind = "crm"\n'


@pytest.fixture
def conf(ops: Cli) -> Path:
    """A folder beside that of the command, with a plugin and a configuration."""
    folder = ops.folder / "conf"
    folder.mkdir()
    (folder / "crm.py").write_text(SOURCE)
    (folder / "influxops.toml").write_text(USED)
    return folder


def test_a_file_is_found_beside_the_configuration_that_names_it(
    ops: Cli, conf: Path, influx: Influx
) -> None:
    config = ("--config", "conf/influxops.toml")
    assert ops(*config, "ensure").code == 0
    assert influx.databases() == ["telemetry_acme"]
    listed = ops(*config, "plugins")
    assert listed.code == 0
    (row,) = (line for line in listed.lines if line.startswith("crm "))
    assert row.split() == ["crm", "source", str(conf / "crm.py"), "ok"]
    shown = ops(*config, "plugins", "show", "crm")
    assert shown.lines[:2] == [f"crm: a source of {conf / 'crm.py'}", "Gives the customers."]
    assert "sources.customers.kind" in ops(*config, "config").out


def test_a_file_in_the_current_folder_is_not_taken_for_it(ops: Cli, conf: Path) -> None:
    (conf / "crm.py").rename(ops.folder / "crm.py")
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    assert f"the plugin {conf / 'crm.py'}: No such file" in done.err
    (conf / "influxops.toml").write_text('[sources.customers]\nkind = "crm"\n')
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    assert "no plugin of the kind 'crm' is installed" in done.err


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named"),
        ("x = (", "cannot be imported: SyntaxError"),
        ("raise ValueError('a\\nb')", "cannot be imported: ValueError: a\\nb"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
        ("x = 1", "it has no plugin"),
        (SOURCE + "class Other(CrmSource): ...", "two of a kind, CrmSource and Other"),
        (SOURCE + "    API_VERSION = 99", "was written for version 99 of the plugin API"),
    ],
)
def test_a_file_that_is_no_plugin_is_named_in_one_line(
    ops: Cli, conf: Path, code: str, says: str
) -> None:
    (conf / "crm.py").write_text(code)
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    error, hint = done.err.splitlines()
    assert str(conf / "crm.py") in error
    assert says in error
    assert hint.startswith("influxops: hint: ")


def test_a_file_cannot_take_the_place_of_an_installed_kind(ops: Cli, conf: Path) -> None:
    (conf / "crm.py").rename(conf / "postgres.py")
    (conf / "influxops.toml").write_text('plugins = ["postgres.py"]\n')
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    assert "postgres.py: influxops " in done.err
    assert "has a source of this kind, too" in done.err


def test_a_file_that_everybody_may_write_is_not_run(ops: Cli, conf: Path) -> None:
    (conf / "crm.py").chmod(0o666)
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    assert "everybody may write to" in done.err
    (conf / "crm.py").chmod(0o644)
    conf.chmod(0o777)
    done = ops("--config", "conf/influxops.toml", "plan")
    assert done.code == 2
    assert f"chmod o-w {conf}" in done.err


@pytest.mark.parametrize("given", ['"crm.py"', "[1]", "{a = 1}"])
def test_what_is_no_list_of_paths_is_refused_with_its_line(ops: Cli, given: str) -> None:
    ops.config(f"plugins = {given}\n")
    done = ops("plan")
    assert done.code == 2
    assert "influxops.toml:1: `plugins`: expected a list of text" in done.err


def test_a_program_names_files_by_absolute_paths() -> None:
    with pytest.raises(ConfigError, match="expected absolute paths"):
        parse_config({"plugins": ["crm.py"]})


def test_plugins_are_listed_where_the_configuration_is_broken(ops: Cli) -> None:
    ops.config("[targets\n")
    done = ops("plugins")
    assert done.code == 0
    assert "influxdb3" in done.out
    assert done.err.startswith("WARN plugins of files are left out: ")
