"""What an engine can run, and the guards that a run may be allowed to pass."""

from __future__ import annotations

from influxops.reconcile.files.export import Export
from influxops.reconcile.files.import_ import Import, find_exports
from influxops.reconcile.guards import GUARDS
from influxops.reconcile.move.execute import Drain, Move, Rebalance
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.adopt import Adopt
from influxops.reconcile.plan.drop_due import DropCopies, DropDue
from influxops.reconcile.plan.ensure import Drop, Ensure
from influxops.reconcile.plan.forget import Forget
from influxops.reconcile.plan.retire import Retire, Unretire

__all__ = [
    "GUARDS",
    "Adopt",
    "Drain",
    "Drop",
    "DropCopies",
    "DropDue",
    "Ensure",
    "Export",
    "Forget",
    "Import",
    "Move",
    "Operation",
    "Rebalance",
    "Retire",
    "Unretire",
    "find_exports",
]
