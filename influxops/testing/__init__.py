"""What plugin authors and applications test with: `from influxops.testing import SourceContract`.

It needs no pytest, though its suites are made for it.
"""

from influxops.testing.ledger import LedgerContract
from influxops.testing.memory import MemorySource, MemoryTarget
from influxops.testing.provisioner import FakeProvisioner
from influxops.testing.reporter import ReporterContract
from influxops.testing.reports import sample_report, sample_reports, sample_start
from influxops.testing.runner import Result, Runner
from influxops.testing.source import SourceContract
from influxops.testing.target import TargetContract

__all__ = [
    "FakeProvisioner",
    "LedgerContract",
    "MemorySource",
    "MemoryTarget",
    "ReporterContract",
    "Result",
    "Runner",
    "SourceContract",
    "TargetContract",
    "sample_report",
    "sample_reports",
    "sample_start",
]
