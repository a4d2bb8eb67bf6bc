"""What plugin authors and applications test with: `from influxops.testing import SourceContract`.

It needs no pytest, though its suites are made for it.
"""

from influxops.testing.memory import MemorySource, MemoryTarget
from influxops.testing.runner import Result, Runner
from influxops.testing.source import SourceContract

__all__ = ["MemorySource", "MemoryTarget", "Result", "Runner", "SourceContract"]
