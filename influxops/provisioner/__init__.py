"""What an application embeds: `from influxops import Provisioner`."""

from __future__ import annotations

from influxops.provisioner.database_check import DatabaseInspection
from influxops.provisioner.provisioner import Provisioner
from influxops.provisioner.results import EnsureResult, EnsureStatus, ProvisionerHealth
from influxops.provisioner.validation import InvalidRequest

__all__ = [
    "DatabaseInspection",
    "EnsureResult",
    "EnsureStatus",
    "InvalidRequest",
    "Provisioner",
    "ProvisionerHealth",
]
