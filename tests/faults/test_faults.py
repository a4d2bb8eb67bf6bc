"""The short version of `make faults MINUTES=30`: two rounds of a seed, with each kind of door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kinds import kinds
from tests.faults.rounds import run_rounds
from tests.faults.table import table
from tests.faults.toxiproxy import NoToxiproxy, program

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]


def test_nothing_is_lost_doubled_or_wrong_whatever_happens(tmp_path: Path) -> None:
    try:
        program()
    except NoToxiproxy as why:
        pytest.skip(str(why))
    told: list[str] = []

    result = run_rounds(21, kinds(2.0), rounds=2, each=7, tell=told.append, keep=tmp_path)

    assert result.is_good and not result.broken, table(result)
    assert result.injected >= 40, table(result)
    assert {"Ansible", "CLI", "Provisioner", "service"} <= set(result.calls)
