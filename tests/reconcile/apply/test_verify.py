"""What a change counts as, by what its target holds afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from influxops.domain.plan import ChangeResult
from influxops.reconcile.apply.verify import settled
from tests.reports.samples import outcome, tenant


@pytest.mark.parametrize(("said", "is_"), [("done", "unknown"), ("failed", "failed")])
def test_what_was_done_on_a_target_that_was_not_read_again_is_unknown(said: str, is_: str) -> None:
    observed = cast(Any, SimpleNamespace(targets=()))
    found = settled(outcome("acme", status=said), tenant("acme", "pending", "create"), observed)
    assert found.status is ChangeResult(is_)
