"""Input by Hypothesis: the same few at each run, or many that differ (INFLUXOPS_FUZZ=long)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_ALWAYS = settings(
    deadline=None,
    database=None,
    # A fixture here is a server or a folder, which examples may share.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("ci", _ALWAYS, max_examples=40, derandomize=True)
settings.register_profile("long", _ALWAYS, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("INFLUXOPS_FUZZ", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("faults")
