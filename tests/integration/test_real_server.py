"""A real server that these tests have: what interrupted ones leave there stops no later session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn
from tests.integration.servers import Influx, NotOurs, for_one_test

pytestmark = pytest.mark.stand_in

KILLED = """
import os, sys
from pathlib import Path
from tests.integration.servers import Influx, for_one_test
with for_one_test(Influx(sys.argv[1]), Path(sys.argv[2]), "killed") as server:
    server.create("telemetry_acme")
    os._exit(9)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def use(server: Influx, lock: Path, session: str = "one") -> None:
    with for_one_test(server, lock, session):
        assert server.databases() == []
        server.create("telemetry_acme")
    assert server.databases() == []


def test_what_a_killed_command_leaves_is_dropped_before_the_sessions_next_test(
    stand_in: GiveStandIn, lock: Path
) -> None:
    server = stand_in()
    use(server, lock)
    server.create("telemetry_late")
    use(server, lock)


def test_what_a_killed_session_leaves_is_dropped_by_the_next_one(
    stand_in: GiveStandIn, lock: Path
) -> None:
    server = stand_in()
    done = subprocess.run([sys.executable, "-c", KILLED, server.url, str(lock)], check=False)
    assert done.returncode == 9
    assert server.databases() == ["telemetry_acme"]
    use(server, lock, "two")


def test_what_is_called_as_only_these_tests_call_it_is_dropped(
    stand_in: GiveStandIn, lock: Path
) -> None:
    server = stand_in()
    server.create("telemetry_test-0123abcd-plain")
    use(server, lock)


def test_what_is_anothers_stops_them(stand_in: GiveStandIn, lock: Path) -> None:
    server, other = stand_in(), stand_in()
    use(server, lock)
    for where, session in ((server, "two"), (other, "one")):
        where.create("telemetry_acme")
        with (
            pytest.raises(NotOurs, match="a server of their own"),
            for_one_test(where, lock, session),
        ):
            pass
        assert where.databases() == ["telemetry_acme"]
