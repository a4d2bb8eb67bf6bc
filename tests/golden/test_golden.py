"""What influxops says and asks for is what it said before; a change of it is made on purpose.

`UPDATE_GOLDEN=1 pytest tests/golden` writes what is said now, to be reviewed as a diff.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden import (
    ledger_scenarios,
    lifecycle_scenarios,
    provisioner_scenarios,
    scenarios,
    service_scenarios,
    worker_scenarios,
)
from tests.golden.stage import Play, Stage
from tests.golden.statements import LOGGING
from tests.pg import postgres_server

EXPECTED = Path(__file__).parent / "expected"
SCENARIOS: dict[str, Play] = {
    name: functools.partial(scenarios.play, name) for name in scenarios.SCENARIOS
}
for module in (
    ledger_scenarios,
    lifecycle_scenarios,
    provisioner_scenarios,
    service_scenarios,
    worker_scenarios,
):
    SCENARIOS |= module.SCENARIOS

pytestmark = pytest.mark.stand_in


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with postgres_server(LOGGING) as postgres:
        yield Stage(postgres)


def _with_recorded_connections(said: str, recorded: str) -> str:
    """Take over the number of connections where fewer were opened: one may be free in time."""
    lines, before = said.splitlines(keepends=True), recorded.splitlines(keepends=True)
    if len(lines) == len(before):
        for number, pair in enumerate(zip(lines, before, strict=True)):
            now, then = (re.fullmatch(r"(\d+) connections?\n", line) for line in pair)
            if now and then and int(now[1]) < int(then[1]):
                lines[number] = before[number]
    return "".join(lines)


@pytest.mark.parametrize("name", SCENARIOS)
def test_outputs_requests_and_statements_are_as_recorded(name: str, stage: Stage) -> None:
    said, path = SCENARIOS[name](stage), EXPECTED / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(said, encoding="utf-8")
        return
    recorded = path.read_text(encoding="utf-8")
    said = _with_recorded_connections(said, recorded)
    lines = difflib.unified_diff(
        recorded.splitlines(), said.splitlines(), f"recorded {name}", f"now {name}", lineterm=""
    )
    if said != recorded:
        pytest.fail("\n".join(lines), pytrace=False)


def test_no_recording_is_left_of_a_scenario_that_is_gone() -> None:
    assert {path.stem for path in EXPECTED.glob("*.txt")} == set(SCENARIOS)
