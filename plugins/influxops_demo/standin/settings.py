"""What a stand-in is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from influxops_demo.standin.catalog import Limits

VERSION = "3.10.0-nightly"
"""The version of InfluxDB 3 Core whose recorded answers the stand-in gives."""

REVISION = "d7834110b3"
PRODUCT = "InfluxDB 3 Core"


@dataclass(frozen=True)
class StandInSettings:
    """How a stand-in behaves.

    Args:
        data_dir: where databases and rows are kept; None keeps nothing.
        limits: how many databases and tables there may be.
        wal_flush_interval: seconds between two flushes of the write-ahead log.
        with_auth: whether requests need a token.
        max_request_bytes: longest body, before and after decompression.
    """

    data_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    wal_flush_interval: float = 1.0
    with_auth: bool = False
    max_request_bytes: int = 10 * 1024 * 1024
