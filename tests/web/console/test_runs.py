"""What operators begin on a page: how many runs at once, and how far one is."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.engine_pool import Engines
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from influxops_web.console.runs import OperatorRun, OperatorRuns
from tests.provisioner.conftest import until


@pytest.fixture
def runs(tmp_path: Path) -> OperatorRuns:
    path = tmp_path / "influxops.toml"
    path.write_text('[targets.eu1]\nkind = "influxdb3"\nurl = "http://127.0.0.1:1"\n')
    config = load_config(path)
    return OperatorRuns(config, Engines(config, None))


def of(runs: OperatorRuns, tenant: str) -> OperatorRun:
    found = runs.of(tenant)
    assert found is not None
    return found


def test_moves_that_go_on_keep_no_other_run_waiting(runs: OperatorRuns) -> None:
    def endless(engine: Engine, context: RunContext) -> Report:
        context.on_stage("copying telemetry_t to eu2", 200)
        context.on_progress(50)
        context.sleep(600)
        raise AssertionError

    def short(engine: Engine, context: RunContext) -> Report:
        raise InfluxopsError("it was begun", hint="run `influxops plan`")

    async def begin() -> None:
        for number in range(6):
            await runs.start(f"t{number}", "move", "ops", endless, wait=0, endless=True)
        await runs.start("other", "retire", "ops", short, wait=60)

    try:
        asyncio.run(begin())
        ended = of(runs, "other")
        assert ended.lines == ("it was begun", "run `influxops plan`")
        until(lambda: of(runs, "t3").percent == 25)
        assert of(runs, "t3").done == 50
        assert replace(of(runs, "t3"), done=201).percent is None
        assert of(runs, "t5").stage == "waiting for its turn"
    finally:
        runs.close()
    assert of(runs, "t0").lines == ("the run was interrupted",)


def test_what_a_run_left_behind_does_not_begin_it_again(runs: OperatorRuns) -> None:
    left: list[RunContext] = []

    def work(engine: Engine, context: RunContext) -> Report:
        left.append(context)
        raise InfluxopsError("it ended")

    try:
        asyncio.run(runs.start("t", "move", "ops", work, wait=60, endless=True))
        late = threading.Thread(target=left[0].on_progress, args=(1,))
        late.start()
        late.join()
        assert of(runs, "t").ended is not None
    finally:
        runs.close()
