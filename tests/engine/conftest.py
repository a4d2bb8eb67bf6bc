from __future__ import annotations

from tests.bench import bench

__all__ = ["bench"]
