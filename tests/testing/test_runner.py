"""The runner of the command line: exit code, report, output, and a process that is as before."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from influxops.plugin import RunContext, Source, Tenant, hookimpl
from influxops.testing import Runner

MEMORY = '[targets.here]\nkind = "memory"\n'
TENANTS = '[sources.them]\nkind = "memory"\ntenants = ["acme", "globex"]\n'


class OneTenant(Source):
    """Gives one tenant, and logs."""

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> list[Tenant]:
        context.log.warning("one tenant only")
        return [Tenant("acme")]


def test_a_run_returns_its_exit_code_its_report_and_what_it_printed() -> None:
    influxops = Runner(TENANTS + MEMORY)
    planned = influxops("plan", "--detailed-exitcode")
    assert (planned.exit_code, influxops.databases) == (3, {"here": {}})
    assert planned.report is not None and planned.report.dry_run
    assert {change.tenant for change in planned.report.planned} == {"acme", "globex"}
    made = influxops("ensure")
    assert made.exit_code == 0
    assert "source    them: (memory), 2 tenants" in made.errors.splitlines()
    assert "OK telemetry_acme: created" in made.output.splitlines()
    assert {*influxops.databases["here"]} == {"telemetry_acme", "telemetry_globex"}
    assert influxops("plan", "--detailed-exitcode").exit_code == 0
    assert Runner(TENANTS + MEMORY).databases == {}


def test_a_class_need_not_be_installed(tmp_path: Path) -> None:
    path = tmp_path / "influxops.toml"
    path.write_text('[sources.one]\nkind = "one"\n' + MEMORY)
    influxops = Runner(path, {"one": OneTenant})
    done = influxops("ensure", "--format", "json")
    assert (done.exit_code, done.errors) == (0, "WARNING one tenant only\n")
    assert done.output.startswith("{")
    listed = influxops("plugins")
    (row,) = (line for line in listed.output.splitlines() if line.startswith("one "))
    assert f"{__name__}.OneTenant" in row and listed.report is None


@pytest.mark.parametrize(
    ("config", "arguments"),
    [("[targets\n", ["plan"]), (MEMORY, ["ensure", "--no-such-option"]), ("", ["no-such-command"])],
)
def test_a_command_that_cannot_begin_has_no_report(config: str, arguments: list[str]) -> None:
    done = Runner(config)(*arguments)
    assert (done.exit_code, done.report) == (2, None)
    assert "rror" in done.errors


def test_the_process_is_as_it_was_before(capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("influxops")
    before = (log.handlers[:], log.level, log.propagate, logging.root.handlers[:], sys.stdout)
    shown = warnings.showwarning
    Runner('[sources.one]\nkind = "one"\n' + MEMORY, {"one": OneTenant})(
        "--log-format", "json", "plan"
    )
    assert (log.handlers, log.level, log.propagate, logging.root.handlers, sys.stdout) == before
    assert warnings.showwarning is shown
    assert capfd.readouterr() == ("", "")
    assert Runner(TENANTS + MEMORY)("plan").errors.startswith("config ")


def test_nothing_of_pytest_is_needed_before_a_suite_runs() -> None:
    code = "import influxops.testing, sys; print('pytest' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
