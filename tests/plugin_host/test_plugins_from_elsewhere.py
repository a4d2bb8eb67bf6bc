"""Plugins of other distributions: found by their entry points, and each one's failure its own."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from influxops.plugin import API_VERSION
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

WORKS = """
    from influxops.plugin import Source, SourceSettings, Tenant, hookimpl, setting

    class Plugin(Source):
        '''Tenants out of nowhere.'''

        class Settings(SourceSettings):
            prefix: str = setting("made-up", description="How its ids start.")

        def __init__(self, section, settings):
            self.settings = settings

        @hookimpl
        def influxops_tenants(self, context):
            yield Tenant(f"{self.settings.prefix}-1")
            yield Tenant(f"{self.settings.prefix}-2")
"""
RAISES = """
    from influxops.plugin import Source, Tenant, hookimpl

    class Plugin(Source):
        @hookimpl
        def influxops_tenants(self):
            yield Tenant("half-read")
            raise ZeroDivisionError("out of luck")
"""
REPORTER = """
    from influxops.plugin import Reporter, hookimpl

    class Plugin(Reporter):
        @hookimpl
        def influxops_report(self, report):
            raise RuntimeError("nobody listens")
"""
#: A target whose making breaks after the first database.
TARGET = """
    from influxops.plugin import Database, Inventory, Outcome, ChangeResult, Target, hookimpl

    class Plugin(Target):
        made = {}

        @hookimpl
        def influxops_list_databases(self):
            return Inventory({name: Database() for name in self.made})

        @hookimpl
        def influxops_ensure(self, changes):
            self.made[changes[0].database] = True
            yield Outcome(changes[0], ChangeResult.DONE)
            raise OSError("the disk is gone")
"""


@pytest.fixture
def install(cli: Cli) -> Install:
    return Install(cli.folder / "site")


class Install:
    """Makes distributions in a folder, as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def __call__(
        self, distribution: str, kind: str, code: str, group: str = "influxops.plugins"
    ) -> dict[str, str]:
        """Install one plugin; gives the environment in which it is found."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = self.folder / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[{group}]\n{kind} = {module}:Plugin\n", encoding="utf-8"
        )
        given = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join([str(self.folder), *([given] if given else [])])}


def test_a_foreign_source_gives_tenants(ops: Cli, influx: Influx, install: Install) -> None:
    env = install("acme-tenants", "made-up", WORKS)
    ops.config('[sources.them]\nkind = "made-up"\nprefix = "their"\n')
    done = ops("ensure", env=env)
    assert done.code == 0
    assert influx.databases() == ["telemetry_their-1", "telemetry_their-2"]
    shown = ops("plugins", "show", "made-up", env=env)
    assert shown.code == 0
    assert "acme-tenants 2.5" in shown.out
    assert "How its ids start." in shown.out


def test_a_foreign_source_that_breaks_is_named_and_the_others_are_served(
    ops: Cli, db: TestDatabase, influx: Influx, install: Install
) -> None:
    env = install("acme-tenants", "made-up", RAISES)
    db.registry("acme")
    ops.config('[sources.them]\nkind = "made-up"\n[sources.registry]\nkind = "postgres"\n')
    done = ops("ensure", env=env)
    assert done.code == 1
    assert influx.databases() == ["telemetry_acme"]
    (error,) = (line for line in done.lines if line.startswith("ERR"))
    for word in ("source them", "made-up", "acme-tenants 2.5", "ZeroDivisionError: out of luck"):
        assert word in error
    verbose = ops("plan", "-vv", env=env)
    assert "acme_tenants.py" in verbose.err  # the traceback, for its author


def test_a_plugin_for_an_older_version_of_the_api_is_used_with_a_warning_that_names_it(
    ops: Cli, influx: Influx, install: Install
) -> None:
    version = API_VERSION - 1
    code = WORKS.replace("class Settings", f"API_VERSION = {version}\n\n        class Settings", 1)
    env = install("acme-tenants", "made-up", code)
    ops.config('[sources.them]\nkind = "made-up"\n')
    done = ops("ensure", env=env)
    assert done.code == 0
    assert influx.databases() == ["telemetry_made-up-1", "telemetry_made-up-2"]
    says = f"written for version {version} of the plugin API; this influxops has version"
    (warning,) = (line for line in done.lines if line.startswith("WARN source them: "))
    assert "acme-tenants 2.5" in warning and says in warning
    (row,) = (line for line in ops("plugins", env=env).lines if line.startswith("made-up"))
    assert says in row
    doctor = ops("doctor", env=env)
    assert doctor.code == 0
    assert says in doctor.out


def test_a_plugin_for_a_newer_version_of_the_api_is_refused_in_one_line(
    ops: Cli, install: Install
) -> None:
    code = WORKS.replace("class Settings", "API_VERSION = 99\n\n        class Settings", 1)
    env = install("acme-tenants", "made-up", code)
    ops.config('[sources.them]\nkind = "made-up"\n')
    done = ops("ensure", env=env)
    assert done.code == 2
    error, hint = done.err.splitlines()
    assert "acme-tenants 2.5 was written for version 99 of the plugin API" in error
    assert "update influxops" in hint


def test_a_target_that_breaks_half_way_is_a_fault_beside_what_was_made(
    cli: Cli, db: TestDatabase, install: Install
) -> None:
    env = install("acme-target", "made-up", TARGET)
    db.registry("acme", "beta")
    cli.config('[targets.them]\nkind = "made-up"\n')
    done = cli("ensure", env=env)
    assert done.code == 1
    assert done.fine == {"telemetry_acme"}
    faults = [line for line in done.lines if line.startswith("ERR target them: ")]
    assert len(faults) == 1 and "the disk is gone" in faults[0]
    assert [line for line in done.lines if line.startswith("ERR telemetry_beta: ")]
    assert "acme_target.py" not in done.err
    assert "acme_target.py" in cli("ensure", "-vv", env=env).err


def test_a_reporter_that_breaks_is_a_warning(ops: Cli, db: TestDatabase, install: Install) -> None:
    env = install("acme-reporter", "made-up", REPORTER)
    db.registry("acme")
    ops.config('[reporters.them]\nkind = "made-up"\n')
    done = ops("ensure", env=env)
    assert done.code == 0
    assert done.fine == {"telemetry_acme"}
    # The terminal's report was there before slow reporters, so this comes after it.
    (warning,) = (line for line in done.err.splitlines() if line.startswith("WARN"))
    assert warning.startswith("WARN reporter them: ")
    assert "nobody listens" in warning
    assert "acme-reporter 2.5" in warning


def test_a_plugin_that_cannot_be_imported_matters_only_where_it_is_used(
    ops: Cli, db: TestDatabase, install: Install
) -> None:
    env = install("acme-tenants", "made-up", "import no_such_module\n")
    db.registry("acme")
    assert ops("ensure", env=env).code == 0
    listed = ops("plugins", env=env)
    assert listed.code == 0
    (row,) = (line for line in listed.lines if line.startswith("made-up"))
    assert "broken" in row and "no_such_module" in row
    ops.config('[sources.them]\nkind = "made-up"\n')
    used = ops("ensure", env=env)
    assert used.code == 2
    assert "acme-tenants 2.5" in used.err and "no_such_module" in used.err


def test_one_kind_from_two_distributions_names_both(
    ops: Cli, db: TestDatabase, install: Install
) -> None:
    install("acme-tenants", "made-up", WORKS)
    env = install("other-tenants", "made-up", WORKS)
    db.registry("acme")
    assert ops("ensure", env=env).code == 0
    ops.config('[sources.them]\nkind = "made-up"\n')
    used = ops("ensure", env=env)
    assert used.code == 2
    assert "acme-tenants 2.5" in used.err and "other-tenants 2.5" in used.err


def test_nobody_can_take_the_place_of_a_built_in_kind(
    ops: Cli, db: TestDatabase, install: Install
) -> None:
    env = install("acme-tenants", "postgres", WORKS)
    db.registry("acme")
    done = ops("ensure", env=env)
    assert done.code == 2
    assert "acme-tenants 2.5" in done.err and "influxops " in done.err


def test_a_class_that_is_no_plugin_is_said_to_be_none(cli: Cli, install: Install) -> None:
    env = install("acme-tenants", "made-up", "Plugin = 42\n")
    cli.config('[sources.them]\nkind = "made-up"\n')
    done = cli("ensure", env=env)
    assert done.code == 2
    assert "no plugin" in done.err
    assert "acme-tenants 2.5" in done.err


@pytest.mark.parametrize("flags", [("-vv",), ("-v",), ()], ids=["-vv", "-v", "plain"])
def test_where_a_plugin_cannot_be_made_is_shown_with_vv(
    ops: Cli, install: Install, flags: tuple[str, ...]
) -> None:
    broken = WORKS.replace("self.settings = settings", 'raise LookupError("lost \\x1b]0;it")')
    env = install("acme-tenants", "made-up", broken)
    ops.config('[sources.them]\nkind = "made-up"\n')
    done = ops("plan", *flags, env=env)
    assert done.code == 2
    assert ("acme_tenants.py" in done.err) is (flags == ("-vv",))
    assert "lost " in done.err
    assert all(line.isprintable() for line in done.err.splitlines())


def test_what_libraries_log_and_warn_of_reaches_nobody(ops: Cli, install: Install) -> None:
    loud = """import logging, warnings
            logging.getLogger("urllib3.connectionpool").warning("Retrying (Retry(total=2))")
            warnings.warn("Unverified HTTPS request is being made", stacklevel=1)"""
    code = WORKS.replace('yield Tenant(f"{self.settings.prefix}-1")', loud, 1)
    env = install("acme-tenants", "made-up", code)
    ops.config('[sources.them]\nkind = "made-up"\n')
    done = ops("plan", env=env)
    assert done.code == 0
    assert "Retrying" not in done.err and "Unverified" not in done.err


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_log_line_is_one_line_and_steers_no_terminal(
    ops: Cli, install: Install, output: str
) -> None:
    log = """context.log.warning("odd %s", "x\\n\\x1b]0;it")
            raise ValueError("a\\nb\\x1b]0;it")"""
    code = WORKS.replace('yield Tenant(f"{self.settings.prefix}-1")', log, 1)
    env = install("acme-tenants", "made-up", code)
    ops.config('[sources.them]\nkind = "made-up"\n')
    done = ops("--log-format", output, "plan", "-vv", env=env)
    assert done.code == 1
    assert "Traceback" in done.err
    assert all(line.isprintable() for line in done.all.split("\n"))
    assert len([line for line in done.err.splitlines() if "odd x" in line]) == 1


@pytest.mark.parametrize(
    ("code", "exit_code", "says"),
    [
        ("import click\n@click.command()\ndef Plugin():\n    raise SystemExit(3)\n", 3, ""),
        ("raise SystemExit(0)\n", 1, "cannot be loaded: SystemExit: 0"),
    ],
)
def test_a_foreign_command_that_exits_does_not_pass_for_a_success(
    cli: Cli, install: Install, code: str, exit_code: int, says: str
) -> None:
    env = install("acme-command", "acme", code, group="influxops.commands")
    done = cli("acme", env=env)
    assert done.code == exit_code, done.err
    assert says in done.err
