"""How long is waited for servers that are read again, and what is said of them until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from influxops.domain.database import Database
from influxops_web.console.pages import Pages
from influxops_web.db.queries import TargetSummary, TenantRow
from influxops_web.fleet import ConfiguredTarget, Fleet, ServerStatus, fault_of

EU1 = ConfiguredTarget("eu1", "target:eu1", "http://127.0.0.1:9", "active", None)
RECORDED = {"eu1": TargetSummary("eu1", {"ready": 1}, 1)}
ACME = TenantRow("acme", state="ready", target="eu1", database="telemetry_acme")


class Hanging(Fleet):
    """Servers that answer once; from then on they hang until they are given up."""

    def __init__(self) -> None:
        nothing = cast(Any, None)
        super().__init__(nothing, nothing, {"eu1": EU1}, timeout=2.0)
        self.asked, self.given_up = 0, asyncio.Event()

    async def ask(self, target: str, ask: Callable[..., Any], *, alone: bool = False) -> Any:
        """Answer as a server that hangs."""
        self.asked += 1
        if self.asked > 1:
            await self.given_up.wait()
            return "no answer within 2 s"
        databases, now = {"telemetry_acme": Database(None, complete=True)}, datetime.now(UTC)
        return ServerStatus(RECORDED["eu1"], EU1, databases, 1, read_at=now, is_complete=True)


@pytest.fixture(autouse=True)
def _read_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influxops_web.fleet._FRESH", 0.0)


def test_a_program_is_not_told_that_all_is_well_while_a_server_hangs() -> None:
    async def look() -> tuple[str, str]:
        fleet = Hanging()
        before = fault_of(ACME, await fleet.servers(RECORDED))
        asked = asyncio.create_task(fleet.servers(RECORDED))
        _, waiting = await asyncio.wait({asked}, timeout=0.5)
        fleet.given_up.set()
        after = fault_of(ACME, await asked)
        assert waiting, "it did not wait"
        assert before is None
        assert after is not None
        return after.word, after.message

    assert asyncio.run(look()) == ("unavailable", "eu1: no answer within 2 s")


def test_a_page_does_not_wait_and_says_that_a_server_is_being_read_again() -> None:
    async def look() -> tuple[ServerStatus, ServerStatus, ServerStatus]:
        fleet = Hanging()
        first = await fleet.servers(RECORDED, soon=True)
        during = await fleet.servers(RECORDED, soon=True)
        fleet.given_up.set()
        after = await fleet.servers(RECORDED, soon=True)
        return first["eu1"], during["eu1"], after["eu1"]

    first, during, after = asyncio.run(look())
    assert [each.fault for each in (first, during, after)] == ["", "", "unavailable"]
    assert [each.is_late for each in (first, during, after)] == [False, True, False]
    parts: Any = Pages(["eu1"])._templates.get_template("parts.html").module
    assert "is being read again" in parts.overview({"ready": 1}, {"eu1": during})
    assert "is being read again" not in parts.overview({"ready": 1}, {"eu1": first})
