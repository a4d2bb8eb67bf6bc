"""A hint about a copy names the settings of the server that is in trouble, whichever side it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from influxops.config.load import load_config
from influxops.domain.copy import CopyRequest
from influxops.engine.engine import Engine
from influxops.plugin import RunContext, TargetError
from tests.conftest import GiveStandIn, targets_toml

pytestmark = pytest.mark.stand_in


@pytest.mark.parametrize(("source", "copy"), [("up", "away"), ("away", "up")])
def test_a_hint_names_the_server_that_is_away(
    stand_in: GiveStandIn, tmp_path: Path, source: str, copy: str
) -> None:
    server = stand_in()
    server.create("db")
    path = tmp_path / "influxops.toml"
    path.write_text(targets_toml({"up": server, "away": "http://127.0.0.1:9"}))
    with Engine(load_config(path)) as engine, pytest.raises(TargetError) as caught:
        [*engine.target(source).copy(CopyRequest("db"), engine.target(copy), RunContext(20.0))]
    assert "is the server up? If it is, check `url` of [targets.away]" in str(caught.value.remedy)
