"""What a reporter costs a run that does not need it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "plugin",
    [
        "influxops_reports.progress:TerminalReporter",
        "influxops_reports.json:JsonReporter",
        "influxops_reports.journal:JournalReporter",
        "influxops_reports.prometheus:PrometheusReporter",
        "influxops_slack.reporter:SlackReporter",
    ],
)
def test_loading_a_reporter_imports_nothing_heavy(plugin: str) -> None:
    module, name = plugin.split(":")
    heavy = {"rich", "urllib3", "prometheus_client", "psycopg", "yaml"}
    script = (
        f"import sys; from {module} import {name}; print(*sorted({heavy!r} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == ""
