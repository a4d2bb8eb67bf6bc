"""What an engine's request lets a process do for some tenants, in parts: plan, allocate, create."""

from __future__ import annotations

from influxops.reconcile.apply.allocate import allocate, commit_seen, is_kept
from influxops.reconcile.apply.fast_create import (
    TargetFailure,
    complete_databases,
    completion,
    create_databases,
    is_full,
    with_completion,
)
from influxops.reconcile.observe.selected import NotSupported, TargetHints, TenantRequest
from influxops.reconcile.plan.selected import SelectedPlan, plan_selected, postpone

__all__ = [
    "NotSupported",
    "SelectedPlan",
    "TargetFailure",
    "TargetHints",
    "TenantRequest",
    "allocate",
    "commit_seen",
    "complete_databases",
    "completion",
    "create_databases",
    "is_full",
    "is_kept",
    "plan_selected",
    "postpone",
    "with_completion",
]
