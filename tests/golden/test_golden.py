"""What influxops says and asks for is what it said before; a change of it is made on purpose.

`UPDATE_GOLDEN=1 pytest tests/golden` writes what is said now, to be reviewed as a diff.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

import pytest

from influxops_demo.postgres import EmbeddedPostgres
from tests.golden.scenarios import EXPECTED, SCENARIOS, expected, play
from tests.pg import postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("name", SCENARIOS)
def test_outputs_and_requests_are_as_recorded(name: str, postgres: EmbeddedPostgres) -> None:
    said, path = play(name, postgres), expected(name)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(said, encoding="utf-8")
        return
    recorded = path.read_text(encoding="utf-8")
    lines = difflib.unified_diff(
        recorded.splitlines(), said.splitlines(), f"recorded {name}", f"now {name}", lineterm=""
    )
    if said != recorded:
        pytest.fail("\n".join(lines), pytrace=False)


def test_no_recording_is_left_of_a_scenario_that_is_gone() -> None:
    assert {path.stem for path in EXPECTED.glob("*.txt")} == set(SCENARIOS)
